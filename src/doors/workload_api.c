/* SPDX-License-Identifier: GPL-3.0-or-later
 * workload_api.c - the SPIFFE Workload API for local programs (facts/identity.md 4.3)
 *
 * Every message of a stream is the complete set; a newer one replaces what the client has not read yet, so a slow client
 * costs one message. A certificate that is withdrawn ends its stream with UNAVAILABLE, a workload that is gone with
 * PERMISSION_DENIED: the client drops what it holds. JWT-SVIDs are signed by the CA for this one identity. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/tls/jws.h>
#include <ringwall/wire/workload_api.h>

#include "local.h"

enum { JWT_LIFE_S = 300 };

static void cannot_be_made(struct call *c, int r) {
    log_error("doors", "an answer of the Workload API could not be made: %s", strerror(r < 0 ? -r : EINVAL));
    call_finish(c, GRPC_UNAVAILABLE, "the answer could not be made");
}

/* ---- pieces ---- */

static struct str joined(const struct tls_der_list *l, struct arena *a, bool *ok) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->items[i].n;
    char *to = arena_alloc(a, n + 1);
    if (!to) {
        *ok = false;
        return STR_NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        memcpy(to + at, l->items[i].at, l->items[i].n);
        at += l->items[i].n;
    }
    return (struct str){to, n};
}

static struct workload_bundle bundle_of(const struct tls_bundle *b, struct arena *a, bool *ok) {
    return (struct workload_bundle){arena_strf(a, ok, "spiffe://" STR_FMT, STR_ARG(tls_bundle_trust_domain(b))),
                                    joined(tls_bundle_roots(b), a, ok)};
}

/* Bundles of all trust domains, without `except`. */
static size_t bundles_of(const struct vault *v, const struct tls_bundle *except, struct workload_bundle *to, struct arena *a,
                         bool *ok) {
    size_t n = 0;
    for (size_t i = 0; i < v->trust->n; i++)
        if (v->trust->bundles[i] != except)
            to[n++] = bundle_of(v->trust->bundles[i], a, ok);
    return n;
}

static size_t crls_of(const struct tls_trust *t, struct str **ret, struct arena *a, bool *ok) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < t->n; i++)
        n += tls_bundle_crls(t->bundles[i])->n;
    struct str *to = arena_array(a, struct str, n + 1);
    *ok = *ok && to;
    for (size_t i = 0; to && i < t->n; i++) {
        const struct tls_der_list *l = tls_bundle_crls(t->bundles[i]);
        for (size_t k = 0; k < l->n; k++)
            to[at++] = (struct str){(const char *)l->items[k].at, l->items[k].n};
    }
    *ret = to;
    return at;
}

/* Everything that the messages of bundles say. */
static uint64_t trust_version(const struct vault *v) { return v->trust ? v->trust->generation + 1 : 0; }

/* Not read yet: the newest goes when there is room. */
static bool unread(const struct call *c) { return grpc_server_queued(c->local->grpc, c->id) > 0; }

/* ---- X.509-SVIDs ---- */

static int make_svid(const struct call *c, const struct tls_bundle *own, struct secret *ret) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct secret key cleanup(secret_deinit) = SECRET_NULL;
    const struct vault *v = &c->doors->vault;
    bool ok = true;
    int r = tls_key_to_der(tls_credential_key(c->holder->credential), &key);
    if (r < 0)
        return err_trace(r);
    struct workload_svid svid = {.spiffe_id = identity_uri(&c->holder->identity),
                                 .chain_der = joined(tls_credential_chain(c->holder->credential), &a, &ok),
                                 .key_der = {(const char *)key.at, key.n},
                                 .bundle_der = joined(tls_bundle_roots(own), &a, &ok)};
    struct workload_bundle *federated = arena_array(&a, struct workload_bundle, v->trust->n + 1);
    struct str *crls = NULL;
    size_t n_crls = crls_of(v->trust, &crls, &a, &ok);
    size_t n_federated = federated ? bundles_of(v, own, federated, &a, &ok) : 0;
    if (!ok || !federated)
        return err_origin(-ENOMEM);
    struct workload_x509 m = {
        .svids = &svid, .n_svids = 1, .crls = crls, .n_crls = n_crls, .federated = federated, .n_federated = n_federated};
    return err_trace(workload_create_x509(&m, ret));
}

static void svid_look(struct call *c) {
    const struct vault *v = &c->doors->vault;
    if (!c->started)
        return;
    if (!c->holder->credential && c->sent_version) {
        call_finish(c, GRPC_UNAVAILABLE, "the certificate is withdrawn: %s", c->holder->why);
        return;
    }
    const struct vault_bundle *own = vault_bundle(v, identity_td(&c->holder->identity));
    if (!c->holder->credential || !own) {
        ignore_result(call_hold(c, "the certificate or the trust bundle")); /* nothing follows here */
        return;
    }
    uint64_t version = c->holder->version + trust_version(v) * 0x9e3779b97f4a7c15;
    version += version == 0;
    if (c->sent_version == version || unread(c))
        return;
    struct secret bytes cleanup(secret_deinit) = SECRET_NULL;
    int r = make_svid(c, own->bundle, &bytes);
    if (r != 0) {
        cannot_be_made(c, r);
        return;
    }
    c->sent_version = version;
    ignore_result(call_send_secret(c, &bytes)); /* nothing follows here */
}

