/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/sds.c - see wire/sds.h
 *
 * A secret is packed twice: by itself, and inside the response as the value of an Any. Both are secret memory. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/sds.h>

#include "pb_codec.h"
#include "sds.pb-c.h"

static const struct str type_spiffe =
                            STR("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"),
                        name_spiffe = STR("envoy.tls.cert_validator.spiffe");

/* Requests. */

static void take_error(struct pb_in *in, const Ringwall__Sds__Status *s, struct sds_request *ret) {
    if (!s)
        return;
    ret->refused = true;
    ret->error_code = s->code;
    ret->error_message = pb_take_text(in, s->message);
}

int sds_consume_request(const uint8_t *bytes, size_t n, struct arena *a, struct sds_request *ret) {
    struct pb_in in = {.arena = a};
    struct sds_request q = {0};
    const Ringwall__Sds__DiscoveryRequest *m;
    int r = pb_open(&in, &ringwall__sds__discovery_request__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Sds__DiscoveryRequest *)in.message;
    q.version = pb_take_text(&in, m->version_info);
    q.node_id = m->node ? pb_take_text(&in, m->node->id) : STR_NULL;
    q.type_url = pb_take_text(&in, m->type_url);
    q.nonce = pb_take_text(&in, m->response_nonce);
    q.names = pb_take_list(&in, m->resource_names, m->n_resource_names, SDS_NAMES_MAX, true, &q.n_names);
    take_error(&in, m->error_detail, &q);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = q;
    return r;
}

int sds_consume_delta_request(const uint8_t *bytes, size_t n, struct arena *a, struct sds_request *ret) {
    struct pb_in in = {.arena = a};
    struct sds_request q = {0};
    const Ringwall__Sds__DeltaDiscoveryRequest *m;
    struct sds_version *held;
    int r = pb_open(&in, &ringwall__sds__delta_discovery_request__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Sds__DeltaDiscoveryRequest *)in.message;
    q.node_id = m->node ? pb_take_text(&in, m->node->id) : STR_NULL;
    q.type_url = pb_take_text(&in, m->type_url);
    q.nonce = pb_take_text(&in, m->response_nonce);
    q.names = pb_take_list(&in, m->resource_names_subscribe, m->n_resource_names_subscribe, SDS_NAMES_MAX, true, &q.n_names);
    q.unsubscribe =
        pb_take_list(&in, m->resource_names_unsubscribe, m->n_resource_names_unsubscribe, SDS_NAMES_MAX, true, &q.n_unsubscribe);
    held = pb_take_array(&in, sizeof(*held), m->n_initial_resource_versions, SDS_NAMES_MAX);
    for (size_t i = 0; held && i < m->n_initial_resource_versions; i++) {
        held[i].name = pb_take_text(&in, m->initial_resource_versions[i]->key);
        held[i].version = pb_take_text(&in, m->initial_resource_versions[i]->value);
    }
    q.held = held;
    q.n_held = held ? m->n_initial_resource_versions : 0;
    take_error(&in, m->error_detail, &q);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = q;
    return r;
}

static void fill_error(const struct sds_request *m, Ringwall__Sds__Status *status) {
    ringwall__sds__status__init(status);
    status->code = m->error_code;
    status->message = pb_of(m->error_message);
}

/* An arena's array of packed names; NULL when there are none. Clears *ok for want of memory. */
static ProtobufCBinaryData *names_of(struct arena *a, const struct str *names, size_t n, bool *ok) {
    ProtobufCBinaryData *list = n ? arena_array(a, ProtobufCBinaryData, n) : NULL;

    if (list)
        pb_of_list(names, n, list);
    else if (n)
        *ok = false;
    return list;
}

int sds_create_request(const struct sds_request *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    Ringwall__Sds__DiscoveryRequest message = RINGWALL__SDS__DISCOVERY_REQUEST__INIT;
    Ringwall__Sds__Node node = RINGWALL__SDS__NODE__INIT;
    Ringwall__Sds__Status status;

    fill_error(m, &status);
    node.id = pb_of(m->node_id);
    message.node = m->node_id.n ? &node : NULL;
    message.version_info = pb_of(m->version);
    message.type_url = pb_of(m->type_url);
    message.response_nonce = pb_of(m->nonce);
    message.resource_names = names_of(&a, m->names, m->n_names, &ok);
    message.n_resource_names = m->n_names;
    message.error_detail = m->refused ? &status : NULL;
    return ok ? pb_pack(&message.base, ret, ret_n) : -ENOMEM;
}

