/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: a JSON Web Key Set from a file. What is taken keeps the promises that tls/jws builds on. */
#include <ringwall/base/check.h>
#include <ringwall/tls/jws.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = {.bytes_max = 4 * 1024 * 1024};
    struct jwks set;
    char why[128];
    int v = jwks_consume((struct str){(const char *)bytes, n}, &a, &set, why);

    check(v == 0 || (v == 1 && why[0]));
    for (size_t i = 0; v == 0 && i < set.n_keys; i++) {
        const struct jwk *k = &set.keys[i];
        struct jwt t = {.algorithm = k->algorithm, .kid = k->kid, .signed_part = STR("a.b"), .signature = {1, 2, 3}};

        check(k->kid.n && jwks_find(&set, k->kid) == k);
        if (k->algorithm == JWT_RS256)
            check(k->n_n >= 256 && k->n_n <= 512 && k->n[0] && k->n_e >= 1 && k->n_e <= 4 && (k->e[k->n_e - 1] & 1));
        else
            check(k->algorithm == JWT_ES256 && k->x && k->y);
        t.n_signature = k->algorithm == JWT_RS256 ? k->n_n : 64;
        check(i > 2 || jws_verify(&t, &set) == JWT_SIGNATURE); /* whatever the key is, it takes no such thing */
    }
    arena_deinit(&a);
    return 0;
}
