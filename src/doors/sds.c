/* SPDX-License-Identifier: GPL-3.0-or-later
 * sds.c - Envoy's SecretDiscoveryService v3 for local programs: the two streams and the single fetch
 *
 * Names (facts/identity.md 3.3): "default" and the caller's own SPIFFE ID are its certificate and key; "ROOTCA" and
 * "spiffe://<trust domain>" are roots; "ALL" is every bundle, for Envoy's SPIFFE validator; no name at all is everything. Any
 * other name is an error that names it. What counts as asked, sent and answered is sds_state.c's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/tls/issue.h>
#include <ringwall/wire/sds.h>

#include "local.h"

/* ---- names ---- */

static const struct str name_default = {"default", 7}, name_rootca = {"ROOTCA", 6}, name_all = {"ALL", 3},
                        scheme = {"spiffe://", 9};

/* The trust domain that a name of roots speaks of; STR_NULL: it is none, or "ALL". */
static struct str name_trust_domain(const struct call *c, struct str name) {
    if (str_is(name, name_rootca))
        return identity_td(&c->holder->identity);
    if (!str_has_prefix(name, scheme))
        return STR_NULL;
    struct str td = {name.at + scheme.n, name.n - scheme.n};
    return trust_domain_valid(td) ? td : STR_NULL;
}

static bool name_is_leaf(const struct call *c, struct str name) {
    return str_is(name, name_default) || str_is(name, identity_uri(&c->holder->identity));
}

static bool name_is_root(const struct call *c, struct str name) {
    struct str td = name_trust_domain(c, name);
    if (str_is(name, name_all) || str_is(td, c->doors->vault.trust_domain))
        return true;
    return td.n > 0 && vault_bundle(&c->doors->vault, td);
}

/* Versions of what there is now, for each name that the stream has. */
static uint64_t name_version(const struct call *c, struct str name) {
    const struct vault *v = &c->doors->vault;
    if (name_is_leaf(c, name))
        return c->holder->version;
    if (str_is(name, name_all))
        return vault_all_version(v);
    const struct vault_bundle *b = vault_bundle(v, name_trust_domain(c, name));
    return b ? b->version : 0;
}

/* The set behind a wildcard. */
static int names_of_everything(const struct call *c, struct arena *a, struct sds_name **ret, size_t *ret_n) {
    const struct vault *v = &c->doors->vault;
    size_t n = v->trust ? min_of(v->trust->n, (size_t)SDS_ITEMS_MAX - 1) : 0;
    struct sds_name *names = arena_alloc(a, (n + 1) * sizeof(*names));
    if (!names)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++) {
        struct str td = tls_bundle_trust_domain(v->trust->bundles[i]);
        char *text = arena_alloc(a, scheme.n + td.n);
        if (!text)
            return err_origin(-ENOMEM);
        memcpy(text, scheme.at, scheme.n);
        memcpy(text + scheme.n, td.at, td.n);
        names[i] = (struct sds_name){.name = {text, scheme.n + td.n}, .root = true};
    }
    names[n] = (struct sds_name){.name = identity_uri(&c->holder->identity)};
    *ret = names;
    *ret_n = n + 1;
    return 0;
}

/* ---- responses ---- */

struct making { /* what a response's texts live in until its bytes are made */
    struct growing texts[SDS_ITEMS_MAX + 1][2];
    struct secret key;
    struct sds_bundle *bundles; /* of "ALL" */
    struct growing *bundle_texts;
    size_t n_bundles;
};
static void making_deinit(struct making *m) {
    for (size_t i = 0; i < array_size(m->texts); i++)
        for (size_t k = 0; k < array_size(m->texts[i]); k++)
            growing_deinit(&m->texts[i][k]);
    for (size_t i = 0; m->bundle_texts && i < m->n_bundles; i++)
        growing_deinit(&m->bundle_texts[i]);
    free(m->bundle_texts);
    free(m->bundles);
    secret_deinit(&m->key);
}

static struct str growing_str(const struct growing *g) { return (struct str){g->at, g->n}; }