int sds_create_delta_request(const struct sds_request *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    Ringwall__Sds__DeltaDiscoveryRequest message = RINGWALL__SDS__DELTA_DISCOVERY_REQUEST__INIT;
    Ringwall__Sds__Node node = RINGWALL__SDS__NODE__INIT;
    Ringwall__Sds__Status status;
    Ringwall__Sds__VersionEntry *held = arena_array(&a, Ringwall__Sds__VersionEntry, m->n_held + 1);
    Ringwall__Sds__VersionEntry **pointers = arena_array(&a, Ringwall__Sds__VersionEntry *, m->n_held + 1);

    if (!held || !pointers)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_held; i++) {
        ringwall__sds__version_entry__init(&held[i]);
        held[i].key = pb_of(m->held[i].name);
        held[i].value = pb_of(m->held[i].version);
        pointers[i] = &held[i];
    }
    fill_error(m, &status);
    node.id = pb_of(m->node_id);
    message.node = m->node_id.n ? &node : NULL;
    message.type_url = pb_of(m->type_url);
    message.response_nonce = pb_of(m->nonce);
    message.resource_names_subscribe = names_of(&a, m->names, m->n_names, &ok);
    message.n_resource_names_subscribe = m->n_names;
    message.resource_names_unsubscribe = names_of(&a, m->unsubscribe, m->n_unsubscribe, &ok);
    message.n_resource_names_unsubscribe = m->n_unsubscribe;
    message.initial_resource_versions = pointers;
    message.n_initial_resource_versions = m->n_held;
    message.error_detail = m->refused ? &status : NULL;
    return ok ? pb_pack(&message.base, ret, ret_n) : -ENOMEM;
}

/* Responses. */

static int pack_certificate(const struct sds_secret *s, struct secret *ret) {
    Ringwall__Sds__Secret message = RINGWALL__SDS__SECRET__INIT;
    Ringwall__Sds__TlsCertificate certificate = RINGWALL__SDS__TLS_CERTIFICATE__INIT;
    Ringwall__Sds__DataSource chain = RINGWALL__SDS__DATA_SOURCE__INIT, key = RINGWALL__SDS__DATA_SOURCE__INIT;

    chain.inline_bytes = pb_of(s->chain_pem);
    key.inline_bytes = pb_of(s->key_pem);
    certificate.certificate_chain = &chain;
    certificate.private_key = &key;
    message.name = pb_of(s->name);
    message.type_case = RINGWALL__SDS__SECRET__TYPE_TLS_CERTIFICATE;
    message.tls_certificate = &certificate;
    return pb_pack_secret(&message.base, ret);
}

/* The SPIFFE validator's configuration: a bundle for each trust domain. Heap bytes. */
static int pack_bundles(const struct sds_secret *s, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    Ringwall__Sds__SpiffeCertValidatorConfig message = RINGWALL__SDS__SPIFFE_CERT_VALIDATOR_CONFIG__INIT;
    Ringwall__Sds__SpiffeTrustDomain *domains = arena_array(&a, Ringwall__Sds__SpiffeTrustDomain, s->n_bundles);
    Ringwall__Sds__SpiffeTrustDomain **pointers = arena_array(&a, Ringwall__Sds__SpiffeTrustDomain *, s->n_bundles);
    Ringwall__Sds__DataSource *sources = arena_array(&a, Ringwall__Sds__DataSource, s->n_bundles);

    if (!domains || !pointers || !sources)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_bundles; i++) {
        ringwall__sds__spiffe_trust_domain__init(&domains[i]);
        ringwall__sds__data_source__init(&sources[i]);
        sources[i].inline_bytes = pb_of(s->bundles[i].roots_pem);
        domains[i].name = pb_of(s->bundles[i].trust_domain);
        domains[i].trust_bundle = &sources[i];
        pointers[i] = &domains[i];
    }
    message.trust_domains = pointers;
    message.n_trust_domains = s->n_bundles;
    return pb_pack(&message.base, ret, ret_n);
}

