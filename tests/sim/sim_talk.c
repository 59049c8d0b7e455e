/* SPDX-License-Identifier: GPL-3.0-or-later
 * sim_talk.c - see sim_talk.h */
#include <errno.h>
#include <stdio.h>

#include <ringwall/base/rng.h>

#include "sim_talk.h"

enum { WRITE_BYTES = 4000, NAP_S_MAX = 3, SLEEP_S = 400 /* outlives a certificate of the simulation */ };

static struct talks *served;

#define require(talks, cond) \
    do { \
        if (!(cond)) \
            (talks)->failed(#cond, __LINE__); \
    } while (0)

static uint8_t byte_at(const struct talk_side *s, size_t at) {
    if (at == 0 && s == &s->talk->client)
        return (uint8_t)(s->talk - s->talk->all->items);
    return (uint8_t)(at * 131 + at / 256 + s->salt);
}

static void write_on(struct talk_side *s) {
    uint8_t bytes[WRITE_BYTES];
    while (s->n_sent < s->n_to_send) {
        size_t n = min_of(sizeof(bytes), s->n_to_send - s->n_sent);
        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(s, s->n_sent + i);
        size_t k = sim_conn_write(s->conn, bytes, n);
        s->n_sent += k;
        if (k < n)
            return;
    }
    if (!s->shut) {
        s->shut = true;
        sim_conn_shutdown(s->conn);
    }
}

static void wake_up(void *context) {
    struct talk_side *s = context;
    if (!sim_conn_over(s->conn))
        sim_conn_read(s->conn, true);
}

static void got_bytes(struct sim_conn *c, const uint8_t *bytes, size_t n) {
    struct talk_side *s = sim_conn_context(c);
    struct talks *all = s->talk->all;
    struct rng *rng = ring_sim_rng(all->sim);
    require(all, !s->got_fin && !s->got_reset);
    for (size_t i = 0; i < n; i++)
        require(all, bytes[i] == byte_at(s->other, s->n_got + i));
    s->n_got += n;
    require(all, s->n_got <= s->other->n_sent);
    if (s->reset_at && s->n_got >= s->reset_at) {
        s->did_reset = true;
        sim_conn_reset(c);
    } else if (s->sleepy) { /* once */
        s->sleepy = false;
        sim_conn_read(c, false);
        ring_sim_after(all->sim, SLEEP_S * NS_PER_S, wake_up, s);
    } else if (s->lazy && rng_below(rng, 8) == 0) {
        sim_conn_read(c, false);
        ring_sim_after(all->sim, rng_below(rng, NAP_S_MAX * NS_PER_S), wake_up, s);
    }
}

static void got_fin(struct sim_conn *c) {
    struct talk_side *s = sim_conn_context(c);
    struct talks *all = s->talk->all;
    require(all, !s->got_fin);
    s->got_fin = true;
    if (!s->other->shut || s->n_got != s->other->n_sent)
        fprintf(stderr, "talk %d: the %s saw an end after %zu of %zu bytes\n", (int)(s->talk - all->items),
                s == &s->talk->client ? "client" : "server", s->n_got, s->other->n_to_send);
    require(all, s->other->shut && s->n_got == s->other->n_sent);
}

static void got_reset(struct sim_conn *c, int error) {
    struct talk_side *s = sim_conn_context(c);
    require(s->talk->all, !s->talk->all->gentle);
    require(s->talk->all, error == -ECONNRESET || error == -EPIPE);
    s->got_reset = true;
}

static void got_room(struct sim_conn *c) { write_on(sim_conn_context(c)); }

static void client_connected(struct sim_conn *c, int result) {
    struct talk_side *s = sim_conn_context(c);
    s->talk->refused = result < 0;
    require(s->talk->all, result == 0 || !s->talk->all->gentle);
    if (result == 0)
        write_on(s);
}

const struct sim_app talk_client = {
    .connected = client_connected, .bytes = got_bytes, .fin = got_fin, .reset = got_reset, .room = got_room};

static void server_bytes(struct sim_conn *c, const uint8_t *bytes, size_t n) {
    if (sim_conn_context(c)) {
        got_bytes(c, bytes, n);
        return;
    }
    require(served, bytes[0] < served->n);
    struct talk_side *s = &served->items[bytes[0]].server;
    require(served, !s->conn);
    s->conn = c;
    sim_conn_set_context(c, s);
    got_bytes(c, bytes, n);
    if (!s->did_reset)
        write_on(s);
}

static void server_fin(struct sim_conn *c) {
    require(served, served->may_be_mute || sim_conn_context(c)); /* every client says something first */
    if (sim_conn_context(c))
        got_fin(c);
}

static void server_reset(struct sim_conn *c, int error) {
    if (sim_conn_context(c))
        got_reset(c, error);
}

static void server_room(struct sim_conn *c) {
    if (sim_conn_context(c))
        got_room(c);
}

const struct sim_app talk_server = {.bytes = server_bytes, .fin = server_fin, .reset = server_reset, .room = server_room};

void talks_use(struct talks *t) { served = t; }

struct talk *talk_begin(struct talks *all, unsigned i) {
    struct talk *t = &all->items[i];
    *t = (struct talk){.all = all};
    t->client = (struct talk_side){.talk = t, .other = &t->server, .salt = i * 7};
    t->server = (struct talk_side){.talk = t, .other = &t->client, .salt = i * 13 + 1};
    return t;
}

static bool side_over(const struct talk_side *s) { return s->got_reset || s->did_reset || (s->got_fin && s->shut); }

/* A server that was never dialled, or was cut before its first byte, knows nothing of the talk. */
bool talk_over(const struct talk *t) {
    return t->refused || (t->client.conn && side_over(&t->client) && (!t->server.conn || side_over(&t->server)));
}
