/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_net.c - connections: ordered segments with arrival times, a window, FIN and RST as Linux does them */
#include "sim_private.h"

static void arrived(struct ring_timer *t);
static void room_seen(struct ring_timer *t);
static void dialled(struct ring_timer *t);

struct sim_conn *conn_new(struct sim *s, int netns) {
    struct sim_conn *c = sim_alloc(sizeof(*c));
    *c = (struct sim_conn){.sim = s, .fd = -1, .netns = netns < 0 ? -1 : netns, .app_reading = true};
    c->rx_max = sim_size(s, SIM_WINDOW_MIN, SIM_WINDOW_MAX);
    list_init(&c->rx);
    list_push_back(&s->conns, &c->all);
    return c;
}

/* --- the wire --- */

static void wake_for_next_segment(struct sim_conn *c) {
    list_for_each (it, &c->rx) {
        struct segment *g = list_entry(it, struct segment, link);
        if (!g->arrived) {
            timer_heap_start(&c->sim->events, &c->arrival, g->arrive_ns, arrived);
            return;
        }
    }
}

static void segment_send(struct sim_conn *to, enum segment_kind kind, const uint8_t *bytes, size_t n) {
    struct sim *s = to->sim;
    struct segment *g = sim_alloc(sizeof(*g) + n);
    uint64_t at = s->now_ns + sim_latency(s);
    g->arrive_ns = to->last_arrival_ns = max_of(at, to->last_arrival_ns);
    g->kind = kind;
    g->n = n;
    if (n)
        memcpy(g->bytes, bytes, n);
    to->rx_bytes += n;
    list_push_back(&to->rx, &g->link);
    if (!ring_timer_armed(&to->arrival))
        wake_for_next_segment(to);
}

static void segment_drop(struct sim_conn *c, struct segment *g) {
    c->rx_bytes -= g->n - g->at;
    list_unlink(&g->link);
    free(g);
}

static void drop_all(struct sim_conn *c) {
    list_for_each_safe (it, &c->rx)
        segment_drop(c, list_entry(it, struct segment, link));
}

/* A reset towards the peer. What was not on the other side yet may be lost with it. */
static void send_reset(struct sim_conn *c) {
    struct sim_conn *p = c->peer;
    if (!p || p->closed || p->reset)
        return;
    bool lose = false;
    list_for_each_safe (it, &p->rx) {
        struct segment *g = list_entry(it, struct segment, link);
        lose = lose || (!g->arrived && sim_chance(c->sim, 0.3));
        if (lose && !g->arrived)
            segment_drop(p, g);
    }
    segment_send(p, SEGMENT_RST, NULL, 0);
}

static void receive_reset(struct sim_conn *c) {
    sim_trace(c->sim, "conn %d: reset", c->fd);
    c->error = c->fin_arrived ? -EPIPE : -ECONNRESET;
    c->reset = true;
    c->tx_shut = true;
    if (!c->fin_arrived && sim_chance(c->sim, 0.3)) /* Linux keeps what came before the reset; others do not */
        drop_all(c);
}

static void inject_reset(struct sim_conn *c) {
    struct sim_conn *p = c->peer;
    c->sim->stats.n_resets_injected++;
    send_reset(c);
    if (!c->closed && !c->reset) {
        receive_reset(c);
        conn_serve(c);
    }
    check(p); /* only a connected end gets here */
}

static void arrived(struct ring_timer *t) {
    struct sim_conn *c = container_of(t, struct sim_conn, arrival);
    struct sim *s = c->sim;
    bool answer_reset = false, inject = false;
    list_for_each_safe (it, &c->rx) {
        struct segment *g = list_entry(it, struct segment, link);
        if (g->arrived)
            continue;
        if (g->arrive_ns > s->now_ns)
            break;
        g->arrived = true;
        enum segment_kind kind = g->kind;
        answer_reset = answer_reset || (c->closed && kind == SEGMENT_DATA);
        inject = inject || (kind == SEGMENT_DATA && sim_chance(s, s->faults.reset));
        if (kind == SEGMENT_RST || c->closed || c->reset)
            segment_drop(c, g);
        else if (kind == SEGMENT_FIN)
            c->fin_arrived = true;
        if (kind == SEGMENT_RST && !c->closed && !c->reset) {
            receive_reset(c);
            break; /* it may have dropped the rest */
        }
    }
    wake_for_next_segment(c);
    if (answer_reset)
        send_reset(c);
    if (inject && !c->closed && !c->reset)
        inject_reset(c);
    else
        conn_serve(c);
}

