/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel.c - the life of a tunnel: its states, its time limits, and the one step that decides
 *
 * How it begins is in tunnel_begin.c, how bytes go through it in tunnel_bytes.c, how it ends in tunnel_end.c. */
#include <ringwall/base/check.h>
#include <ringwall/base/log.h>

#include "credentials.h"
#include "hop.h"
#include "pod.h"
#include "tunnel_parts.h"
#include "worker.h"

static const struct {
    const char *word;
    uint64_t limit_ns;
    uint32_t next;
} states[_TUNNEL_STATE_MAX] = {
#define TUNNEL_STATE(name, word, limit, next) [TUNNEL_##name] = {word, limit, next},
#include "tunnel_state.h"
#undef TUNNEL_STATE
};

const char *tunnel_state_word(enum tunnel_state s) { return states[s].word; }

static void tunnel_timer_fired(struct ring_timer *timer);

void tunnel_set_state(struct tunnel *t, enum tunnel_state next) {
    check(states[t->state].next & (1u << next));
    t->state = (uint8_t)next;
    uint64_t limit = next == TUNNEL_OPEN ? TUNNEL_TICK_NS : states[next].limit_ns;
    if (limit)
        tunnel_look_at(t, worker_now(t->worker) + limit);
    else
        ring_timer_stop(t->worker->ring, &t->timer);
}

void tunnel_look_at(struct tunnel *t, uint64_t due_ns) { ring_timer_start(t->worker->ring, &t->timer, due_ns, tunnel_timer_fired); }

void tunnel_touch(struct tunnel *t) {
    check_pooled(t, TUNNEL_MAGIC);
    if (!list_linked(&t->touched))
        list_push_back(&t->worker->touched_tunnels, &t->touched);
}

const struct identity *tunnel_own_identity(const struct tunnel *t) { return t->pod->slot ? &t->pod->slot->identity : NULL; }

bool tunnel_expired(const struct tunnel *t, int64_t now_s) { return t->state == TUNNEL_OPEN && t->cert_end_s <= now_s; }

bool tunnel_may_take(const struct tunnel *t) {
    bool alive = t->state == TUNNEL_CONNECT || t->state == TUNNEL_HANDSHAKE || t->state == TUNNEL_OPEN;
    return alive && !t->retired && t->n_legs < t->n_streams_max && !tunnel_expired(t, clock_wall_s());
}

void tunnel_log(const struct tunnel *t, const char *what) {
    char peer[ENDPOINT_TEXT];
    if (log_get_level() < LOG_DEBUG)
        return;
    struct str addr = endpoint_format(&t->peer, peer);
    log_debug("tunnel", "%s tunnel %llu " STR_FMT " %s: %s%s%s, %u flows", t->server ? "inbound" : "outbound",
              (unsigned long long)t->id, STR_ARG(addr), t->peer_identity.text, what, t->why[0] ? ": " : "", t->why, t->n_legs);
}

/* Flows go to a hop's first tunnel that has room: the others are there for a crowd. */
bool tunnel_is_spare(const struct tunnel *t) {
    const struct list *first = t->hop ? list_first(&t->hop->tunnels) : NULL;
    return first && first != &t->in_hop && list_entry(first, struct tunnel, in_hop)->state == TUNNEL_OPEN;
}

void tunnel_leg_gone(struct tunnel *t) {
    if (t->n_legs == 0) {
        t->idle_ns = worker_now(t->worker);
        uint64_t look_ns = t->idle_ns + TUNNEL_SPARE_NS;
        if (t->state == TUNNEL_OPEN && t->timer.due_ns > look_ns && tunnel_is_spare(t))
            tunnel_look_at(t, look_ns);
    }
    tunnel_touch(t);
}

/* ---- time ---- */

static uint64_t tunnel_crossing_rest(struct tunnel *t) {
    uint64_t passed_ns = worker_now(t->worker) - t->goaway_ns;
    if (passed_ns < TUNNEL_CROSSING_NS)
        return TUNNEL_CROSSING_NS - passed_ns;
    h2_goaway(t->h2, H2_NO_ERROR);
    tunnel_touch(t);
    return TUNNEL_TICK_NS;
}

