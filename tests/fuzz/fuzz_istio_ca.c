/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: messages of an IstioCertificateService client, and of such a server. What is taken must go round. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/istio_ca.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = ARENA_NULL;
    struct istio_ca_request q, q2;
    struct istio_ca_response p, p2;
    uint8_t *again = NULL;
    size_t n_again;

    if (istio_ca_consume_request(bytes, n, &a, &q) == PB_OK) {
        check(istio_ca_create_request(&q, &again, &n_again) == 0);
        check(istio_ca_consume_request(again, n_again, &a, &q2) == PB_OK);
        check(str_is(q.csr_pem, q2.csr_pem) && q.validity_s == q2.validity_s && str_is(q.impersonated, q2.impersonated) &&
              str_is(q.cert_signer, q2.cert_signer));
        free(again);
    }
    if (istio_ca_consume_response(bytes, n, &a, &p) == PB_OK) {
        check(istio_ca_create_response(&p, &again, &n_again) == 0);
        check(istio_ca_consume_response(again, n_again, &a, &p2) == PB_OK);
        check(p.n_chain == p2.n_chain);
        for (size_t i = 0; i < p.n_chain; i++)
            check(str_is(p.chain[i], p2.chain[i]));
        free(again);
    }
    arena_deinit(&a);
    return 0;
}
