/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as a certificate request, as DER and as PEM, and as a private key's file. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/issue.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

__attribute__((constructor)) static void start(void) { check(tls_library_init() == 0); }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct str text = {(const char *)bytes, n};
    struct identity expected;
    check(identity_make(STR("cluster.local"), STR("ns"), STR("sa"), &expected));
    cleanup(tls_csr_freep) struct tls_csr *csr = NULL, *from_pem = NULL;
    check(tls_csr_read(bytes, n, &expected, &csr) >= 0);
    struct tls_der der = {0};
    if (tls_pem_to_der(text, "CERTIFICATE REQUEST", &der) == 0)
        check(tls_csr_read(der.at, der.n, &expected, &from_pem) >= 0);
    free(der.at);
    cleanup(tls_key_freep) struct tls_key *key = NULL;
    check(tls_key_from_pem(text, &key) >= 0);
    return 0;
}
