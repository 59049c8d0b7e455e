/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/hbone.c - the CONNECT of HBONE (facts/ztunnel.md 2.3, 2.4)
 *
 * A request is judged by its method and authority alone; forwarded, baggage and traceparent are hints for logs, so a
 * malformed hint is an empty hint and never an error. Every value that leaves here holds printable ASCII only. */
#include <inttypes.h>
#include <stdio.h>

#include <ringwall/wire/hbone.h>

enum { BAGGAGE_VALUE_MAX = 128, LABEL_MAX = 63, TRACEPARENT_BYTES = 55, SPAN_ID = 16 };
#define REASON_HEADER STR("x-ringwall-reason")

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
static char lower_of(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }
static bool is_host_char(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_'; }

static struct str trim(struct str s) {
    while (s.n && (s.at[0] == ' ' || s.at[0] == '\t'))
        s.at++, s.n--;
    while (s.n && (s.at[s.n - 1] == ' ' || s.at[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes the text before `at` off *rest; the last piece is all that is left. False: nothing was left. */
static bool next_piece(struct str *rest, char at, struct str *ret) {
    const char *found;

    if (rest->n == 0)
        return false;
    found = memchr(rest->at, at, rest->n);
    *ret = (struct str){rest->at, found ? (size_t)(found - rest->at) : rest->n};
    rest->at += found ? ret->n + 1 : ret->n;
    rest->n -= found ? ret->n + 1 : ret->n;
    return true;
}

/* A host name in lower case; one final dot is dropped. Something like "1.2.3" is neither an address nor a name. */
static bool host_parse(struct str s, char out[HBONE_HOST_MAX + 1]) {
    size_t label = 0;
    bool numeric = true; /* the label so far */

    if (s.n && s.at[s.n - 1] == '.')
        s.n--;
    if (s.n == 0 || s.n > HBONE_HOST_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = lower_of(s.at[i]);

        if (c == '.') {
            if (label == 0 || out[i - 1] == '-')
                return false;
            label = 0;
            numeric = true;
        } else {
            if (!is_host_char(c) || (label == 0 && c == '-') || ++label > LABEL_MAX)
                return false;
            numeric = numeric && is_digit(c);
        }
        out[i] = c;
    }
    out[s.n] = 0;
    return label > 0 && !numeric && out[s.n - 1] != '-';
}

static bool authority_parse(struct str s, struct hbone_request *r) {
    const char *colon;
    uint64_t port;

    if (endpoint_parse(s, &r->address)) {
        r->has_address = true;
        r->port = r->address.port;
        return true;
    }
    colon = s.n ? memrchr(s.at, ':', s.n) : NULL;
    if (!colon || !str_u64((struct str){colon + 1, s.n - (size_t)(colon - s.at) - 1}, UINT16_MAX, &port) || port == 0)
        return false;
    if (!host_parse((struct str){s.at, (size_t)(colon - s.at)}, r->host)) {
        r->host[0] = 0;
        return false;
    }
    r->port = (uint16_t)port;
    return true;
}

/* forwarded: for="ip:port";host=name (RFC 7239); the first host of the first element that has one. */
static void forwarded_parse(struct str s, struct hbone_request *r) {
    struct str element, pair;

    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.at[i] > 0x7e)
            return;
    while (!r->service_hint[0] && next_piece(&s, ',', &element)) {
        while (next_piece(&element, ';', &pair)) {
            struct str name;

            pair = trim(pair);
            if (!next_piece(&pair, '=', &name) || !str_fold_is(name, STR("host")))
                continue;
            if (pair.n >= 2 && pair.at[0] == '"' && pair.at[pair.n - 1] == '"')
                pair = (struct str){pair.at + 1, pair.n - 2};
            if (!host_parse(pair, r->service_hint))
                r->service_hint[0] = 0;
            break;
        }
    }
}

/* traceparent: 00-<32 hex>-<16 hex>-<2 hex>, W3C Trace Context; an id of zeros is none. */
static void trace_parse(struct str s, struct hbone_request *r) {
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    bool zeros = true;

    if (s.n != TRACEPARENT_BYTES)
        return;
    for (size_t i = 0; i < s.n; i++)
        if (form[i] == 'h' ? !is_lower_hex(s.at[i]) : s.at[i] != form[i])
            return;
    for (size_t i = 0; i < HBONE_TRACE_ID; i++)
        zeros = zeros && s.at[3 + i] == '0';
    if (zeros)
        return;
    memcpy(r->trace_id, s.at + 3, HBONE_TRACE_ID);
    r->trace_id[HBONE_TRACE_ID] = 0;
}

static char clean(char c) { return (c > ' ' && c < 0x7f && !memchr("\"\\,;=%", c, 6)) ? c : '_'; }

static void copy_clean(char *to, size_t cap, struct str s) {
    size_t n = min_of(s.n, cap - 1);

    if (to[0])
        return; /* the first one counts */
    for (size_t i = 0; i < n; i++)
        to[i] = clean(s.at[i]);
    to[n] = 0;
}

static void baggage_parse(struct str s, struct hbone_request *r) {
    struct str member, key, value;

    while (next_piece(&s, ',', &member)) {
        if (!next_piece(&member, '=', &key) || !next_piece(&member, ';', &value))
            continue;
        key = trim(key);
        value = trim(value);
        if (str_is(key, STR("k8s.cluster.name")))
            copy_clean(r->source.cluster, sizeof(r->source.cluster), value);
        else if (str_is(key, STR("k8s.namespace.name")))
            copy_clean(r->source.ns, sizeof(r->source.ns), value);
        else if (str_is(key, STR("service.name")))
            copy_clean(r->source.service, sizeof(r->source.service), value);
        else if (str_is(key, STR("service.version")))
            copy_clean(r->source.revision, sizeof(r->source.revision), value);
        else if (str_has_prefix(key, STR("k8s.")) && str_has_suffix(key, STR(".name"))) /* deployment, pod, job, ... */
            copy_clean(r->source.name, sizeof(r->source.name), value);
    }
}

int hbone_consume_request(const struct h2_header *headers, size_t n, struct hbone_request *ret) {
    struct hbone_request r = {0};
    struct str method = STR_NULL, authority = STR_NULL;
    bool extended = false, twice = false;

    for (size_t i = 0; i < n; i++) {
        struct str name = headers[i].name, value = headers[i].value;

        if (str_is(name, STR(":method")))
            method = value;
        else if (str_is(name, STR(":authority"))) {
            twice = twice || authority.n > 0;
            authority = value;
        } else if (str_is(name, STR(":protocol")) || str_is(name, STR(":scheme")) || str_is(name, STR(":path")))
            extended = true;
        else if (str_is(name, STR("forwarded")))
            forwarded_parse(value, &r);
        else if (str_is(name, STR("traceparent")))
            trace_parse(value, &r);
        else if (str_is(name, STR("baggage")))
            baggage_parse(value, &r);
    }
    if (!str_is(method, STR("CONNECT")))
        return HBONE_NOT_CONNECT;
    if (extended)
        return HBONE_EXTENDED;
    if (authority.n == 0)
        return HBONE_NO_AUTHORITY;
    if (twice || !authority_parse(authority, &r))
        return HBONE_BAD_AUTHORITY;
    *ret = r;
    return HBONE_REQUEST_OK;
}

const char *hbone_verdict_text(int verdict) {
    static const char *const texts[] = {
        [HBONE_REQUEST_OK] = "well-formed",
        [HBONE_NOT_CONNECT] = "the method is not CONNECT",
        [HBONE_NO_AUTHORITY] = "no :authority",
        [HBONE_BAD_AUTHORITY] = ":authority is not an address or host name with a port",
        [HBONE_EXTENDED] = "extended CONNECT (:protocol, :scheme or :path) is not HBONE",
    };

    return verdict >= 0 && (size_t)verdict < array_size(texts) ? texts[verdict] : "unknown verdict";
}

static struct text text_of(struct hbone_headers *h) { return (struct text){.at = h->text, .cap = sizeof(h->text)}; }

static void add_line(struct hbone_headers *h, struct str name, struct str value) {
    h->items[h->n++] = (struct h2_header){name, value};
}

/* Ends the value that began at `from`; the next one begins behind its NUL. */
static struct str value_since(struct text *t, size_t from) {
    struct str value = {t->at + from, t->n - from};

    text_add(t, (struct str){"", 1});
    return value;
}

static void add_member(struct text *t, size_t from, const char *key, struct str value) {
    char cleaned[BAGGAGE_VALUE_MAX + 1] = "";

    if (value.n == 0)
        return;
    copy_clean(cleaned, sizeof(cleaned), value);
    text_addf(t, "%s%s=%s", t->n > from ? "," : "", key, cleaned);
}

static const char *workload_key(struct str type) {
    static const struct {
        struct str type;
        const char *key;
    } keys[] = {{STR("deployment"), "k8s.deployment.name"}, {STR("cronjob"), "k8s.cronjob.name"}, {STR("job"), "k8s.job.name"}};

    for (size_t i = 0; i < array_size(keys); i++)
        if (str_is(type, keys[i].type))
            return keys[i].key;
    return "k8s.pod.name";
}

static void add_baggage(const struct hbone_connect *c, struct hbone_headers *h, struct text *t) {
    size_t from = t->n;

    add_member(t, from, "k8s.cluster.name", c->cluster);
    add_member(t, from, "k8s.namespace.name", c->ns);
    add_member(t, from, workload_key(c->workload_type), c->workload);
    add_member(t, from, "service.name", c->canonical);
    add_member(t, from, "service.version", c->revision);
    add_member(t, from, "cloud.region", c->region);
    add_member(t, from, "cloud.availability_zone", c->zone);
    if (t->n > from)
        add_line(h, STR("baggage"), value_since(t, from));
}

void hbone_create_connect(const struct hbone_connect *c, struct hbone_headers *ret) {
    char endpoint[ENDPOINT_TEXT], host[HBONE_HOST_MAX + 1];
    struct text t = text_of(ret);
    size_t from;

    ret->n = 0;
    add_line(ret, STR(":method"), STR("CONNECT"));
    text_add(&t, endpoint_format(&c->address, endpoint));
    add_line(ret, STR(":authority"), value_since(&t, 0));
    add_baggage(c, ret, &t);
    from = t.n;
    text_addf(&t, "for=\"" STR_FMT "\"", STR_ARG(endpoint_format(&c->client, endpoint)));
    if (host_parse(c->service, host))
        text_addf(&t, ";host=%s", host);
    add_line(ret, STR("forwarded"), value_since(&t, from));
    if (strlen(c->trace_id) == HBONE_TRACE_ID && strlen(c->span_id) == SPAN_ID) {
        from = t.n;
        text_addf(&t, "00-%s-%s-00", c->trace_id, c->span_id);
        add_line(ret, STR("traceparent"), value_since(&t, from));
    }
}

static bool is_reason_char(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_'; }

void hbone_create_response(enum hbone_status status, const char *reason, struct hbone_headers *ret) {
    struct text t = text_of(ret);
    size_t from;

    ret->n = 0;
    text_addf(&t, "%u", (unsigned)status);
    add_line(ret, STR(":status"), value_since(&t, 0));
    if (!reason || !*reason)
        return;
    from = t.n;
    for (size_t i = 0; reason[i] && i < sizeof(((struct hbone_response *)0)->reason) - 1; i++) {
        char c = lower_of(reason[i]);

        text_add(&t, (struct str){is_reason_char(c) ? &c : "_", 1});
    }
    add_line(ret, REASON_HEADER, value_since(&t, from));
}

static unsigned status_parse(struct str s) {
    uint64_t status;

    return s.n == 3 && str_u64(s, 999, &status) && status >= 100 ? (unsigned)status : 0;
}

void hbone_consume_response(const struct h2_header *headers, size_t n, struct hbone_response *ret) {
    *ret = (struct hbone_response){0};
    for (size_t i = 0; i < n; i++) {
        struct str value = headers[i].value;
        bool good = value.n < sizeof(ret->reason);

        if (str_is(headers[i].name, STR(":status")))
            ret->status = status_parse(value);
        if (!str_is(headers[i].name, REASON_HEADER))
            continue;
        for (size_t k = 0; good && k < value.n; k++)
            good = is_reason_char(value.at[k]);
        if (good && value.n) {
            memcpy(ret->reason, value.at, value.n);
            ret->reason[value.n] = 0;
        }
    }
}
