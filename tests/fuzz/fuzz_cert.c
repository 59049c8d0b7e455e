/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as a certificate, alone and in a chain: split at the first byte's value, leaf and issuer. */
#include <ringwall/base/check.h>
#include <ringwall/tls/web.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

__attribute__((constructor)) static void start(void) { check(tls_library_init() == 0); }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct tls_cert_facts facts;
    struct tls_peer peer;
    if (tls_cert_read(bytes, n, &facts) == 0)
        check(facts.serial_n <= TLS_SERIAL_MAX && strlen(facts.uri) <= IDENTITY_TEXT_MAX && strlen(facts.subject) < TLS_NAME_MAX);
    if (n < 4)
        return 0;
    size_t at = (size_t)bytes[2] << 8 | bytes[3]; /* a certificate begins 30 82 and its length */
    at = min_of(at + 4, n);
    struct tls_der items[] = {{(uint8_t *)(uintptr_t)bytes, at}, {(uint8_t *)(uintptr_t)bytes + at, n - at}};
    struct tls_der_list chain = {.items = items, .n = at < n ? 2 : 1}, roots = {.items = &items[chain.n - 1], .n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    int r = tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundle);
    struct tls_trust trust = {.bundles = &bundle, .n = r == 0};
    enum tls_trust_verdict v = tls_chain_verify(&trust, &chain, TLS_ROLE_CLIENT, 1900000000, NULL, NULL, &peer);
    check(v != TLS_TRUST_OK || peer.identity.n > 0);
    if (r == 0) /* as a server's */
        tls_server_verify(bundle, &chain, STR("ca.example"), 1900000000);
    return 0;
}