/* ---- bundles ---- */

static int make_bundles(const struct vault *v, uint8_t **ret, size_t *ret_n) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    bool ok = true;
    struct str *crls = NULL;
    struct workload_bundle *all = arena_array(&a, struct workload_bundle, v->trust->n + 1);
    struct workload_x509_bundles m = {.bundles = all};
    m.n_bundles = all ? bundles_of(v, NULL, all, &a, &ok) : 0;
    m.n_crls = crls_of(v->trust, &crls, &a, &ok);
    m.crls = crls;
    if (!ok || !all)
        return err_origin(-ENOMEM);
    return err_trace(workload_create_x509_bundles(&m, ret, ret_n));
}

static void send_newest(struct call *c, uint64_t version, int r, uint8_t *bytes, size_t n) {
    if (r != 0) {
        cannot_be_made(c, r);
        return;
    }
    c->sent_version = version;
    ignore_result(call_send(c, bytes, n)); /* nothing follows here */
}

static void bundles_look(struct call *c) {
    const struct vault *v = &c->doors->vault;
    if (!c->started)
        return;
    if (!v->trust) {
        ignore_result(call_hold(c, "the trust bundle")); /* nothing follows here */
        return;
    }
    uint64_t version = trust_version(v);
    if (c->sent_version == version || unread(c))
        return;
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    int r = make_bundles(v, &bytes, &n);
    send_newest(c, version, r, bytes, n);
}

static void jwt_bundles_look(struct call *c) {
    const struct vault *v = &c->doors->vault;
    if (!c->started)
        return;
    if (!v->jwks) {
        ignore_result(call_hold(c, "the keys of JWT-SVIDs")); /* nothing follows here */
        return;
    }
    if (!v->jwks[0]) {
        call_finish(c, GRPC_UNIMPLEMENTED, "the CA of this node signs no JWT-SVIDs");
        return;
    }
    if (c->sent_version == v->jwks_version || unread(c))
        return;
    char id[sizeof("spiffe://") + IDENTITY_TEXT_MAX];
    struct text t = TEXT_OVER(id);
    text_addf(&t, "spiffe://" STR_FMT, STR_ARG(v->trust_domain));
    struct workload_bundle own = {text_str(&t), str_of(v->jwks)};
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    int r = workload_create_jwt_bundles(&own, 1, &bytes, &n);
    send_newest(c, v->jwks_version, r, bytes, n);
}

/* The requests of the streams are empty messages: that one came is all there is to know. */
static void stream_message(struct call *c, const uint8_t *bytes unused_arg, size_t n unused_arg) {
    if (c->started) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "a second request on this call");
        return;
    }
    c->started = true;
    c->method->look(c);
}

/* ---- JWT-SVIDs ---- */

static enum grpc_code code_of(enum ca_code code) {
    switch (code) {
    case CA_INVALID_ARGUMENT:
        return GRPC_INVALID_ARGUMENT;
    case CA_PERMISSION_DENIED:
    case CA_UNAUTHENTICATED:
        return GRPC_PERMISSION_DENIED;
    case CA_UNIMPLEMENTED:
    case CA_FAILED_PRECONDITION:
        return GRPC_UNIMPLEMENTED;
    case CA_RESOURCE_EXHAUSTED:
        return GRPC_RESOURCE_EXHAUSTED;
    default:
        return GRPC_UNAVAILABLE;
    }
}

static void jwt_answered(struct ask *a, const struct ca_response *answer) {
    struct call *c = container_of(a, struct call, ask);
    if (!answer) {
        call_finish(c, GRPC_UNAVAILABLE, "the CA did not answer in time");
        return;
    }
    if (answer->code != CA_OK) {
        call_finish(c, code_of(answer->code), STR_FMT, STR_ARG(answer->message));
        return;
    }
    struct workload_jwt_svid svid = {.spiffe_id = identity_uri(&c->holder->identity), .token = answer->token};
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    int r = workload_create_jwt(&svid, 1, &bytes, &n);
    if (r != 0) {
        cannot_be_made(c, r);
        return;
    }
    counter_add(&c->doors->stats->jwts, 1);
    if (call_send(c, bytes, n))
        call_finish(c, GRPC_OK, "%s", "");
    secret_wipe(bytes, n); /* a token is as good as its holder for a while */
}

static bool audience_ok(const struct workload_jwt_request *q) {
    for (size_t i = 0; i < q->n_audience; i++)
        if (q->audience[i].n == 0)
            return false;
    return q->n_audience > 0 && q->n_audience <= PB_AUDIENCE_MAX;
}

