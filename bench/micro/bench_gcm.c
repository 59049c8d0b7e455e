/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_gcm.c - the paths of AES-GCM (tls/gcm) side by side: GB/s by key, direction and size
 *
 * Each path takes turns with the one before it. Texts have the associated data of a TLS record. Then the best path with a text in
 * three pieces, as records are gathered and opened, against the same in one. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>
#include <ringwall/tls/key.h>

#include "gcm/gcm.h"
#include "micro.h"

enum { TEXT_MAX = 16 * 1024, AAD = 5 };

struct job {
    struct gcm_key key;
    size_t n;
    bool open, pieces;
};
static uint8_t nonce[GCM_NONCE_BYTES], aad[AAD], plain[TEXT_MAX], sealed[TEXT_MAX], out[TEXT_MAX], tag[GCM_TAG_BYTES];

static void once(void *at) {
    struct job *j = at;
    uint8_t made[GCM_TAG_BYTES];
    if (j->open)
        check(gcm_open(&j->key, nonce, aad, AAD, sealed, j->n, out, tag));
    else
        gcm_seal(&j->key, nonce, aad, AAD, plain, j->n, out, made);
}

static void compare(struct job jobs[GCM_PATHS], unsigned key_bits) {
    double n = (double)jobs[0].n;
    gcm_seal(&jobs[0].key, nonce, aad, AAD, plain, jobs[0].n, sealed, tag);
    printf("AES-%u\t%s\t%zu", key_bits, jobs[0].open ? "open" : "seal", jobs[0].n);
    for (int path = 1; path < GCM_PATHS && gcm_path_usable((enum gcm_path)path); path++) {
        struct micro_versus v = micro_versus(once, &jobs[path - 1], &jobs[path]);
        if (path == 1)
            printf("\t%.2f", n / v.first_ns);
        printf("\t%.2f\t%.2f", n / v.second_ns, v.ratio);
    }
    printf("\n");
}

/* A head, and two that end anywhere. */
static void once_in_pieces(void *at) {
    struct job *j = at;
    uint8_t made[GCM_TAG_BYTES], *from = j->open ? sealed : plain;
    size_t n_first = 9, n_second = (j->n - n_first) / 3;
    struct iovec pieces[] = {{.iov_base = from, .iov_len = n_first},
                             {.iov_base = from + n_first, .iov_len = n_second},
                             {.iov_base = from + n_first + n_second, .iov_len = j->n - n_first - n_second}};
    if (!j->pieces)
        once(j);
    else if (j->open)
        check(gcm_open_pieces(&j->key, nonce, aad, AAD, pieces, array_size(pieces), out, tag));
    else
        gcm_seal_pieces(&j->key, nonce, aad, AAD, pieces, array_size(pieces), out, made);
}

static void compare_pieces(struct job jobs[2], unsigned key_bits) {
    gcm_seal(&jobs[0].key, nonce, aad, AAD, plain, jobs[0].n, sealed, tag);
    struct micro_versus v = micro_versus(once_in_pieces, &jobs[0], &jobs[1]);
    double n = (double)jobs[0].n;
    printf("AES-%u\t%s\t%zu\t%.2f\t%.2f\t%.3f\n", key_bits, jobs[0].open ? "open" : "seal", jobs[0].n, n / v.first_ns,
           n / v.second_ns, v.ratio);
}

static void measure_pieces(void) {
    static const size_t sizes[] = {64, 1024, 4096, 16384};
    printf("%s\n", gcm_path_text(gcm_path_best()));
    printf("key\twork\tbytes\tin one GB/s\tin three pieces GB/s\tratio\n");
    for (size_t key_n = 16; key_n <= 32; key_n += 16) {
        uint8_t key[32];
        rng_secret(key, sizeof(key));
        struct job jobs[2] = {{.pieces = false}, {.pieces = true}};
        for (int i = 0; i < 2; i++)
            check(gcm_key_init(&jobs[i].key, gcm_path_best(), key, key_n) == 0);
        for (int open = 0; open < 2; open++)
            for (size_t i = 0; i < array_size(sizes); i++) {
                jobs[0].n = jobs[1].n = sizes[i];
                jobs[0].open = jobs[1].open = open;
                compare_pieces(jobs, (unsigned)key_n * 8);
            }
        for (int i = 0; i < 2; i++)
            gcm_key_deinit(&jobs[i].key);
    }
}

static void measure_paths(size_t key_n) {
    static const size_t sizes[] = {64, 1024, 4096, 16384};
    uint8_t key[32];
    rng_secret(key, sizeof(key));
    struct job jobs[GCM_PATHS] = {0};
    for (int path = 0; path < GCM_PATHS; path++)
        if (gcm_path_usable((enum gcm_path)path))
            check(gcm_key_init(&jobs[path].key, (enum gcm_path)path, key, key_n) == 0);
    for (int open = 0; open < 2; open++)
        for (size_t i = 0; i < array_size(sizes); i++) {
            for (int path = 0; path < GCM_PATHS; path++) {
                jobs[path].n = sizes[i];
                jobs[path].open = open;
            }
            compare(jobs, (unsigned)key_n * 8);
        }
    for (int path = 0; path < GCM_PATHS; path++)
        gcm_key_deinit(&jobs[path].key);
}

int main(void) {
    check(tls_library_init() == 0);
    if (gcm_path_best() == GCM_WOLFCRYPT) {
        printf("this CPU has no VAES\n");
        return 0;
    }
    if (!gcm_path_usable(GCM_VAES_512))
        printf("this CPU has no VAES on 512 bits\n");
    rng_secret(plain, sizeof(plain));
    printf("key\twork\tbytes\twolfCrypt\tVAES\tratio\tVAES on 512 bits\tratio to VAES\n");
    measure_paths(16);
    measure_paths(32);
    measure_pieces();
    tls_library_cleanup();
    return 0;
}