static int pack_validation(const struct sds_secret *s, struct secret *ret) {
    Ringwall__Sds__Secret message = RINGWALL__SDS__SECRET__INIT;
    Ringwall__Sds__CertificateValidationContext context = RINGWALL__SDS__CERTIFICATE_VALIDATION_CONTEXT__INIT;
    Ringwall__Sds__DataSource roots = RINGWALL__SDS__DATA_SOURCE__INIT, crl = RINGWALL__SDS__DATA_SOURCE__INIT;
    Ringwall__Sds__TypedExtensionConfig extension = RINGWALL__SDS__TYPED_EXTENSION_CONFIG__INIT;
    Ringwall__Sds__Any any = RINGWALL__SDS__ANY__INIT;
    cleanup_free uint8_t *bundles = NULL;
    size_t n_bundles = 0;
    int r;

    roots.inline_bytes = pb_of(s->roots_pem);
    crl.inline_bytes = pb_of(s->crl_pem);
    context.trusted_ca = s->roots_pem.n ? &roots : NULL;
    context.crl = s->crl_pem.n ? &crl : NULL;
    if (s->n_bundles) {
        r = pack_bundles(s, &bundles, &n_bundles);
        if (r)
            return r;
        any.type_url = pb_of(type_spiffe);
        any.value = (ProtobufCBinaryData){.len = n_bundles, .data = bundles};
        extension.name = pb_of(name_spiffe);
        extension.typed_config = &any;
        context.custom_validator_config = &extension;
    }
    message.name = pb_of(s->name);
    message.type_case = RINGWALL__SDS__SECRET__TYPE_VALIDATION_CONTEXT;
    message.validation_context = &context;
    return pb_pack_secret(&message.base, ret);
}

/* The secrets of a response, each packed by itself. */
struct parts {
    struct arena arena;
    struct secret *packed;
    Ringwall__Sds__Any *anys, **pointers;
    size_t n;
};

static void parts_deinit(struct parts *p) {
    for (size_t i = 0; i < p->n; i++)
        secret_deinit(&p->packed[i]);
    arena_deinit(&p->arena);
}

static int parts_init(struct parts *p, const struct sds_response *m) {
    int r = 0;

    check(m->n_secrets <= SDS_SECRETS_MAX);
    p->packed = arena_array(&p->arena, struct secret, m->n_secrets + 1);
    p->anys = arena_array(&p->arena, Ringwall__Sds__Any, m->n_secrets + 1);
    p->pointers = arena_array(&p->arena, Ringwall__Sds__Any *, m->n_secrets + 1);
    if (!p->packed || !p->anys || !p->pointers)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < m->n_secrets; i++) {
        const struct sds_secret *s = &m->secrets[i];

        r = s->kind == SDS_CERTIFICATE ? pack_certificate(s, &p->packed[i]) : pack_validation(s, &p->packed[i]);
        if (r)
            break;
        ringwall__sds__any__init(&p->anys[i]);
        p->anys[i].type_url = pb_of(SDS_TYPE_SECRET);
        p->anys[i].value = (ProtobufCBinaryData){.len = p->packed[i].n, .data = p->packed[i].at};
        p->pointers[i] = &p->anys[i];
        p->n = i + 1;
    }
    return r;
}

int sds_create_response(const struct sds_response *m, struct secret *ret) {
    cleanup(parts_deinit) struct parts p = {.arena = ARENA_NULL};
    Ringwall__Sds__DiscoveryResponse message = RINGWALL__SDS__DISCOVERY_RESPONSE__INIT;
    int r = parts_init(&p, m);

    if (r)
        return r;
    message.version_info = pb_of(m->version);
    message.type_url = pb_of(SDS_TYPE_SECRET);
    message.nonce = pb_of(m->nonce);
    message.resources = p.pointers;
    message.n_resources = p.n;
    return pb_pack_secret(&message.base, ret);
}

int sds_create_delta_response(const struct sds_response *m, struct secret *ret) {
    cleanup(parts_deinit) struct parts p = {.arena = ARENA_NULL};
    bool ok = true;
    Ringwall__Sds__DeltaDiscoveryResponse message = RINGWALL__SDS__DELTA_DISCOVERY_RESPONSE__INIT;
    Ringwall__Sds__Resource *resources, **pointers;
    int r = parts_init(&p, m);

    if (r)
        return r;
    resources = arena_array(&p.arena, Ringwall__Sds__Resource, p.n + 1);
    pointers = arena_array(&p.arena, Ringwall__Sds__Resource *, p.n + 1);
    if (!resources || !pointers)
        return -ENOMEM;
    for (size_t i = 0; i < p.n; i++) {
        ringwall__sds__resource__init(&resources[i]);
        resources[i].name = pb_of(m->secrets[i].name);
        resources[i].version = pb_of(m->secrets[i].version);
        resources[i].resource = &p.anys[i];
        pointers[i] = &resources[i];
    }
    message.system_version_info = pb_of(m->version);
    message.type_url = pb_of(SDS_TYPE_SECRET);
    message.nonce = pb_of(m->nonce);
    message.resources = pointers;
    message.n_resources = p.n;
    message.removed_resources = names_of(&p.arena, m->removed, m->n_removed, &ok);
    message.n_removed_resources = m->n_removed;
    return ok ? pb_pack_secret(&message.base, ret) : -ENOMEM;
}
