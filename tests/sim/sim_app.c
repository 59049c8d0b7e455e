/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_app.c - scripted applications: callbacks on one side, plain calls on the other, no ring between */
#include "sim_private.h"

enum { APP_BITE = 16 * 1024 }; /* most bytes a callback gets at once */

static void read_some(struct sim_conn *c) {
    uint8_t bytes[APP_BITE];
    for (size_t n; c->app_reading && !c->closed && (n = conn_readable(c)) > 0;) {
        n = sim_size(c->sim, 1, min_of(n, sizeof(bytes)));
        n = conn_read(c, bytes, n);
        if (c->app->bytes)
            c->app->bytes(c, bytes, n);
    }
}

void app_serve(struct sim_conn *c) {
    if (!c->connected && !c->reset)
        return;
    read_some(c);
    if (c->closed)
        return;
    if (c->reset) {
        int error = conn_take_error(c);
        conn_close(c);
        if (error && c->app->reset)
            c->app->reset(c, error);
        return;
    }
    if (conn_at_fin(c) && !c->app_told_end && c->app_reading) {
        c->app_told_end = true;
        if (c->app->fin)
            c->app->fin(c);
    }
    if (!c->closed && c->app_wants_room && conn_room(c)) {
        c->app_wants_room = false;
        if (c->app->room)
            c->app->room(c);
    }
}

void app_dialled(struct sim_conn *c, int result) {
    if (result < 0)
        conn_close(c);
    if (c->app->connected)
        c->app->connected(c, result);
}

struct sim_conn *ring_sim_connect(struct sim *s, int netns, const struct endpoint *from, const struct endpoint *to,
                                  const struct sim_app *app, void *context) {
    struct sim_conn *c = conn_new(s, netns);
    c->app = app;
    c->context = context;
    if (from) {
        c->local = *from;
        c->bound = true;
    }
    conn_dial(c, to);
    return c;
}

int ring_sim_serve(struct sim *s, int netns, const struct endpoint *at, const struct sim_app *app,
                   void (*accepted)(struct sim_conn *c), void *context) {
    struct listener *l = listener_new(s, netns, at);
    l->app = app;
    l->accepted = accepted;
    l->context = context;
    return l->fd;
}

size_t sim_conn_write(struct sim_conn *c, const void *bytes, size_t n) {
    if (c->closed || !c->connected)
        return 0;
    size_t k = min_of(n, conn_room(c));
    if (k)
        conn_push(c, bytes, k);
    c->app_wants_room = k < n;
    return k;
}

void sim_conn_shutdown(struct sim_conn *c) {
    if (!c->closed && c->connected)
        conn_shut(c);
}

void sim_conn_close(struct sim_conn *c) { conn_close(c); }

void sim_conn_reset(struct sim_conn *c) {
    c->linger_zero = true;
    conn_close(c);
}

static void read_later(struct ring_timer *t) { conn_serve(container_of(t, struct sim_conn, room)); }

void sim_conn_read(struct sim_conn *c, bool on) {
    c->app_reading = on;
    if (on && !c->closed && !ring_timer_armed(&c->room)) /* not from here: the caller may be one of c's callbacks */
        sim_after(c->sim, &c->room, sim_latency(c->sim), read_later);
}

void *sim_conn_context(const struct sim_conn *c) { return c->context; }
void sim_conn_set_context(struct sim_conn *c, void *context) { c->context = context; }
struct endpoint sim_conn_local(const struct sim_conn *c) {
    return c->local;
}
struct endpoint sim_conn_peer(const struct sim_conn *c) {
    return c->remote;
}
bool sim_conn_over(const struct sim_conn *c) { return c->closed || c->reset; }
