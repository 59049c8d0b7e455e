/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/sds_read.c - responses as a client of SDS reads them (wire/sds.h); the daemon itself only makes them */
#include <ringwall/wire/sds.h>

#include "pb_codec.h"
#include "sds.pb-c.h"

static struct str take_source(struct pb_in *in, const Ringwall__Sds__DataSource *d) {
    return d ? pb_take_bytes(in, d->inline_bytes) : STR_NULL;
}

static void take_bundles(struct pb_in *in, const Ringwall__Sds__Any *any, struct sds_secret *ret) {
    struct pb_in inner = {.arena = in->arena};
    const Ringwall__Sds__SpiffeCertValidatorConfig *m;
    struct sds_bundle *bundles;

    if (!any || pb_open(&inner, &ringwall__sds__spiffe_cert_validator_config__descriptor, any->value.data, any->value.len) != 0) {
        in->malformed = true;
        return;
    }
    m = (const Ringwall__Sds__SpiffeCertValidatorConfig *)inner.message;
    bundles = pb_take_array(&inner, sizeof(*bundles), m->n_trust_domains, PB_BUNDLES_MAX);
    for (size_t i = 0; bundles && i < m->n_trust_domains; i++) {
        bundles[i].trust_domain = pb_take_text(&inner, m->trust_domains[i]->name);
        bundles[i].roots_pem = take_source(&inner, m->trust_domains[i]->trust_bundle);
    }
    ret->bundles = bundles;
    ret->n_bundles = bundles ? m->n_trust_domains : 0;
    if (pb_close(&inner) != 0)
        in->malformed = true;
}

static void take_secret(struct pb_in *in, const Ringwall__Sds__Any *any, struct sds_secret *ret) {
    struct pb_in inner = {.arena = in->arena};
    const Ringwall__Sds__Secret *m;

    if (!any || !str_is(pb_str(any->type_url), SDS_TYPE_SECRET) ||
        pb_open(&inner, &ringwall__sds__secret__descriptor, any->value.data, any->value.len) != 0) {
        in->malformed = true;
        return;
    }
    m = (const Ringwall__Sds__Secret *)inner.message;
    ret->name = pb_take_text(&inner, m->name);
    if (m->type_case == RINGWALL__SDS__SECRET__TYPE_TLS_CERTIFICATE) {
        ret->kind = SDS_CERTIFICATE;
        ret->chain_pem = take_source(&inner, m->tls_certificate->certificate_chain);
        ret->key_pem = take_source(&inner, m->tls_certificate->private_key);
    } else if (m->type_case == RINGWALL__SDS__SECRET__TYPE_VALIDATION_CONTEXT) {
        ret->kind = SDS_VALIDATION;
        ret->roots_pem = take_source(&inner, m->validation_context->trusted_ca);
        ret->crl_pem = take_source(&inner, m->validation_context->crl);
        if (m->validation_context->custom_validator_config)
            take_bundles(&inner, m->validation_context->custom_validator_config->typed_config, ret);
    } else {
        inner.malformed = true;
    }
    if (pb_close(&inner) != 0)
        in->malformed = true;
}

int sds_consume_response(const uint8_t *bytes, size_t n, struct arena *a, struct sds_response *ret) {
    struct pb_in in = {.arena = a};
    struct sds_response p = {0};
    const Ringwall__Sds__DiscoveryResponse *m;
    struct sds_secret *secrets;
    int r = pb_open(&in, &ringwall__sds__discovery_response__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Sds__DiscoveryResponse *)in.message;
    p.version = pb_take_text(&in, m->version_info);
    p.nonce = pb_take_text(&in, m->nonce);
    secrets = pb_take_array(&in, sizeof(*secrets), m->n_resources, SDS_SECRETS_MAX);
    for (size_t i = 0; secrets && i < m->n_resources; i++)
        take_secret(&in, m->resources[i], &secrets[i]);
    p.secrets = secrets;
    p.n_secrets = secrets ? m->n_resources : 0;
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = p;
    return r;
}

int sds_consume_delta_response(const uint8_t *bytes, size_t n, struct arena *a, struct sds_response *ret) {
    struct pb_in in = {.arena = a};
    struct sds_response p = {0};
    const Ringwall__Sds__DeltaDiscoveryResponse *m;
    struct sds_secret *secrets;
    int r = pb_open(&in, &ringwall__sds__delta_discovery_response__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Sds__DeltaDiscoveryResponse *)in.message;
    p.version = pb_take_text(&in, m->system_version_info);
    p.nonce = pb_take_text(&in, m->nonce);
    p.removed = pb_take_list(&in, m->removed_resources, m->n_removed_resources, SDS_NAMES_MAX, true, &p.n_removed);
    secrets = pb_take_array(&in, sizeof(*secrets), m->n_resources, SDS_SECRETS_MAX);
    for (size_t i = 0; secrets && i < m->n_resources; i++) {
        take_secret(&in, m->resources[i]->resource, &secrets[i]);
        secrets[i].version = pb_take_text(&in, m->resources[i]->version);
    }
    p.secrets = secrets;
    p.n_secrets = secrets ? m->n_resources : 0;
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = p;
    return r;
}
