/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_limits.h - reads frame headers beside the HTTP/2 library and says when a peer's frames are a flood
 *
 * A second, tiny reader of the same bytes: it sees only frame headers (and the first four payload bytes where the
 * decision needs them), keeps no state a stream, and so does not depend on what a version of the library counts.
 * It does not judge protocol errors: those are the library's. */
#pragma once

#include <ringwall/wire/h2.h>

enum {
    H2_HEADER_BLOCK_MAX = 128 * 1024, /* compressed bytes of one header block, over all its frames */
    H2_CONTINUATIONS_MAX = 8,         /* frames of one header block after the first */
    H2_WINDOW_TINY = 64,              /* a WINDOW_UPDATE below this counts as control */
    H2_EARNED_A_FRAME = 4,            /* control frames that a frame of ours is worth: window updates, a PING, a SETTINGS */
    H2_EARNED_MAX = 1000,
    H2_PREFACE_BYTES = 24,
};

/* A leaky bucket as one number: the time at which the peer has paid for everything it did. */
struct h2_rate {
    uint64_t paid_ns;
};
bool h2_rate_take(struct h2_rate *r, uint64_t now_ns, unsigned per_s); /* false: over twice per_s in a burst */

struct h2_limits {
    struct h2_rate resets, control, provoked;
    /* Header blocks begun; those that were worth their while, or may come for what we gave up; the others, as far as counted. */
    int64_t n_blocks, n_blocks_fair, n_blocks_idle;
    uint32_t payload_left; /* of the frame being read */
    uint32_t block_bytes;  /* of the header block being read */
    uint16_t preface_left;
    uint8_t block_frames;
    uint16_t earned; /* control frames that are answers to what we sent, not yet come */
    uint8_t n_head;  /* bytes of head[] known */
    uint8_t n_look;  /* payload bytes wanted behind the header */
    uint8_t head[9 + 4];
};
void h2_limits_init(struct h2_limits *l, bool server);
void h2_limits_earn(struct h2_limits *l); /* we sent a DATA or HEADERS frame */
/* After the bytes were understood: are there too many header blocks that said nothing? false: flood */
bool h2_limits_blocks(struct h2_limits *l, uint64_t now_ns) must_check;
bool h2_limits_feed(struct h2_limits *l, const uint8_t *bytes, size_t n, uint64_t now_ns) must_check; /* false: flood */