static int make_leaf(const struct call *c, struct making *m, struct growing *chain, struct sds_secret *to) {
    to->kind = SDS_CERTIFICATE;
    int r = tls_certs_to_pem(tls_credential_chain(c->holder->credential), chain);
    if (r == 0 && !m->key.at)
        r = tls_key_to_pem(tls_credential_key(c->holder->credential), &m->key);
    if (r != 0)
        return err_fold(r);
    to->chain_pem = growing_str(chain);
    to->key_pem = (struct str){(const char *)m->key.at, m->key.n};
    return 0;
}

static int make_roots(struct call *c, struct growing texts[2], struct str name, struct sds_secret *to) {
    const struct vault_bundle *b = vault_bundle(&c->doors->vault, name_trust_domain(c, name));
    check(b); /* it has a version */
    to->kind = SDS_VALIDATION;
    int r = tls_certs_to_pem(tls_bundle_roots(b->bundle), &texts[0]);
    const struct tls_der_list *crls = tls_bundle_crls(b->bundle);
    for (size_t i = 0; r == 0 && b->crls && i < crls->n; i++)
        r = tls_der_to_pem(&crls->items[i], "X509 CRL", &texts[1]);
    if (r != 0)
        return err_fold(r);
    if (!b->crls && crls->n > 0)
        counter_add(&c->doors->stats->crl_withheld, 1);
    to->roots_pem = growing_str(&texts[0]);
    to->crl_pem = growing_str(&texts[1]);
    return 0;
}

static int make_all(const struct call *c, struct making *m, struct sds_secret *to) {
    const struct tls_trust *trust = c->doors->vault.trust;
    to->kind = SDS_VALIDATION;
    if (!m->bundles) {
        m->bundles = calloc(trust->n, sizeof(*m->bundles));
        m->bundle_texts = calloc(trust->n, sizeof(*m->bundle_texts));
        m->n_bundles = trust->n;
    }
    if (!m->bundles || !m->bundle_texts)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < trust->n; i++) {
        if (m->bundle_texts[i].n > 0)
            continue;
        int r = tls_certs_to_pem(tls_bundle_roots(trust->bundles[i]), &m->bundle_texts[i]);
        if (r != 0)
            return err_fold(r);
        m->bundles[i] = (struct sds_bundle){tls_bundle_trust_domain(trust->bundles[i]), growing_str(&m->bundle_texts[i])};
    }
    to->bundles = m->bundles;
    to->n_bundles = trust->n;
    return 0;
}

static void version_text(uint64_t version, char ret[SDS_MARK_BYTES]) {
    snprintf(ret, SDS_MARK_BYTES, "%016llx", (unsigned long long)version);
}

static int make_response(struct call *c, struct making *m, const size_t *items, size_t n, struct secret *ret) {
    struct sds_secret secrets[SDS_ITEMS_MAX] = {0};
    char versions[SDS_ITEMS_MAX][SDS_MARK_BYTES], nonce[SDS_MARK_BYTES], version[SDS_MARK_BYTES];
    for (size_t i = 0; i < n; i++) {
        const struct sds_item *item = &c->sds.items[items[i]];
        struct sds_secret *to = &secrets[i];
        to->name = str_of(item->name);
        version_text(item->now, versions[i]);
        to->version = c->sds.delta ? str_of(versions[i]) : STR_NULL;
        int r = !item->root                  ? make_leaf(c, m, &m->texts[i][0], to)
                : str_is(to->name, name_all) ? make_all(c, m, to)
                                             : make_roots(c, m->texts[i], to->name, to);
        if (r < 0)
            return err_trace(r);
        if (m->texts[i][0].failed || m->texts[i][1].failed)
            return err_origin(-ENOMEM);
    }
    sds_state_nonce(&c->sds, nonce);
    sds_state_version(&c->sds, version);
    struct sds_response response = {.version = str_of(version), .nonce = str_of(nonce), .secrets = secrets, .n_secrets = n};
    return err_trace(c->sds.delta ? sds_create_delta_response(&response, ret) : sds_create_response(&response, ret));
}

