/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/workload_api.c - see wire/workload_api.h */
#include <errno.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/workload_api.h>

#include "pb_codec.h"
#include "workload_api.pb-c.h"
#include "workload_claims.h"

/* What a message points to while it is packed; NULL members when there are none. */
static ProtobufCBinaryData *list_of(struct arena *a, const struct str *items, size_t n, bool *ok) {
    ProtobufCBinaryData *list = n ? arena_array(a, ProtobufCBinaryData, n) : NULL;

    if (list)
        pb_of_list(items, n, list);
    else if (n)
        *ok = false;
    return list;
}

static Ringwall__Workload__BundleEntry **entries_of(struct arena *a, const struct workload_bundle *b, size_t n, bool *ok) {
    Ringwall__Workload__BundleEntry *entries = arena_array(a, Ringwall__Workload__BundleEntry, n + 1);
    Ringwall__Workload__BundleEntry **pointers = arena_array(a, Ringwall__Workload__BundleEntry *, n + 1);

    if (!entries || !pointers) {
        *ok = false;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        ringwall__workload__bundle_entry__init(&entries[i]);
        entries[i].key = pb_of(b[i].trust_domain_id);
        entries[i].value = pb_of(b[i].content);
        pointers[i] = &entries[i];
    }
    return pointers;
}

int workload_create_x509(const struct workload_x509 *m, struct secret *ret) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    Ringwall__Workload__X509SvidResponse message = RINGWALL__WORKLOAD__X509_SVID_RESPONSE__INIT;
    Ringwall__Workload__X509Svid *svids = arena_array(&a, Ringwall__Workload__X509Svid, m->n_svids + 1);
    Ringwall__Workload__X509Svid **pointers = arena_array(&a, Ringwall__Workload__X509Svid *, m->n_svids + 1);

    check(m->n_svids <= WORKLOAD_SVIDS_MAX);
    if (!svids || !pointers)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_svids; i++) {
        ringwall__workload__x509_svid__init(&svids[i]);
        svids[i].spiffe_id = pb_of(m->svids[i].spiffe_id);
        svids[i].x509_svid = pb_of(m->svids[i].chain_der);
        svids[i].x509_svid_key = pb_of(m->svids[i].key_der);
        svids[i].bundle = pb_of(m->svids[i].bundle_der);
        svids[i].hint = pb_of(m->svids[i].hint);
        pointers[i] = &svids[i];
    }
    message.svids = pointers;
    message.n_svids = m->n_svids;
    message.crl = list_of(&a, m->crls, m->n_crls, &ok);
    message.n_crl = m->n_crls;
    message.federated_bundles = entries_of(&a, m->federated, m->n_federated, &ok);
    message.n_federated_bundles = m->n_federated;
    return ok ? pb_pack_secret(&message.base, ret) : -ENOMEM;
}

int workload_create_x509_bundles(const struct workload_x509_bundles *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    Ringwall__Workload__X509BundlesResponse message = RINGWALL__WORKLOAD__X509_BUNDLES_RESPONSE__INIT;

    message.crl = list_of(&a, m->crls, m->n_crls, &ok);
    message.n_crl = m->n_crls;
    message.bundles = entries_of(&a, m->bundles, m->n_bundles, &ok);
    message.n_bundles = m->n_bundles;
    return ok ? pb_pack(&message.base, ret, ret_n) : -ENOMEM;
}

int workload_create_jwt_bundles(const struct workload_bundle *bundles, size_t n_bundles, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    Ringwall__Workload__JwtBundlesResponse message = RINGWALL__WORKLOAD__JWT_BUNDLES_RESPONSE__INIT;

    message.bundles = entries_of(&a, bundles, n_bundles, &ok);
    message.n_bundles = n_bundles;
    return ok ? pb_pack(&message.base, ret, ret_n) : -ENOMEM;
}

int workload_create_jwt(const struct workload_jwt_svid *svids, size_t n_svids, uint8_t **ret, size_t *ret_n) {
    Ringwall__Workload__JwtSvidResponse message = RINGWALL__WORKLOAD__JWT_SVID_RESPONSE__INIT;
    Ringwall__Workload__JwtSvid items[WORKLOAD_SVIDS_MAX], *pointers[WORKLOAD_SVIDS_MAX];

    check(n_svids <= WORKLOAD_SVIDS_MAX);
    for (size_t i = 0; i < n_svids; i++) {
        ringwall__workload__jwt_svid__init(&items[i]);
        items[i].spiffe_id = pb_of(svids[i].spiffe_id);
        items[i].svid = pb_of(svids[i].token);
        items[i].hint = pb_of(svids[i].hint);
        pointers[i] = &items[i];
    }
    message.svids = pointers;
    message.n_svids = n_svids;
    return pb_pack(&message.base, ret, ret_n);
}

