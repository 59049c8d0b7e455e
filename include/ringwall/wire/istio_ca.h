/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/istio_ca.h - the messages of istio.v1.auth.IstioCertificateService (facts/identity.md 1.1) to plain structs and back
 *
 * Of the metadata the two keys are read that a CA acts on; unknown fields are skipped. Consumed strings point into `arena`. */
#pragma once

#include <ringwall/wire/pb.h>

#define ISTIO_CA_PATH STR("/istio.v1.auth.IstioCertificateService/CreateCertificate")

struct istio_ca_request {
    struct str csr_pem;
    int64_t validity_s;                   /* <= 0: the CA's default */
    struct str impersonated, cert_signer; /* metadata ImpersonatedIdentity, CertSigner; empty: none */
};
struct istio_ca_response {
    struct str chain[PB_CHAIN_MAX]; /* PEM: leaf, intermediates one by one, then all roots in the last element */
    size_t n_chain;
};
/* create: heap bytes owned by the caller. -EMSGSIZE: over PB_MESSAGE_MAX. */
int istio_ca_create_request(const struct istio_ca_request *m, uint8_t **ret, size_t *ret_n) must_check;
int istio_ca_create_response(const struct istio_ca_response *m, uint8_t **ret, size_t *ret_n) must_check;
/* PB_OK, PB_MALFORMED: no message, text that is not UTF-8, a metadata key twice, or more than PB_CHAIN_MAX elements. */
int istio_ca_consume_request(const uint8_t *bytes, size_t n, struct arena *a, struct istio_ca_request *ret) must_check;
int istio_ca_consume_response(const uint8_t *bytes, size_t n, struct arena *a, struct istio_ca_response *ret) must_check;
