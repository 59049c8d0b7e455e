/* SPDX-License-Identifier: GPL-3.0-or-later
 * sim_talk.h - scripted applications on the simulated network: talks of a client and a server that check every byte
 *
 * Bytes are a function of talk, side and place, so each can be checked when it comes; the client's first byte says which talk
 * it is of, and a server learns from it whom it serves. What looks whole must be whole. One struct talks at a time. */
#pragma once

#include "ring_sim.h"

enum { TALKS_MAX = 12 };
struct talk;
struct talks;
struct talk_side {
    struct talk *talk;
    struct talk_side *other;
    struct sim_conn *conn;                     /* NULL: not there (yet) */
    size_t n_to_send, n_sent, n_got, reset_at; /* reset_at: bytes got after which it resets; 0: never */
    bool shut, got_fin, got_reset, did_reset, lazy, sleepy;
    unsigned salt;
};
struct talk {
    struct talks *all;
    unsigned way; /* the caller's */
    struct talk_side client, server;
    bool refused;
};
struct talks {
    struct sim *sim;
    bool gentle;      /* nothing may be refused or reset */
    bool may_be_mute; /* a server may see the end of one that never said a word */
    unsigned n;
    struct talk items[TALKS_MAX];
    void (*failed)(const char *what, int line); /* does not return */
};

extern const struct sim_app talk_client, talk_server;   /* a client's context is its struct talk_side, a server's NULL at first */
void talks_use(struct talks *t);                        /* the ones that talk_server serves from now on */
struct talk *talk_begin(struct talks *all, unsigned i); /* the i-th, zeroed, and who is who */
bool talk_over(const struct talk *t);