/* False: the call is over. */
static bool send_items(struct call *c, const size_t *items, size_t n) {
    struct making m cleanup(making_deinit) = {0};
    struct secret bytes cleanup(secret_deinit) = SECRET_NULL;
    sds_state_sent(&c->sds, items, n, doors_now(c->doors));
    int r = make_response(c, &m, items, n, &bytes);
    if (r < 0) {
        log_error("doors", "a response of SDS could not be made: %s", strerror(-r));
        call_finish(c, GRPC_UNAVAILABLE, "the response could not be made");
        return false;
    }
    return call_send_secret(c, &bytes);
}

/* Takes over what there is now. */
static int refresh(struct call *c) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct sds_name *names = NULL;
    size_t n = 0;
    if (c->sds.wildcard) {
        int r = names_of_everything(c, &a, &names, &n);
        if (r == 0)
            r = sds_state_wild(&c->sds, names, n);
        if (r != 0)
            return err_fold(r);
    }
    for (size_t i = 0; i < c->sds.n_items; i++)
        c->sds.items[i].now = name_version(c, str_of(c->sds.items[i].name));
    return 0;
}

/* Sends what is due; holds what is not there yet. */
static void sds_look(struct call *c) {
    size_t items[SDS_ITEMS_MAX];
    if (!c->started)
        return;
    if (refresh(c) < 0) {
        call_finish(c, GRPC_UNAVAILABLE, "out of memory");
        return;
    }
    size_t n = sds_state_take(&c->sds, doors_now(c->doors), items);
    if (n > 0 && !send_items(c, items, n))
        return;
    if (!sds_state_starved(&c->sds)) {
        c->hold_ns = 0;
        return;
    }
    ignore_result(call_hold(c, "the certificate or the trust bundle")); /* nothing follows here */
}

/* ---- requests ---- */

/* Names as the state wants them. False: one is not for this caller; the call is finished. */
static bool names_judge(struct call *c, const struct sds_request *q, struct sds_name *names, size_t *ret_n, bool *ret_wild) {
    size_t n = 0;
    for (size_t i = 0; i < q->n_names; i++) {
        if (c->sds.delta && str_is(q->names[i], STR("*"))) {
            *ret_wild = true;
            continue;
        }
        bool leaf = name_is_leaf(c, q->names[i]);
        if (!leaf && !name_is_root(c, q->names[i])) {
            call_finish(c, GRPC_INVALID_ARGUMENT, "no secret \"" STR_FMT "\" for this workload, which is " STR_FMT,
                        (int)min_of(q->names[i].n, (size_t)200), q->names[i].at, STR_ARG(identity_uri(&c->holder->identity)));
            return false;
        }
        names[n++] = (struct sds_name){q->names[i], !leaf};
    }
    *ret_n = n;
    return true;
}

static void note_heard(struct call *c, enum sds_heard heard, const struct sds_request *q) {
    struct doors_stats *s = c->doors->stats;
    switch (heard) {
    case SDS_ACK:
        counter_add(&s->acks, 1);
        break;
    case SDS_NACK:
        counter_add(&s->nacks, 1);
        static struct log_limit limit;
        if (log_limit_allows(&limit, 10)) {
            struct log_field f[] = {KV_STR("identity", identity_uri(&c->holder->identity)), KV_I64("pid", c->local->peer.pid),
                                    KV_STR("error", q->error_message)};
            log_write(LOG_PROGRAM, LOG_WARN, "doors", f, array_size(f), "a program refused what SDS sent; it keeps what it had");
        }
        break;
    case SDS_STALE:
        counter_add(&s->stale, 1);
        break;
    case SDS_FIRST:
    case SDS_CHANGED:
        break;
    }
}

static uint64_t version_number(struct str s) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        char h = s.at[i];
        unsigned digit = h >= '0' && h <= '9' ? (unsigned)(h - '0') : h >= 'a' && h <= 'f' ? (unsigned)(h - 'a') + 10 : 16;
        if (digit > 15 || i >= 16)
            return 0;
        v = v << 4 | digit;
    }
    return v;
}