static void tunnel_tick(struct tunnel *t) {
    struct worker *w = t->worker;
    uint64_t now = worker_now(w);
    uint64_t idle_max = tunnel_is_spare(t) ? TUNNEL_SPARE_NS
                        : !t->server       ? TUNNEL_IDLE_NS
                        : t->had_request   ? PEER_IDLE_NS
                                           : FIRST_REQUEST_NS;
    int64_t past_s = clock_wall_s() - t->cert_end_s;
    if (past_s >= TUNNEL_PAST_CERT_S) {
        tunnel_end(t, CLOSE_CERT_EXPIRED, NULL);
        return;
    }
    if (past_s >= 0)
        tunnel_retire(t);
    if (t->n_legs == 0 && now - t->idle_ns >= idle_max) {
        tunnel_end(t, CLOSE_IDLE, NULL);
        return;
    }
    bool asked = t->ping_ns > t->heard_ns;
    if (asked && now - t->ping_ns >= TUNNEL_DEAD_NS) {
        t->socket_lost = true;
        tunnel_end(t, CLOSE_TUNNEL_LOST, "no answer to PING");
    } else if (!asked && now - t->heard_ns >= TUNNEL_TICK_NS) {
        t->ping_ns = now;
        h2_ping(t->h2, now);
        tunnel_touch(t);
    }
    /* Silence is counted from the last byte heard; at the latest the next tick looks at the other limits. */
    uint64_t silent_ns = now - max_of(t->heard_ns, t->ping_ns);
    uint64_t rest_ns = silent_ns < TUNNEL_TICK_NS ? TUNNEL_TICK_NS - silent_ns : TUNNEL_TICK_NS;
    if (h2_drain_crossing(t->h2)) /* a peer may not put it off for ever */
        rest_ns = min_of(rest_ns, tunnel_crossing_rest(t));
    if (past_s < 0) /* a GOAWAY on time spares the peer a refused request */
        rest_ns = min_of(rest_ns, (uint64_t)min_of(-past_s, (int64_t)3600) * NS_PER_S);
    tunnel_look_at(t, now + rest_ns);
}

static void tunnel_timer_fired(struct ring_timer *timer) {
    struct tunnel *t = container_of(timer, struct tunnel, timer);
    switch ((enum tunnel_state)t->state) {
    case TUNNEL_PARKED:
        tunnel_end(t, CLOSE_NO_IDENTITY, t->pod->slot->why);
        break;
    case TUNNEL_CONNECT:
        tunnel_end(t, CLOSE_CONNECT_TIMEOUT, "the peer node did not accept in time");
        break;
    case TUNNEL_HANDSHAKE:
        tunnel_end(t, CLOSE_HANDSHAKE_TIMEOUT, "the handshake did not end in time");
        break;
    case TUNNEL_OPEN:
        tunnel_tick(t);
        break;
    case TUNNEL_FLUSH:
        tunnel_set_state(t, TUNNEL_JOIN);
        tunnel_touch(t);
        break;
    case TUNNEL_NEW:
    case TUNNEL_JOIN:
    case _TUNNEL_STATE_MAX:
        break;
    }
}

/* ---- the one step ---- */

/* Flows whose streams are over go by themselves, and their last bytes must get out: that is no loss. */
static bool tunnel_has_stream(const struct tunnel *t) {
    list_for_each (it, &t->legs)
        if (!list_entry(it, struct leg, stream.link)->stream.gone)
            return true;
    return false;
}

/* Not by its step: what finds no buffer again would be stepped again at once, for ever. */
void tunnel_unstick(struct tunnel *t) {
    t->stuck = false;
    if (t->state == TUNNEL_OPEN)
        tunnel_read(t);
    tunnel_touch(t);
}

static void tunnel_open_step(struct tunnel *t) {
    if (t->retired && (t->server || t->n_legs == 0))
        tunnel_say_goodbye(t);
    if (!tunnel_drain(t)) {
        tunnel_end(t, CLOSE_TLS_FAILED, tls_session_error(t->tls));
        return;
    }
    /* What the peer asked for before it heard is carried: a rotation loses no request. */
    if (t->n_legs == 0 && h2_drain_crossing(t->h2))
        return;
    /* Its last flows' last bytes may take their time; FLUSH would not wait for a slow reader. */
    if (t->n_legs == 0 && (t->out.n_bytes || t->plain.n_bytes))
        return;
    if (t->n_legs == 0 && (t->retired || h2_finished(t->h2)))
        tunnel_end(t, t->worker->draining ? CLOSE_DRAIN : CLOSE_FINISHED, NULL);
    else if (h2_finished(t->h2) && tunnel_has_stream(t))
        tunnel_end(t, CLOSE_TUNNEL_LOST, "HTTP/2 session over"); /* a flood of resets that we were made to send, too */
}

void tunnel_step(struct tunnel *t) {
    check_pooled(t, TUNNEL_MAGIC);
    switch ((enum tunnel_state)t->state) {
    case TUNNEL_NEW:
    case TUNNEL_CONNECT:
        break;
    case TUNNEL_PARKED:
        tunnel_serve(t);
        break;
    case TUNNEL_HANDSHAKE:
        tunnel_handshake(t);
        break;
    case TUNNEL_OPEN:
        tunnel_open_step(t);
        break;
    case TUNNEL_FLUSH:
        tunnel_flush_step(t);
        break;
    case TUNNEL_JOIN:
        tunnel_join_step(t);
        break;
    case _TUNNEL_STATE_MAX:
        unreachable_because("no such state");
    }
}
