/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as key, nonce, lengths and text of AES-GCM: all paths make the same of them, and refuse the same. */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/key.h>

#include "gcm/gcm.h"

enum { HEAD = 2 + 32 + GCM_NONCE_BYTES };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

__attribute__((constructor)) static void start(void) { check(tls_library_init() == 0); }

static void compare(enum gcm_path path, const uint8_t *bytes, size_t n) {
    struct gcm_key ours, theirs;
    size_t key_n = bytes[0] & 1 ? 32 : 16, n_rest = n - HEAD, n_aad = min_of((size_t)bytes[1], n_rest), n_text = n_rest - n_aad;
    const uint8_t *nonce = bytes + 2 + 32, *aad = bytes + HEAD, *text = aad + n_aad;
    uint8_t *a = malloc(n_text + 1), *b = malloc(n_text + 1), tag_a[GCM_TAG_BYTES], tag_b[GCM_TAG_BYTES];
    check(a && b);
    check(gcm_key_init(&ours, path, bytes + 2, key_n) == 0 && gcm_key_init(&theirs, GCM_WOLFCRYPT, bytes + 2, key_n) == 0);
    gcm_seal(&ours, nonce, aad, n_aad, text, n_text, a, tag_a);
    gcm_seal(&theirs, nonce, aad, n_aad, text, n_text, b, tag_b);
    check(!memcmp(a, b, n_text) && !memcmp(tag_a, tag_b, GCM_TAG_BYTES));
    check(gcm_open(&ours, nonce, aad, n_aad, a, n_text, a, tag_a) && !memcmp(a, text, n_text));
    if (bytes[0] & 2) { /* foreign ciphertext with a foreign tag */
        bool opened = n_text >= GCM_TAG_BYTES && gcm_open(&ours, nonce, aad, n_aad, text, n_text, a, text);
        check(opened == (n_text >= GCM_TAG_BYTES && gcm_open(&theirs, nonce, aad, n_aad, text, n_text, b, text)));
    } else if (n_text) {
        b[bytes[0] % n_text] ^= 1;
        check(!gcm_open(&ours, nonce, aad, n_aad, b, n_text, a, tag_a));
        for (size_t i = 0; i < n_text; i++)
            check(a[i] == 0);
    }
    gcm_key_deinit(&ours);
    gcm_key_deinit(&theirs);
    free(a);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    for (int path = GCM_WOLFCRYPT + 1; n >= HEAD && path < GCM_PATHS; path++)
        if (gcm_path_usable((enum gcm_path)path))
            compare((enum gcm_path)path, bytes, n);
    return 0;
}
