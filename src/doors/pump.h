/* SPDX-License-Identifier: GPL-3.0-or-later
 * pump.h - moves bytes between a socket and a bytes machine over the ring
 *
 * Outgoing bytes stand in secret memory, because keys are among them, and are wiped once the kernel has them. One piece is
 * under way at a time: a peer that does not read stops the machine, and pump_stalled_ns tells for how long. */
#pragma once

#include <sys/uio.h>

#include <ringwall/base/secret.h>
#include <ringwall/ring/ring.h>

enum { PUMP_OUT_BYTES = 16 * 1024 };

struct pump_machine {
    int (*feed)(void *owner, const uint8_t *bytes, size_t n, uint64_t now_ns); /* not 0: what it wants to say, then the end */
    size_t (*drain)(void *owner, uint8_t *to, size_t cap);                     /* cap is PUMP_OUT_BYTES; 0: nothing now */
    bool (*finished)(void *owner);                                             /* nothing will follow in either direction */
    /* The socket is closed and no operation is left: the last call. The owner frees the pump later than in here. */
    void (*gone)(void *owner);
};
struct pump {
    struct ring *ring;
    int fd; /* owned */
    const struct pump_machine *machine;
    void *owner;
    struct ring_op recv, send;
    struct secret out;
    size_t out_at, out_n;
    struct iovec sending;
    uint64_t heard_ns, send_ns; /* last bytes from the peer; since when the bytes in `out` wait */
    bool inside;                /* the machine runs: it is drained later */
    bool last_words, closing, is_gone;
};
/* Takes fd, whatever happens. */
int pump_start(struct pump *p, struct ring *ring, int fd, const struct pump_machine *m, void *owner) must_check;
void pump_flush(struct pump *p); /* the machine has something to say */
void pump_close(struct pump *p); /* now, whatever is unsent; `gone` comes, maybe at once */
uint64_t pump_stalled_ns(const struct pump *p, uint64_t now_ns);