size_t conn_room(const struct sim_conn *c) {
    const struct sim_conn *p = c->peer;
    if (!p || c->tx_shut || c->reset)
        return 0;
    if (p->closed) /* nobody told us yet: it goes into the void */
        return SIM_WINDOW_MIN;
    return p->rx_max - min_of(p->rx_bytes, p->rx_max);
}

void conn_push(struct sim_conn *c, const uint8_t *bytes, size_t n) {
    c->sim->stats.bytes += n;
    while (n) { /* in pieces, as a network would */
        size_t piece = sim_chance(c->sim, 0.5) ? n : sim_size(c->sim, 1, n);
        segment_send(c->peer, SEGMENT_DATA, bytes, piece);
        bytes += piece;
        n -= piece;
    }
}

void conn_shut(struct sim_conn *c) {
    if (c->tx_shut || !c->peer)
        return;
    c->tx_shut = true;
    if (!c->peer->closed)
        segment_send(c->peer, SEGMENT_FIN, NULL, 0);
}

void conn_close(struct sim_conn *c) {
    struct sim *s = c->sim;
    if (c->closed)
        return;
    timer_heap_stop(&s->events, &c->dial);
    if (c->peer && !c->reset) {
        bool both_ended = c->tx_shut && c->fin_arrived;
        if (conn_readable(c) || (c->linger_zero && !both_ended) || c->dialling != DIAL_NONE) {
            s->stats.n_resets++;
            send_reset(c);
        } else {
            conn_shut(c);
        }
    }
    c->closed = true;
    list_for_each_safe (it, &c->rx) { /* what is still on the wire will be answered when it arrives */
        struct segment *g = list_entry(it, struct segment, link);
        if (g->arrived)
            segment_drop(c, g);
    }
    if (list_linked(&c->queued))
        list_unlink(&c->queued);
}

/* --- reading --- */

size_t conn_readable(struct sim_conn *c) {
    size_t n = 0;
    list_for_each (it, &c->rx) {
        struct segment *g = list_entry(it, struct segment, link);
        if (!g->arrived || g->kind != SEGMENT_DATA)
            break;
        n += g->n - g->at;
    }
    return n;
}

size_t conn_read(struct sim_conn *c, uint8_t *to, size_t n) {
    size_t got = 0;
    while (got < n) {
        struct segment *g = list_entry(list_first(&c->rx), struct segment, link);
        size_t k = min_of(n - got, g->n - g->at);
        memcpy(to + got, g->bytes + g->at, k);
        g->at += k;
        c->rx_bytes -= k;
        got += k;
        if (g->at == g->n)
            segment_drop(c, g);
    }
    if (c->peer && !c->peer->closed && !ring_timer_armed(&c->peer->room))
        sim_after(c->sim, &c->peer->room, sim_latency(c->sim), room_seen);
    return got;
}

bool conn_at_fin(const struct sim_conn *c) {
    if (list_empty(&c->rx))
        return false;
    const struct segment *g = list_entry(c->rx.next, struct segment, link);
    return g->kind == SEGMENT_FIN && g->arrived;
}

int conn_take_error(struct sim_conn *c) {
    int k = c->error;
    c->error = 0;
    return k;
}

void conn_serve(struct sim_conn *c) {
    if (c->closed)
        return;
    if (c->app) {
        app_serve(c);
        return;
    }
    /* Which of two waiting ops hears of an error is chance. */
    if (sim_chance(c->sim, 0.5)) {
        op_serve_send(c);
        op_serve_recv(c);
    } else {
        op_serve_recv(c);
        op_serve_send(c);
    }
    op_serve_hangup(c);
}

static void room_seen(struct ring_timer *t) { conn_serve(container_of(t, struct sim_conn, room)); }

/* --- dialling --- */

static bool same_place(const struct listener *l, const struct sim_syn *syn) {
    if (l->at.port != syn->to.port)
        return false;
    if (addr_is_loopback(&syn->to.addr) || addr_is_none(&l->at.addr))
        return l->netns == syn->netns && (addr_is_none(&l->at.addr) || addr_is(&l->at.addr, &syn->to.addr));
    return addr_is(&l->at.addr, &syn->to.addr);
}

static struct listener *find_listener(struct sim *s, struct sim_syn *syn) {
    int fd = s->route ? s->route(s->route_context, syn) : SIM_ROUTE_DEFAULT;
    if (fd == SIM_ROUTE_REFUSE)
        return NULL;
    if (fd != SIM_ROUTE_DEFAULT) {
        struct descriptor *d = sim_find(s, fd, "a route");
        check(d && d->listener);
        return d->listener;
    }
    struct listener *found = NULL;
    uint64_t n = 0;
    list_for_each (it, &s->listeners) { /* one of those that share the endpoint */
        struct listener *l = list_entry(it, struct listener, all);
        if (!l->closed && same_place(l, syn) && (!syn->to_application || l->app) && rng_below(&s->rng, ++n) == 0)
            found = l;
    }
    return found;
}

