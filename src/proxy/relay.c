/* SPDX-License-Identifier: GPL-3.0-or-later
 * relay.c - the part of a flow's life in which it carries bytes
 *
 * Rules: an application is not read while the other leg holds more than its high mark, which grows while that leg is quick; a
 * stream is given credit when its bytes left our memory. FIN becomes END_STREAM and back; a reset, a lost tunnel or an early
 * RST_STREAM becomes a reset (DESIGN rule 8): never an orderly end. Bytes that came before a reset are delivered first, for a
 * bounded time, as the kernel would leave them readable. */
#include "relay.h"

#include <errno.h>

#include <ringwall/base/check.h>

#include "access.h"
#include "tunnel.h"
#include "worker.h"

/* How much `to` may hold before nothing more is read for it. */
static uint64_t queue_high(const struct worker *w, const struct leg *to) {
    return worker_pressed(w) ? (uint64_t)FLOW_QUEUE_PRESSED : (uint64_t)FLOW_QUEUE_HIGH << to->quick;
}

bool relay_may_read(struct leg *from) {
    struct flow *f = leg_flow(from);
    const struct leg *to = leg_other(f, from);
    uint64_t high = queue_high(f->worker, to);
    return from->reading ? to->out.n_bytes < high : to->out.n_bytes <= max_of(high / 2, (uint64_t)FLOW_QUEUE_PRESSED);
}

/* `to` was full, or has room again: what it empties in no time may be larger, and is small again once that takes long. */
static void relay_pace(const struct worker *w, struct leg *to, bool full) {
    uint32_t now_us = (uint32_t)(worker_now(w) / 1000);
    if (full)
        to->full_us = now_us;
    else if (now_us - to->full_us <= FLOW_QUICK_US)
        to->quick += to->quick < FLOW_QUEUE_DOUBLED_MAX;
    else if (now_us - to->full_us > FLOW_SLOW_US)
        to->quick = 0;
}

static void relay_reading(struct leg *from) {
    if (!leg_is_tcp(from))
        return;
    bool may = relay_may_read(from);
    if (may != from->reading)
        relay_pace(leg_flow(from)->worker, leg_other(leg_flow(from), from), !may);
    if (may != from->reading || (may && !ring_op_busy(&from->tcp.recv))) {
        from->reading = may;
        leg_read_update(from);
    }
}

void relay_begin(struct flow *f) {
    struct worker *w = f->worker;
    flow_set_state(f, FLOW_RELAY);
    f->was_open = true;
    f->open_ns = f->last_ns = worker_now(w);
    counter_add(&w->options.stats->opened[flow_direction(f)], 1);
    if (f->mtls)
        counter_add(&w->options.stats->opened_mtls[flow_direction(f)], 1);
    access_opened(f);
    for (unsigned i = 0; i < _LEG_MAX; i++)
        f->legs[i].reading = true;
    flow_touch(f);
}

void relay_arrived(struct leg *from, struct buf_chunk *chunk, const uint8_t *bytes, size_t n) {
    struct flow *f = leg_flow(from);
    struct leg *to = leg_other(f, from);
    from->n_read += n;
    f->last_ns = worker_now(f->worker);
    if (f->state == FLOW_FLUSH || from->failed || to->failed || to->closing) { /* nowhere to go; never leave a hole */
        if (leg_is_stream(from) && !from->stream.gone)
            h2_stream_delivered(from->stream.tunnel->h2, from->stream.id, n);
        return;
    }
    if (bufq_append_shared(&to->out, chunk, bytes, n)) {
        leg_fail(from, CLOSE_LIMIT, ENOBUFS);
        return;
    }
    leg_write(to);
    if (from->reading && leg_is_tcp(from))
        relay_reading(from);
}

void relay_sent(struct leg *to, size_t n) {
    struct flow *f = leg_flow(to);
    struct leg *from = leg_other(f, to);
    f->last_ns = worker_now(f->worker);
    if (leg_is_stream(from) && from->stream.tunnel && !from->stream.gone) {
        h2_stream_delivered(from->stream.tunnel->h2, from->stream.id, n);
        tunnel_touch(from->stream.tunnel);
    }
    if (f->state == FLOW_FLUSH)
        flow_touch(f);
    else if (f->state == FLOW_RELAY && leg_is_tcp(from) && !from->reading)
        relay_reading(from);
}

