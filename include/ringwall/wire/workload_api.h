/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/workload_api.h - the messages of the SPIFFE Workload API (facts/identity.md 4.3) to plain structs and back
 *
 * What holds a private key is made in secret memory and nowhere else. The empty requests (X509SVIDRequest, X509BundlesRequest,
 * JWTBundlesRequest) say nothing and are not read. Consumed strings point into `arena`. */
#pragma once

#include <ringwall/base/secret.h>
#include <ringwall/wire/pb.h>

#define WORKLOAD_API_X509_SVID STR("/SpiffeWorkloadAPI/FetchX509SVID")
#define WORKLOAD_API_X509_BUNDLES STR("/SpiffeWorkloadAPI/FetchX509Bundles")
#define WORKLOAD_API_JWT_SVID STR("/SpiffeWorkloadAPI/FetchJWTSVID")
#define WORKLOAD_API_JWT_BUNDLES STR("/SpiffeWorkloadAPI/FetchJWTBundles")
#define WORKLOAD_API_VALIDATE STR("/SpiffeWorkloadAPI/ValidateJWTSVID")
#define WORKLOAD_API_HEADER STR("workload.spiffe.io") /* must be "true" on every call */

enum { WORKLOAD_SVIDS_MAX = 64 };

struct workload_svid {
    struct str spiffe_id;
    struct str chain_der;  /* certificates joined, leaf first */
    struct str key_der;    /* PKCS#8 */
    struct str bundle_der; /* roots joined */
    struct str hint;
};
struct workload_bundle {
    struct str trust_domain_id; /* "spiffe://cluster.local" */
    struct str content;         /* X.509: roots joined, DER; JWT: a JWK set */
};
struct workload_x509 {
    const struct workload_svid *svids; /* the first is the default */
    size_t n_svids;
    const struct str *crls; /* DER */
    size_t n_crls;
    const struct workload_bundle *federated;
    size_t n_federated;
};
struct workload_x509_bundles {
    const struct str *crls;
    size_t n_crls;
    const struct workload_bundle *bundles;
    size_t n_bundles;
};
struct workload_jwt_request {
    const struct str *audience;
    size_t n_audience; /* 0: the caller answers INVALID_ARGUMENT */
    struct str spiffe_id;
};
struct workload_jwt_svid {
    struct str spiffe_id, token, hint;
};
struct workload_validate_request {
    struct str audience, token;
};
/* create: -EMSGSIZE over PB_MESSAGE_MAX; heap bytes are the caller's. */
int workload_create_x509(const struct workload_x509 *m, struct secret *ret) must_check;
int workload_create_x509_bundles(const struct workload_x509_bundles *m, uint8_t **ret, size_t *ret_n) must_check;
int workload_create_jwt(const struct workload_jwt_svid *svids, size_t n_svids, uint8_t **ret, size_t *ret_n) must_check;
int workload_create_jwt_bundles(const struct workload_bundle *bundles, size_t n_bundles, uint8_t **ret, size_t *ret_n) must_check;
/* claims: JSON text of an object. 1: it is none (or deeper than JSON_DEPTH_MAX). */
int workload_create_validated(struct str spiffe_id, struct str claims, uint8_t **ret, size_t *ret_n) must_check;
/* PB_OK or PB_MALFORMED. */
int workload_consume_jwt_request(const uint8_t *bytes, size_t n, struct arena *a, struct workload_jwt_request *ret) must_check;
int workload_consume_validate_request(const uint8_t *bytes, size_t n, struct arena *a,
                                      struct workload_validate_request *ret) must_check;
/* For clients. */
int workload_create_jwt_request(const struct workload_jwt_request *m, uint8_t **ret, size_t *ret_n) must_check;
int workload_create_validate_request(const struct workload_validate_request *m, uint8_t **ret, size_t *ret_n) must_check;
int workload_consume_x509(const uint8_t *bytes, size_t n, struct arena *a, struct workload_x509 *ret) must_check;
