/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as a revocation list, in DER and in PEM, and in a bundle's company. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/crl.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

__attribute__((constructor)) static void start(void) { check(tls_library_init() == 0); }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct tls_crl_facts facts;
    struct tls_revoked *items = NULL;
    const char *why = NULL;
    size_t n_items = 0;
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    int r = tls_crl_read(bytes, n, &facts, &why);
    check(r == 0 || why);
    check((tls_crl_entries(bytes, n, &items, &n_items) == 0) == (r == 0));
    for (size_t i = 1; i < n_items; i++)
        check(items[i].serial_n >= items[i - 1].serial_n && items[i].serial_n <= TLS_SERIAL_MAX);
    check(r != 0 || n_items == facts.n_revoked);
    free(items);
    check(tls_crls_from_pem((struct str){(const char *)bytes, n}, 4, &l) >= 0 && l.n <= 4);
    return 0;
}
