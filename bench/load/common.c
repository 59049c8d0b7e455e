/* SPDX-License-Identifier: GPL-3.0-or-later
 * common.c - what every kind of load needs: a ring, bytes to send, how latencies are printed */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/rng.h>

#include "load.h"

uint8_t load_bytes[LOAD_CHUNK];

void load_bytes_init(void) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < sizeof(load_bytes); i++)
        load_bytes[i] = (uint8_t)rng_u64(&rng);
}

struct ring *load_ring(void) {
    struct ring_options o = {.n_entries = 4096, .n_recv_buffers = 256, .recv_buffer_bytes = 64 * 1024};
    struct ring *r = NULL;
    char why[256] = "";
    if (ring_new(&o, &r, why) < 0) {
        fprintf(stderr, "no io_uring: %s\n", why);
        exit(1);
    }
    return r;
}

void load_print_latency(const struct hist *h) {
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    static const char *const names[] = {"p50", "p90", "p99", "p999", "p9999"};
    printf("\"latency_us\":{\"mean\":%.2f", h->n ? h->sum / (double)h->n / 1e3 : 0);
    for (unsigned i = 0; i < array_size(shares); i++)
        printf(",\"%s\":%.2f", names[i], (double)hist_quantile(h, shares[i]) / 1e3);
    printf(",\"max\":%.2f,\"buckets\":[", (double)h->most / 1e3);
    /* For plots: the distribution's curve, by one point a half-decade of rarity. */
    for (unsigned i = 0; i <= 40; i++) {
        double share = 1 - 1 / (1 + (double)i * (double)i * (double)i);
        printf("%s[%.6f,%.2f]", i ? "," : "", share, (double)hist_quantile(h, share) / 1e3);
    }
    printf("]}");
}
