/* SPDX-License-Identifier: GPL-3.0-or-later
 * outside.h - the TCP door: istio.v1.auth.IstioCertificateService for callers from outside the node
 *
 * outside.c has the listeners and the door's own certificate, outside_caller.c a connection and its calls,
 * outside_source.c counts what a source may do, outside_listen.c opens sockets. The door believes nobody and judges nothing but
 * bounds: what a caller shows (a token, or a client certificate that stood the chain walk) goes to the CA thread, which decides and
 * writes the record. A caller learns a code and the words that Istio's CA has for it; the reason stands in our log and in the CA's
 * record. */
#pragma once

#include <ringwall/tls/web.h>

#include "private.h"

enum {
    OUTSIDE_CONNECTIONS_MAX = 512,
    OUTSIDE_CONNECTIONS_OF_SOURCE_MAX = 64,
    OUTSIDE_HANDSHAKES_S_MAX = 50,   /* of one source a second, twice that at once */
    OUTSIDE_REFUSALS_S_MAX = 20,     /* of one source a second, five times that at once: each is a line on the CA's record */
    OUTSIDE_SOURCES = 1024,          /* remembered; the place of a source follows from its address */
    OUTSIDE_STREAMS_MAX = 10,        /* a node of ours has 8 calls under way */
    OUTSIDE_MESSAGE_MAX = 32 * 1024, /* before anybody is believed: 512 x 10 x this is what all of them may hold */
    OUTSIDE_TOKEN_MAX = 12 * 1024,   /* wire/h2 takes 16 KiB of headers in all */
    OUTSIDE_IN_MAX = 64 * 1024,      /* ciphertext that waits to be understood */
    OUTSIDE_SHAKE_S = 5,
    OUTSIDE_FIRST_CALL_S = 10,
    OUTSIDE_CALL_S = 15, /* from its headers to its answer */
    OUTSIDE_IDLE_S = 600,
    OUTSIDE_LISTENERS_MAX = 2,
};

struct outside_listener {
    struct outside *outside;
    int fd;
    struct ring_op accept;
    struct ring_timer again;
};
struct outside_bucket {
    uint64_t filled_ns;
    unsigned tokens;
};
struct outside_source { /* the last one to use the place owns it. An IPv6 source is its /64 */
    struct addr addr;
    struct outside_bucket handshakes, refusals;
};
struct outside {
    struct doors *doors;
    struct outside_listener listeners[OUTSIDE_LISTENERS_MAX];
    struct ring_timer tick;
    struct buf_pool *pool;
    struct list callers, touched, dead; /* of struct caller */
    size_t n_callers;
    struct outside_source sources[OUTSIDE_SOURCES];
    /* the door's own certificate */
    struct tls_context *context; /* NULL: not yet */
    int64_t context_until_s;
    struct tls_key *next_key; /* of the request under way */
    struct ask ask;
    struct ring_timer renew;
    bool told; /* that there is a certificate, or why there is none */
};

/* Where the options say. 0; 1 with why; negative errno. */
int outside_new(struct doors *d, struct outside **ret, char why[256]) must_check;
void outside_stop(struct outside *o);  /* no more callers; those there are hear of it */
void outside_cut(struct outside *o);   /* now */
void outside_flush(struct outside *o); /* once a turn: what is to be said, and who is gone */
bool outside_idle(const struct outside *o);
void outside_trust_changed(struct outside *o); /* maybe it is another CA now: a new certificate of our own */
struct outside *outside_free(struct outside *o);
void outside_wake(struct outside *o);

/* outside_listen.c */
int outside_listen(const char *host, uint16_t port, int ret_fds[OUTSIDE_LISTENERS_MAX], size_t *ret_n, char why[256]) must_check;
/* outside_source.c */
struct addr outside_source_of(const struct addr *peer);                                   /* whom the bounds count */
struct outside_source *outside_source_find(struct outside *o, const struct addr *source); /* filled up to now */
bool outside_bucket_take(struct outside_bucket *b) must_check;                            /* false: empty */
/* outside_caller.c */
void caller_new(struct outside *o, int fd); /* takes fd, whatever happens */
void caller_tick(struct list *in_callers, uint64_t now_ns);
void callers_stop(struct outside *o);
