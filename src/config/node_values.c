/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/node_values.c - see node_values.h */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/cpu_latency.h>
#include <ringwall/model/identity.h>

#include "kinds.h"
#include "node_values.h"

enum {
    WORKERS_MAX = 64,
    TTL_S_MIN = 10,         /* shorter than a handshake with a slow peer makes no sense */
    TTL_S_MAX = 90 * 86400, /* as Istio's */
    DRAIN_S_MAX = 3600,
    RATE_MAX = 1000000,
    MESH_BYTES_MIN = 64 * 1024,
    NODE_NAME_MAX = 253,
};
static const uint64_t mesh_bytes_limit = 16ull << 30;

bool parse_duration(struct str s, uint64_t *ret_s) {
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    uint64_t total = 0;
    size_t next_unit = 0; /* units come from large to small, each once */
    if (s.n == 0)
        return false;
    while (s.n) {
        size_t n = 0, unit;
        uint64_t value;
        while (n < s.n && s.at[n] >= '0' && s.at[n] <= '9')
            n++;
        if (n == s.n || !str_u64((struct str){s.at, n}, DURATION_S_MAX, &value))
            return false;
        for (unit = next_unit; unit < array_size(units) && units[unit].unit != s.at[n]; unit++)
            ;
        if (unit == array_size(units))
            return false;
        total += value * units[unit].seconds;
        if (total > DURATION_S_MAX)
            return false;
        next_unit = unit + 1;
        s = (struct str){s.at + n + 1, s.n - n - 1};
    }
    *ret_s = total;
    return true;
}

bool parse_size(struct str s, uint64_t *ret_bytes) {
    static const struct {
        struct str name;
        unsigned shift;
    } units[] = {{STR("KiB"), 10}, {STR("MiB"), 20}, {STR("GiB"), 30}};
    unsigned shift = 0;
    uint64_t value;
    for (size_t i = 0; i < array_size(units); i++)
        if (str_has_suffix(s, units[i].name)) {
            shift = units[i].shift;
            s.n -= units[i].name.n;
        }
    if (!str_u64(s, UINT64_MAX >> (shift + 1), &value))
        return false;
    *ret_bytes = value << shift;
    return true;
}

bool parse_listen(struct str s, struct listen_spec *ret) {
    const char *colon = s.n ? memrchr(s.at, ':', s.n) : NULL;
    uint64_t port;
    struct addr ignored;
    if (!colon)
        return false;
    struct str host = {s.at, (size_t)(colon - s.at)}, digits = {colon + 1, s.n - host.n - 1}, inner = host;
    if (!str_u64(digits, 65535, &port) || port == 0)
        return false;
    bool bracketed = host.n > 2 && host.at[0] == '[' && host.at[host.n - 1] == ']';
    if (bracketed)
        inner = (struct str){host.at + 1, host.n - 2};
    if (!str_is(host, STR("*")) && !str_is(host, STR("localhost")) && !addr_parse(inner, &ignored))
        return false;
    if (bracketed != (memchr(inner.at, ':', inner.n) != NULL)) /* [ ] belong to IPv6 and IPv6 needs them */
        return false;
    *ret = (struct listen_spec){.host = inner, .port = (uint16_t)port};
    return true;
}

/* Text of a scalar of any type: durations and sizes look like strings, plain bytes like a number. */
static bool scalar_text(struct decode *d, const struct yaml_node *n, const char *path, struct str *ret) {
    if (n->kind == YAML_SCALAR && scalar_type_of(n) == SCALAR_INT) {
        *ret = n->scalar;
        return true;
    }
    return decode_str(d, n, path, ret);
}

bool value_text(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return decode_str(d, n, path, field);
}

bool value_word(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct str s;
    if (!decode_str(d, n, path, &s))
        return false;
    if (s.n == 0) {
        decode_errorf(d, n, "%s is empty: write a value, or remove the key to get the default", path);
        return false;
    }
    *(struct str *)field = s;
    return true;
}

bool value_node_name(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct str s;
    if (!decode_str(d, n, path, &s))
        return false;
    bool good = s.n > 0 && s.n <= NODE_NAME_MAX && s.at[0] != '.' && s.at[0] != '-';
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        good &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    }
    if (!good) {
        decode_errorf(d, n, "%s is no name of a node: write at most 253 letters, digits, \".\", \"-\" and \"_\"", path);
        return false;
    }
    *(struct str *)field = s;
    return true;
}

static bool checked(struct decode *d, const struct yaml_node *n, const char *path, bool (*good)(struct str), const char *fix,
                    void *field) {
    struct str s;
    if (!decode_str(d, n, path, &s))
        return false;
    if (!good(s)) {
        decode_errorf(d, n, "%s is \"%.*s\": %s", path, (int)min_of(s.n, (size_t)64), s.at, fix);
        return false;
    }
    *(struct str *)field = s;
    return true;
}

