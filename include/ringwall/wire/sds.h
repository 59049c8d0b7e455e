/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/sds.h - the messages of Envoy's SecretDiscoveryService v3 (facts/identity.md 3.2) to plain structs and back
 *
 * Requests are foreign bytes: bounded, strict about text, unknown fields skipped. Responses hold private keys: they are made in
 * secret memory and nowhere else. A response can be consumed as well, for whoever is a client of one. */
#pragma once

#include <ringwall/base/secret.h>
#include <ringwall/wire/pb.h>

#define SDS_PATH_STREAM STR("/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets")
#define SDS_PATH_DELTA STR("/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets")
#define SDS_PATH_FETCH STR("/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets")
#define SDS_TYPE_SECRET STR("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret")
enum { SDS_NAMES_MAX = 1024, SDS_SECRETS_MAX = 1024 };

struct sds_version { /* what a delta client says that it holds */
    struct str name, version;
};
/* A DiscoveryRequest, or a DeltaDiscoveryRequest (its own fields marked). */
struct sds_request {
    struct str version; /* last accepted; state of the world only */
    struct str node_id; /* empty: no node, as in all but the first request */
    struct str type_url, nonce;
    const struct str *names; /* delta: to subscribe */
    size_t n_names;
    const struct str *unsubscribe; /* delta */
    size_t n_unsubscribe;
    const struct sds_version *held; /* delta: initial_resource_versions */
    size_t n_held;
    bool refused; /* error_detail is there: a NACK */
    int32_t error_code;
    struct str error_message;
};
int sds_consume_request(const uint8_t *bytes, size_t n, struct arena *a, struct sds_request *ret) must_check;
int sds_consume_delta_request(const uint8_t *bytes, size_t n, struct arena *a, struct sds_request *ret) must_check;
int sds_create_request(const struct sds_request *m, uint8_t **ret, size_t *ret_n) must_check;
int sds_create_delta_request(const struct sds_request *m, uint8_t **ret, size_t *ret_n) must_check;

enum sds_kind { SDS_CERTIFICATE = 1, SDS_VALIDATION = 2 };
struct sds_bundle { /* roots of one trust domain, for Envoy's SPIFFE validator */
    struct str trust_domain, roots_pem;
};
struct sds_secret {
    enum sds_kind kind;
    struct str name;
    struct str version;            /* delta only */
    struct str chain_pem, key_pem; /* CERTIFICATE */
    /* VALIDATION: roots (and revocation lists) for one trust domain, or bundles for many */
    struct str roots_pem, crl_pem;
    const struct sds_bundle *bundles;
    size_t n_bundles;
};
/* A DiscoveryResponse, or a DeltaDiscoveryResponse. */
struct sds_response {
    struct str version, nonce; /* delta: system_version_info */
    const struct sds_secret *secrets;
    size_t n_secrets;
    const struct str *removed; /* delta */
    size_t n_removed;
};
/* -EMSGSIZE: over PB_MESSAGE_MAX. */
int sds_create_response(const struct sds_response *m, struct secret *ret) must_check;
int sds_create_delta_response(const struct sds_response *m, struct secret *ret) must_check;
/* Keys go to the arena like all else: for programs whose keys are not worth a care. */
int sds_consume_response(const uint8_t *bytes, size_t n, struct arena *a, struct sds_response *ret) must_check;
int sds_consume_delta_response(const uint8_t *bytes, size_t n, struct arena *a, struct sds_response *ret) must_check;