static void jwt_message(struct call *c, const uint8_t *bytes, size_t n) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct workload_jwt_request q = {0};
    struct doors *d = c->doors;
    if (c->started || workload_consume_jwt_request(bytes, n, &a, &q) != 0) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "the request cannot be read");
        return;
    }
    c->started = true;
    if (!audience_ok(&q)) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "audience: name 1 to %d, none empty", PB_AUDIENCE_MAX);
        return;
    }
    struct str own = identity_uri(&c->holder->identity);
    if (q.spiffe_id.n > 0 && !str_is(q.spiffe_id, own)) {
        call_finish(c, GRPC_PERMISSION_DENIED, "this workload is " STR_FMT, STR_ARG(own));
        return;
    }
    struct ca_request ask = {.kind = CA_MESSAGE_JWT,
                             .caller = CA_CALLER_NODE,
                             .caller_node = str_of(d->o.node),
                             .identity = own,
                             .n_audience = q.n_audience,
                             .validity_s = JWT_LIFE_S};
    memcpy(ask.audience, q.audience, q.n_audience * sizeof(q.audience[0]));
    if (ask_send(&d->asks, &c->ask, &ask, doors_now(d), jwt_answered) != 0)
        call_finish(c, GRPC_UNAVAILABLE, "the CA takes no more requests now");
}

/* A SPIFFE ID of our own trust domain, whose keys are those we know. */
static bool subject_is_ours(const struct vault *v, struct str subject) {
    const struct str scheme = STR("spiffe://");
    if (!str_has_prefix(subject, scheme) || subject.n <= scheme.n + v->trust_domain.n)
        return false;
    return str_is((struct str){subject.at + scheme.n, v->trust_domain.n}, v->trust_domain) &&
           subject.at[scheme.n + v->trust_domain.n] == '/';
}

static void validate(struct call *c, const struct workload_validate_request *q, struct arena *a) {
    const struct vault *v = &c->doors->vault;
    struct jwks set;
    struct jwt token;
    char why[128] = "";
    if (jwks_consume(str_of(v->jwks), a, &set, why) != 0) {
        call_finish(c, GRPC_UNAVAILABLE, "the keys of JWT-SVIDs cannot be read: %s", why);
        return;
    }
    struct jwt_expected expected = {.audience = q->audience, .now_s = clock_wall_s()};
    int r = jws_accept(q->token, &set, &expected, a, &token, why);
    if (r != JWT_OK || !subject_is_ours(v, token.subject)) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "the token is not valid: %s",
                    r < 0         ? "out of memory"
                    : r == JWT_OK ? "its subject is no SPIFFE ID of this trust domain"
                    : why[0]      ? why
                                  : jwt_verdict_text((enum jwt_verdict)r));
        return;
    }
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    r = workload_create_validated(token.subject, token.claims, &bytes, &n);
    if (r != 0)
        cannot_be_made(c, r);
    else if (call_send(c, bytes, n))
        call_finish(c, GRPC_OK, "%s", "");
}

static void validate_message(struct call *c, const uint8_t *bytes, size_t n) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct workload_validate_request q = {0};
    if (c->started || workload_consume_validate_request(bytes, n, &a, &q) != 0) {
        call_finish(c, GRPC_INVALID_ARGUMENT, "the request cannot be read");
        return;
    }
    c->started = true;
    if (q.audience.n == 0 || q.token.n == 0)
        call_finish(c, GRPC_INVALID_ARGUMENT, "audience and svid must be given");
    else if (!c->doors->vault.jwks || !c->doors->vault.jwks[0])
        call_finish(c, c->doors->vault.jwks ? GRPC_UNIMPLEMENTED : GRPC_UNAVAILABLE, "no keys of JWT-SVIDs are known");
    else
        validate(c, &q, &a);
}

#define METHOD_STR(literal) \
    { .at = (literal), .n = sizeof(literal) - 1 }
const struct method workload_api_methods[5] = {
    {.path = METHOD_STR("/SpiffeWorkloadAPI/FetchX509SVID"),
     .name = "FetchX509SVID",
     .stream = true,
     .message = stream_message,
     .look = svid_look},
    {.path = METHOD_STR("/SpiffeWorkloadAPI/FetchX509Bundles"),
     .name = "FetchX509Bundles",
     .stream = true,
     .message = stream_message,
     .look = bundles_look},
    {.path = METHOD_STR("/SpiffeWorkloadAPI/FetchJWTSVID"), .name = "FetchJWTSVID", .message = jwt_message},
    {.path = METHOD_STR("/SpiffeWorkloadAPI/FetchJWTBundles"),
     .name = "FetchJWTBundles",
     .stream = true,
     .message = stream_message,
     .look = jwt_bundles_look},
    {.path = METHOD_STR("/SpiffeWorkloadAPI/ValidateJWTSVID"), .name = "ValidateJWTSVID", .message = validate_message},
};