int workload_create_validated(struct str spiffe_id, struct str claims, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    Ringwall__Workload__ValidateResponse message = RINGWALL__WORKLOAD__VALIDATE_RESPONSE__INIT;
    int r = workload_claims_create(claims, &a, &message.claims);

    if (r)
        return r;
    message.spiffe_id = pb_of(spiffe_id);
    return pb_pack(&message.base, ret, ret_n);
}

int workload_consume_jwt_request(const uint8_t *bytes, size_t n, struct arena *a, struct workload_jwt_request *ret) {
    struct pb_in in = {.arena = a};
    struct workload_jwt_request q = {0};
    const Ringwall__Workload__JwtSvidRequest *m;
    int r = pb_open(&in, &ringwall__workload__jwt_svid_request__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Workload__JwtSvidRequest *)in.message;
    q.audience = pb_take_list(&in, m->audience, m->n_audience, PB_AUDIENCE_MAX, true, &q.n_audience);
    q.spiffe_id = pb_take_text(&in, m->spiffe_id);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = q;
    return r;
}

int workload_consume_validate_request(const uint8_t *bytes, size_t n, struct arena *a, struct workload_validate_request *ret) {
    struct pb_in in = {.arena = a};
    struct workload_validate_request q = {0};
    const Ringwall__Workload__ValidateRequest *m;
    int r = pb_open(&in, &ringwall__workload__validate_request__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Workload__ValidateRequest *)in.message;
    q.audience = pb_take_text(&in, m->audience);
    q.token = pb_take_text(&in, m->svid);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = q;
    return r;
}

/* For clients. */

int workload_create_jwt_request(const struct workload_jwt_request *m, uint8_t **ret, size_t *ret_n) {
    Ringwall__Workload__JwtSvidRequest message = RINGWALL__WORKLOAD__JWT_SVID_REQUEST__INIT;
    ProtobufCBinaryData audience[PB_AUDIENCE_MAX];

    check(m->n_audience <= PB_AUDIENCE_MAX);
    pb_of_list(m->audience, m->n_audience, audience);
    message.audience = audience;
    message.n_audience = m->n_audience;
    message.spiffe_id = pb_of(m->spiffe_id);
    return pb_pack(&message.base, ret, ret_n);
}

int workload_create_validate_request(const struct workload_validate_request *m, uint8_t **ret, size_t *ret_n) {
    Ringwall__Workload__ValidateRequest message = RINGWALL__WORKLOAD__VALIDATE_REQUEST__INIT;

    message.audience = pb_of(m->audience);
    message.svid = pb_of(m->token);
    return pb_pack(&message.base, ret, ret_n);
}

int workload_consume_x509(const uint8_t *bytes, size_t n, struct arena *a, struct workload_x509 *ret) {
    struct pb_in in = {.arena = a};
    struct workload_x509 p = {0};
    const Ringwall__Workload__X509SvidResponse *m;
    struct workload_svid *svids;
    struct workload_bundle *federated;
    int r = pb_open(&in, &ringwall__workload__x509_svid_response__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Workload__X509SvidResponse *)in.message;
    svids = pb_take_array(&in, sizeof(*svids), m->n_svids, WORKLOAD_SVIDS_MAX);
    for (size_t i = 0; svids && i < m->n_svids; i++) {
        svids[i].spiffe_id = pb_take_text(&in, m->svids[i]->spiffe_id);
        svids[i].chain_der = pb_take_bytes(&in, m->svids[i]->x509_svid);
        svids[i].key_der = pb_take_bytes(&in, m->svids[i]->x509_svid_key);
        svids[i].bundle_der = pb_take_bytes(&in, m->svids[i]->bundle);
        svids[i].hint = pb_take_text(&in, m->svids[i]->hint);
    }
    federated = pb_take_array(&in, sizeof(*federated), m->n_federated_bundles, PB_BUNDLES_MAX);
    for (size_t i = 0; federated && i < m->n_federated_bundles; i++) {
        federated[i].trust_domain_id = pb_take_text(&in, m->federated_bundles[i]->key);
        federated[i].content = pb_take_bytes(&in, m->federated_bundles[i]->value);
    }
    p.svids = svids;
    p.n_svids = svids ? m->n_svids : 0;
    p.crls = pb_take_list(&in, m->crl, m->n_crl, PB_CRLS_MAX, false, &p.n_crls);
    p.federated = federated;
    p.n_federated = federated ? m->n_federated_bundles : 0;
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = p;
    return r;
}