static bool sds_hear(struct call *c, const struct sds_request *q, struct arena *a) {
    struct sds_name *names = arena_alloc(a, (q->n_names + 1) * sizeof(*names));
    struct sds_have *have = arena_alloc(a, (q->n_held + 1) * sizeof(*have));
    struct sds_ask ask = {.nonce = q->nonce, .version = q->version, .has_error = q->refused};
    enum sds_heard heard;
    if (!names || !have) {
        call_finish(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    if (!names_judge(c, q, names, &ask.n_names, &ask.wild))
        return false;
    for (size_t i = 0; i < q->n_held; i++)
        have[i] = (struct sds_have){q->held[i].name, version_number(q->held[i].version)};
    ask.names = names;
    ask.gone = q->unsubscribe;
    ask.n_gone = q->n_unsubscribe;
    ask.have = have;
    ask.n_have = q->n_held;
    int r = sds_state_hear(&c->sds, &ask, &heard);
    if (r != 0) {
        call_finish(c, GRPC_RESOURCE_EXHAUSTED, "more than %d secrets on one stream", SDS_ITEMS_MAX);
        return false;
    }
    note_heard(c, heard, q);
    return true;
}

static void sds_message(struct call *c, const uint8_t *bytes, size_t n) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct sds_request q = {0};
    struct doors *d = c->doors;
    int r = c->sds.delta ? sds_consume_delta_request(bytes, n, &a, &q) : sds_consume_request(bytes, n, &a, &q);
    if (r != 0) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "the request cannot be read");
        return;
    }
    /* Later requests of a stream may leave it out. */
    if (q.type_url.n > 0 && !str_is(q.type_url, SDS_TYPE_SECRET)) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "only secrets are served here, not " STR_FMT, (int)min_of(q.type_url.n, (size_t)200),
                    q.type_url.at);
        return;
    }
    c->started = true;
    if (!sds_hear(c, &q, &a))
        return;
    sds_look(c);
    doors_confirm_trust(d);
}

static void begin_world(struct call *c) { sds_state_init(&c->sds, false, rng_u64(&c->doors->rng)); }
static void begin_delta(struct call *c) { sds_state_init(&c->sds, true, rng_u64(&c->doors->rng)); }
static void sds_end(struct call *c) { sds_state_deinit(&c->sds); }

/* The single fetch: as the first response of a stream, once everything asked for is there. */
static void fetch_look(struct call *c) {
    size_t items[SDS_ITEMS_MAX];
    if (!c->started)
        return;
    if (refresh(c) < 0) {
        call_finish(c, GRPC_UNAVAILABLE, "out of memory");
        return;
    }
    if (sds_state_starved(&c->sds) || c->sds.n_items == 0) {
        ignore_result(call_hold(c, "the certificate or the trust bundle")); /* nothing follows here */
        return;
    }
    size_t n = sds_state_take(&c->sds, doors_now(c->doors), items);
    if (n > 0 && send_items(c, items, n))
        call_finish(c, GRPC_OK, "%s", "");
}

static void fetch_message(struct call *c, const uint8_t *bytes, size_t n) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct sds_request q = {0};
    if (c->started || sds_consume_request(bytes, n, &a, &q) != 0) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "the request cannot be read");
        return;
    }
    c->started = true;
    if (sds_hear(c, &q, &a))
        fetch_look(c);
}

#define METHOD_STR(literal) \
    { .at = (literal), .n = sizeof(literal) - 1 }
const struct method sds_methods[3] = {
    {.path = METHOD_STR("/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"),
     .name = "StreamSecrets",
     .sds = true,
     .stream = true,
     .both_ways = true,
     .begin = begin_world,
     .message = sds_message,
     .look = sds_look,
     .end = sds_end},
    {.path = METHOD_STR("/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"),
     .name = "DeltaSecrets",
     .sds = true,
     .stream = true,
     .both_ways = true,
     .begin = begin_delta,
     .message = sds_message,
     .look = sds_look,
     .end = sds_end},
    {.path = METHOD_STR("/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets"),
     .name = "FetchSecrets",
     .sds = true,
     .begin = begin_world,
     .message = fetch_message,
     .look = fetch_look,
     .end = sds_end},
};