static void join(struct sim_conn *c, struct listener *l, const struct sim_syn *syn) {
    struct sim_conn *p = conn_new(c->sim, l->netns);
    p->peer = c;
    c->peer = p;
    p->local = syn->to;
    p->remote = c->local;
    p->connected = true;
    c->sim->stats.n_accepted++;
    if (l->app) {
        p->app = l->app;
        p->context = l->context;
        if (l->accepted)
            l->accepted(p);
        return;
    }
    list_push_back(&l->queue, &p->queued);
    l->n_queued++;
    op_serve_accept(l);
}

/* The SYN reaches whoever it reaches; the answer is on its way. */
static void syn_arrives(struct sim_conn *c) {
    struct sim *s = c->sim;
    struct sim_syn syn = {.netns = c->netns,
                          .from = c->local,
                          .to = c->remote,
                          .to_application = c->to_application,
                          .by_application = c->app != NULL};
    struct listener *l = find_listener(s, &syn);
    uint64_t answer_ns = sim_latency(s);
    c->dialling = DIAL_ANSWER;
    c->dial_result = 0;
    if (sim_chance(s, s->faults.connect_timeout) || (l && l->n_queued >= SIM_BACKLOG_MAX)) {
        c->dial_result = -ETIMEDOUT;
        answer_ns = SIM_CONNECT_TIMEOUT_S * NS_PER_S;
    } else if (sim_chance(s, s->faults.refuse)) {
        c->dial_result = sim_chance(s, 0.7) ? -ECONNREFUSED : -EHOSTUNREACH;
    } else if (!l) {
        c->dial_result = -ECONNREFUSED;
    } else {
        join(c, l, &syn);
    }
    s->stats.n_refused += c->dial_result < 0;
    sim_after(s, &c->dial, answer_ns, dialled);
}

static void dialled(struct ring_timer *t) {
    struct sim_conn *c = container_of(t, struct sim_conn, dial);
    if (c->dialling == DIAL_SYN) {
        syn_arrives(c);
        return;
    }
    c->dialling = DIAL_NONE;
    if (c->dial_result == 0 && !c->reset)
        c->connected = true;
    else if (c->dial_result == 0)
        c->dial_result = -ECONNREFUSED; /* reset before it was established */
    if (c->app)
        app_dialled(c, c->dial_result);
    else
        op_serve_connect(c);
    conn_serve(c);
}

void conn_dial(struct sim_conn *c, const struct endpoint *to) {
    struct sim *s = c->sim;
    s->stats.n_dials++;
    c->remote = *to;
    if (!c->bound || addr_is_none(&c->local.addr)) {
        bool found = addr_parse(addr_is_loopback(&to->addr) ? (addr_is_v4(&to->addr) ? STR("127.0.0.1") : STR("::1"))
                                : addr_is_v4(&to->addr)     ? STR("192.0.2.1")
                                                            : STR("2001:db8::1"),
                                &c->local.addr);
        check(found);
    }
    if (!c->local.port)
        c->local.port = s->next_port = (uint16_t)(s->next_port < UINT16_MAX ? s->next_port + 1 : SIM_PORT_FIRST);
    c->dialling = DIAL_SYN;
    sim_after(s, &c->dial, sim_latency(s), dialled);
}

/* --- listeners --- */

struct listener *listener_new(struct sim *s, int netns, const struct endpoint *at) {
    struct listener *l = sim_alloc(sizeof(*l));
    *l = (struct listener){.sim = s, .netns = netns < 0 ? -1 : netns, .at = *at};
    list_init(&l->queue);
    list_push_back(&s->listeners, &l->all);
    l->fd = sim_descriptor(s, NULL, l);
    return l;
}

void listener_close(struct listener *l) {
    struct descriptor *d = sim_find(l->sim, l->fd, "closing a listener");
    if (!d)
        return;
    if (l->accept)
        sim_violation(l->sim, "listener %d closed while an accept is under way", l->fd);
    l->closed = d->closed = true;
    for (struct list *n; (n = list_pop_front(&l->queue));) {
        struct sim_conn *c = list_entry(n, struct sim_conn, queued);
        c->linger_zero = true; /* the kernel resets what nobody accepted */
        conn_close(c);
    }
    l->n_queued = 0;
}

int ring_sim_listen(struct sim *s, int netns, const struct endpoint *at) { return listener_new(s, netns, at)->fd; }
void ring_sim_unlisten(struct sim *s, int fd) {
    struct descriptor *d = sim_find(s, fd, "unlisten");
    if (d)
        listener_close(d->listener);
}
