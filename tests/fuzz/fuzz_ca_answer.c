/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as the answer of another CA: what is believed is for whom and for the key that was asked. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "../../src/ca/istio_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct identity asked;
static struct tls_csr *csr;

__attribute__((constructor)) static void start(void) {
    struct tls_key *key = NULL;
    struct tls_der der = {0};
    check(tls_library_init() == 0 && identity_make(STR("cluster.local"), STR("a"), STR("b"), &asked));
    check(tls_key_generate(&key) == 0 && tls_csr_make(key, &asked, &der) == 0);
    check(tls_csr_read(der.at, der.n, &asked, &csr) == TLS_CSR_OK);
    tls_key_free(key);
    free(der.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct istio_answer a cleanup(istio_answer_deinit) = ISTIO_ANSWER_NULL;
    const char *why = istio_answer_read(bytes, n, STR("cluster.local"), &asked, csr, 1900000000, &a);
    check(why || (a.chain.n > 0 && a.roots.n > 0 && tls_csr_matches(csr, a.chain.items[0].at, a.chain.items[0].n)));
    check(!why || (a.chain.n == 0 && a.roots.n == 0));
    return 0;
}