bool value_namespace(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return checked(d, n, path, is_dns_label, "write the name of a namespace: at most 63 of a-z, 0-9 and \"-\"", field);
}
bool value_domain(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return checked(d, n, path, is_dns_name, "write a domain such as cluster.local", field);
}
bool value_trust_domain(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return checked(d, n, path, trust_domain_valid,
                   "write a trust domain: at most 255 of a-z, 0-9, \".\", \"_\" and \"-\", without spiffe://", field);
}

bool value_aliases(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct world_settings *to = field;
    bool good = true;
    if (!decode_sequence(d, n, path))
        return false;
    to->trust_domain_aliases = decode_array(d, struct str, n->n_children);
    yaml_for_each(it, n) {
        if (d->failed)
            return false;
        struct str *alias = &to->trust_domain_aliases[to->n_trust_domain_aliases];
        if (!value_trust_domain(d, it, path, alias)) {
            good = false;
            continue;
        }
        for (size_t i = 0; i < to->n_trust_domain_aliases; i++)
            if (str_is(to->trust_domain_aliases[i], *alias)) {
                decode_errorf(d, it, "%s has \"" STR_FMT "\" twice: keep one", path, STR_ARG(*alias));
                good = false;
            }
        to->n_trust_domain_aliases++;
    }
    return good;
}

/* "auto" is 0. */
static bool auto_or_number(struct decode *d, const struct yaml_node *n, const char *path, uint64_t max, uint64_t *ret) {
    if (n->kind == YAML_SCALAR && str_is(n->scalar, STR("auto"))) {
        *ret = 0;
        return true;
    }
    if (n->kind != YAML_SCALAR || scalar_type_of(n) != SCALAR_INT || !str_u64(n->scalar, max, ret) || *ret == 0) {
        decode_errorf(d, n, "%s must be auto or a number from 1 to %llu", path, (unsigned long long)max);
        return false;
    }
    return true;
}

bool value_workers(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    uint64_t value;
    if (!auto_or_number(d, n, path, WORKERS_MAX, &value))
        return false;
    *(unsigned *)field = (unsigned)value;
    return true;
}

bool value_cpu_latency(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct str s;
    uint64_t value;
    if (!scalar_text(d, n, path, &s))
        return false;
    if (str_is(s, STR("off"))) {
        *(int32_t *)field = -1;
        return true;
    }
    bool has_unit = str_has_suffix(s, STR("us"));
    if (!has_unit || !str_u64((struct str){s.at, s.n - 2}, CPU_LATENCY_US_MAX, &value)) {
        decode_errorf(d, n, "%s is \"%.*s\": write off, or microseconds from 0us to 1000000us", path, (int)min_of(s.n, (size_t)64),
                      s.at);
        return false;
    }
    *(int32_t *)field = (int32_t)value;
    return true;
}

bool value_connections(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    uint64_t value;
    if (!auto_or_number(d, n, path, UINT32_MAX, &value))
        return false;
    *(uint32_t *)field = (uint32_t)value;
    return true;
}

bool value_port(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return decode_port(d, n, path, field);
}

bool value_rate(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    uint64_t value;
    if (!decode_u64(d, n, path, 1, RATE_MAX, &value))
        return false;
    *(uint32_t *)field = (uint32_t)value;
    return true;
}