static enum closed_by leg_party(const struct flow *f, const struct leg *l) {
    if (l->failure == CLOSE_LIMIT)
        return CLOSED_BY_US;
    if (leg_is_stream(l))
        return CLOSED_BY_PEER;
    return l->index == LEG_CLIENT ? CLOSED_BY_CLIENT : CLOSED_BY_SERVER;
}

/* One leg is broken. What it brought before is still delivered to the other one, then the other one is reset; or, when
 * the broken leg had ended its direction in an orderly way, ended and closed: only what it should have received is lost,
 * and whoever goes on sending it will be told by a reset. */
static void relay_leg_failed(struct flow *f, struct leg *broken) {
    struct leg *other = leg_other(f, broken);
    f->reason = broken->failure;
    f->closed_by = (uint8_t)leg_party(f, broken);
    f->flush_resets = !broken->read_ended;
    if (other->failed || broken->failure == CLOSE_LIMIT) {
        flow_end(f, f->reason, f->closed_by, true);
        return;
    }
    broken->reading = other->reading = false;
    leg_read_update(broken);
    leg_read_update(other);
    flow_set_state(f, FLOW_FLUSH);
    if (!f->flush_resets)
        other->end_wanted = true;
    leg_write(other);
    relay_flush_step(f);
}

void relay_flush_step(struct flow *f) {
    bool client = !f->legs[LEG_CLIENT].failed;
    struct leg *left = &f->legs[client ? LEG_CLIENT : LEG_SERVER];
    if (left->failed) {
        flow_end(f, f->reason, f->closed_by, true);
        return;
    }
    leg_write(left);
    bool done = left->out.n_bytes == 0 && (f->flush_resets || left->write_ended);
    if (done)
        flow_end(f, f->reason, f->closed_by, f->flush_resets);
}

static bool relay_finished(const struct flow *f) {
    for (unsigned i = 0; i < _LEG_MAX; i++)
        if (!f->legs[i].read_ended || !f->legs[i].write_ended)
            return false;
    return true;
}

void relay_step(struct flow *f) {
    check(f->state == FLOW_RELAY);
    for (unsigned i = 0; i < _LEG_MAX; i++) {
        struct leg *from = &f->legs[i], *to = leg_other(f, from);
        if (from->read_ended && !to->end_wanted) {
            to->end_wanted = true;
            ring_timer_start(f->worker->ring, &f->timer, worker_now(f->worker) + HALF_CLOSED_WATCH_NS, f->timer.fired);
            if (!from->end_wanted) /* who ended first */
                f->closed_by = i == LEG_CLIENT ? CLOSED_BY_CLIENT : CLOSED_BY_SERVER;
        }
        leg_write(to);
    }
    if (relay_finished(f)) {
        flow_end(f, CLOSE_FINISHED, f->closed_by, false);
        return;
    }
    for (unsigned i = 0; i < _LEG_MAX; i++)
        if (f->legs[i].failed) {
            relay_leg_failed(f, &f->legs[i]);
            return;
        }
    for (unsigned i = 0; i < _LEG_MAX; i++)
        relay_reading(&f->legs[i]);
}

void relay_timer(struct flow *f) {
    bool half_closed = f->legs[LEG_CLIENT].read_ended || f->legs[LEG_SERVER].read_ended;
    if (half_closed && worker_now(f->worker) - f->last_ns >= HALF_CLOSED_NS)
        flow_end(f, CLOSE_IDLE, CLOSED_BY_US, true);
    else {
        leg_watch(&f->legs[LEG_CLIENT]);
        leg_watch(&f->legs[LEG_SERVER]);
        ring_timer_start(f->worker->ring, &f->timer, worker_now(f->worker) + HALF_CLOSED_NS, f->timer.fired);
    }
}
