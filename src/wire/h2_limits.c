/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_limits.c - flood limits over frame headers
 *
 * Counted is what costs us work and the peer nothing: every frame that moves no application byte (PING, SETTINGS, PRIORITY,
 * empty DATA, dribbled windows, unknown frames), and header blocks that say nothing (1xx, closed streams). Resets are counted by
 * h2_in.c, with the same rates. A header block is bounded in bytes and in frames, because its cost is paid before its end is seen
 * (CVE-2024-27316).
 * Peers answer what we send with control frames, gRPC's own library with several for each small message, so each DATA and HEADERS
 * frame of ours earns the peer a few. */
#include "h2_limits.h"

enum { NS_PER_S = 1000000000, HEAD_BYTES = 9 };
enum { FLAG_END_STREAM = 0x1, FLAG_PADDED = 0x8 };
enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };

bool h2_rate_take(struct h2_rate *r, uint64_t now_ns, unsigned per_s) {
    uint64_t cost = NS_PER_S / per_s;

    if (r->paid_ns < now_ns)
        r->paid_ns = now_ns;
    if (r->paid_ns + cost - now_ns > 2 * (uint64_t)NS_PER_S)
        return false;
    r->paid_ns += cost;
    return true;
}

void h2_limits_init(struct h2_limits *l, bool server) { *l = (struct h2_limits){.preface_left = server ? H2_PREFACE_BYTES : 0}; }

void h2_limits_earn(struct h2_limits *l) { l->earned = (uint16_t)min_of(l->earned + H2_EARNED_A_FRAME, (int)H2_EARNED_MAX); }

static uint32_t be24(const uint8_t *b) { return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2]; }

/* How many payload bytes the decision about this frame needs. */
static uint8_t bytes_to_look_at(const uint8_t *head) {
    uint32_t length = be24(head);

    if (head[3] == WINDOW_UPDATE && length >= 4)
        return 4;
    if (head[3] == DATA && (head[4] & FLAG_PADDED) && length >= 1 && length <= 256)
        return 1;
    return 0;
}

static bool block_grows(struct h2_limits *l, uint32_t length, bool first) {
    l->block_bytes = first ? length : l->block_bytes + length;
    l->block_frames = first ? 0 : l->block_frames + 1;
    return l->block_bytes <= H2_HEADER_BLOCK_MAX && l->block_frames <= H2_CONTINUATIONS_MAX;
}

static bool frame_allowed(struct h2_limits *l, uint64_t now_ns) {
    uint32_t length = be24(l->head);
    const uint8_t *payload = l->head + HEAD_BYTES;
    bool idle = true;

    switch (l->head[3]) {
    case HEADERS:
        l->n_blocks++;
        return block_grows(l, length, true);
    case CONTINUATION:
        return block_grows(l, length, false);
    case RST_STREAM:
        return true; /* h2_in.c knows what kind of stream it was */
    case DATA:
        if (l->head[4] & FLAG_END_STREAM)
            idle = false;
        else
            idle = length == 0 || (l->n_look && (uint32_t)payload[0] + 1 >= length);
        break;
    case WINDOW_UPDATE:
        idle = !l->n_look || (!(payload[0] & 0x7f) && !payload[1] && !payload[2] && payload[3] < H2_WINDOW_TINY);
        break;
    default:
        break;
    }
    if (!idle)
        return true;
    if (l->earned > 0) {
        l->earned--;
        return true;
    }
    return h2_rate_take(&l->control, now_ns, H2_CONTROL_MAX_PER_S);
}

bool h2_limits_blocks(struct h2_limits *l, uint64_t now_ns) {
    /* The newest may not be complete yet: it is judged with the next. */
    for (; l->n_blocks - l->n_blocks_fair - l->n_blocks_idle > 1; l->n_blocks_idle++)
        if (!h2_rate_take(&l->control, now_ns, H2_CONTROL_MAX_PER_S))
            return false;
    return true;
}

bool h2_limits_feed(struct h2_limits *l, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    size_t step = min_of(n, (size_t)l->preface_left);

    l->preface_left -= (uint16_t)step;
    bytes += step;
    n -= step;
    while (n > 0) {
        if (l->n_head == HEAD_BYTES + l->n_look && l->n_head >= HEAD_BYTES) {
            step = min_of(n, (size_t)l->payload_left);
            l->payload_left -= (uint32_t)step;
            bytes += step;
            n -= step;
            if (l->payload_left == 0)
                l->n_head = l->n_look = 0;
            continue;
        }
        l->head[l->n_head++] = *bytes++;
        n--;
        if (l->n_head == HEAD_BYTES) {
            l->payload_left = be24(l->head);
            l->n_look = bytes_to_look_at(l->head);
        } else if (l->n_head > HEAD_BYTES) {
            l->payload_left--;
        }
        if (l->n_head == HEAD_BYTES + l->n_look) {
            if (!frame_allowed(l, now_ns))
                return false;
            if (l->payload_left == 0)
                l->n_head = l->n_look = 0;
        }
    }
    return true;
}