static bool duration(struct decode *d, const struct yaml_node *n, const char *path, uint64_t min, uint64_t max, const char *range,
                     uint32_t *ret) {
    struct str s;
    uint64_t value;
    if (!scalar_text(d, n, path, &s))
        return false;
    if (!parse_duration(s, &value)) {
        decode_errorf(d, n, "%s is \"%.*s\": write a duration with its units, such as 25s, 24h or 1h30m", path,
                      (int)min_of(s.n, (size_t)64), s.at);
        return false;
    }
    if (value < min || value > max) {
        decode_errorf(d, n, "%s is \"%.*s\": write a duration from %s", path, (int)min_of(s.n, (size_t)64), s.at, range);
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

bool value_ttl(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return duration(d, n, path, TTL_S_MIN, TTL_S_MAX, "10s to 90d", field);
}
bool value_timeout(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return duration(d, n, path, 0, DRAIN_S_MAX, "0s to 1h", field);
}

bool value_part(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    char text[32] = "", *end = text;
    double value = 0;
    enum scalar_type type = n->kind == YAML_SCALAR ? scalar_type_of(n) : SCALAR_STRING;
    if ((type == SCALAR_FLOAT || type == SCALAR_INT) && n->scalar.n < sizeof(text)) {
        memcpy(text, n->scalar.at, n->scalar.n);
        value = strtod(text, &end);
    }
    if (end == text || *end || !(value >= 0.1 && value <= 0.95)) { /* a NaN is refused too */
        decode_errorf(d, n, "%s must be a number from 0.1 to 0.95, the part of the lifetime that has passed", path);
        return false;
    }
    *(double *)field = value;
    return true;
}

bool value_mesh_bytes(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct str s;
    uint64_t value;
    if (!scalar_text(d, n, path, &s))
        return false;
    if (!parse_size(s, &value) || value < MESH_BYTES_MIN || value > mesh_bytes_limit) {
        decode_errorf(d, n, "%s is \"%.*s\": write a size from 64KiB to 16GiB, such as 512MiB", path, (int)min_of(s.n, (size_t)64),
                      s.at);
        return false;
    }
    *(uint64_t *)field = value;
    return true;
}

bool value_listen(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct listen_spec spec = {0};
    struct str s;
    if (!decode_str(d, n, path, &s))
        return false;
    if (s.n && !parse_listen(s, &spec)) {
        decode_errorf(
            d, n, "%s is \"%.*s\": write \"*:15020\" for both families, \"localhost:15000\", an address and port, or \"\" for off",
            path, (int)min_of(s.n, (size_t)64), s.at);
        return false;
    }
    spec.host = decode_copy(d, spec.host); /* with its own NUL behind */
    *(struct listen_spec *)field = spec;
    return true;
}

/* HOST:PORT of a server: a name or an address, IPv6 in brackets. */
bool value_address(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct listen_spec ignored;
    uint64_t port;
    struct str s;
    if (!decode_str(d, n, path, &s))
        return false;
    const char *colon = s.n ? memrchr(s.at, ':', s.n) : NULL;
    struct str host = {s.at, colon ? (size_t)(colon - s.at) : 0};
    bool good = colon && str_u64((struct str){colon + 1, s.n - host.n - 1}, 65535, &port) && port > 0 &&
                (is_dns_name(host) || (host.n && host.at[0] != '*' && parse_listen(s, &ignored)));
    if (!good) {
        decode_errorf(d, n, "%s is \"%.*s\": write HOST:PORT, such as istiod.istio-system.svc:15012", path,
                      (int)min_of(s.n, (size_t)64), s.at);
        return false;
    }
    *(struct str *)field = s;
    return true;
}

bool value_bool(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return decode_bool(d, n, path, field);
}

typedef bool (*name_test)(struct str s);

static bool name_list(struct decode *d, const struct yaml_node *n, const char *path, name_test test, const char *form,
                      struct name_list *to) {
    bool good = true;
    if (!decode_sequence(d, n, path))
        return false;
    if (n->n_children > NAMES_MAX) {
        decode_errorf(d, n, "%s has more than %d entries: remove some", path, NAMES_MAX);
        return false;
    }
    to->items = decode_array(d, struct str, n->n_children + 1);
    yaml_for_each(it, n) {
        struct str s;
        if (d->failed || !decode_str(d, it, path, &s))
            return false;
        if (!test(s)) {
            decode_errorf(d, it, "%s has \"%.*s\": write %s", path, (int)min_of(s.n, (size_t)64), s.at, form);
            good = false;
        } else
            to->items[to->n++] = s;
    }
    return good;
}

static bool is_account(struct str s) {
    struct identity ignored;
    struct str ns;
    return str_split(&s, '/', &ns) && s.at && identity_make(STR("td"), ns, s, &ignored);
}

bool value_accounts(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return name_list(d, n, path, is_account, "NAMESPACE/SERVICEACCOUNT, such as istio-system/ztunnel", field);
}

static bool is_server_name(struct str s) {
    struct addr ignored;
    return is_dns_name(s) || addr_parse(s, &ignored);
}

bool value_server_names(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    return name_list(d, n, path, is_server_name, "a DNS name or an address without a port", field);
}

bool value_bundles(struct decode *d, const struct yaml_node *n, const char *path, void *field) {
    struct node_config *c = field;
    bool good = true;
    if (!decode_mapping(d, n, path))
        return false;
    c->ca.bundles = decode_array(d, struct named_file, n->n_children);
    yaml_for_each(it, n) {
        struct named_file bundle = {.name = decode_copy(d, it->key)};
        if (d->failed)
            return false;
        if (!trust_domain_valid(it->key)) {
            decode_key_errorf(d, it, "%s has \"%.*s\", which is no trust domain: write trust domain: file", path,
                              (int)min_of(it->key.n, (size_t)64), it->key.at);
            good = false;
        }
        if (value_word(d, it, path, &bundle.path))
            c->ca.bundles[c->ca.n_bundles++] = bundle;
        else
            good = false;
    }
    return good;
}

#define DEFINE_WORDS(function, type, ...) \
    bool function(struct decode *d, const struct yaml_node *n, const char *path, void *field) { \
        static const char *const words[] = {__VA_ARGS__}; \
        unsigned word = 0; \
        bool good = decode_enum(d, n, path, words, array_size(words), &word); \
        if (good) \
            *(type *)field = (type)word; \
        return good; \
    }
DEFINE_WORDS(value_capture_mode, enum capture_mode, "ebpf", "none")
DEFINE_WORDS(value_enrol, enum enrol_mode, "label", "all", "none")
DEFINE_WORDS(value_switch, enum switch_mode, "auto", "on", "off")
DEFINE_WORDS(value_same_node, bool, "tunnel", "kernel")
DEFINE_WORDS(value_provider, enum ca_provider, "builtin", "files", "istio")
DEFINE_WORDS(value_log_level, enum log_level, "error", "warn", "info", "debug")
DEFINE_WORDS(value_log_format, enum log_format, "text", "json")
