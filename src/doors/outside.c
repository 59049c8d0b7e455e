/* SPDX-License-Identifier: GPL-3.0-or-later
 * outside.c - see outside.h
 *
 * The key of the door's certificate is made here, anew for each, and never leaves this thread; the CA gives the names.
 * Until there is a certificate, and when it has run out, connections are closed at once. */
#include "outside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/tls/issue.h>

enum {
    POOL_CHUNKS = 4096,
    ACCEPT_PAUSE_MS = 100,
    TICK_MS = 250,
    RENEW_AGAIN_S = 5,  /* after a failure */
    RENEW_SOON_MS = 500 /* after news of trust, of which there may be several */
};

/* ------------------------------------------------ the certificate */

static void renew_certificate(struct ring_timer *t);

static void renew_in(struct outside *o, uint64_t ns) {
    ring_timer_start(o->doors->ring, &o->renew, doors_now(o->doors) + ns, renew_certificate);
}

static void renewal_failed(struct outside *o, const char *why) {
    static struct log_limit limit;
    if (log_limit_allows(&limit, 1))
        log_write(LOG_PROGRAM, o->context ? LOG_WARN : LOG_ERROR, "doors", NULL, 0, "ca.listen has no %scertificate: %s",
                  o->context ? "new " : "", why);
    o->next_key = tls_key_free(o->next_key);
    renew_in(o, RENEW_AGAIN_S * NS_PER_S);
}

/* At four fifths of its life, less a part that is drawn. */
static void plan_renewal(struct outside *o, const struct tls_cert_facts *f) {
    int64_t now_s = clock_wall_s(), life_s = f->not_after - f->not_before;
    int64_t due_s = f->not_before + life_s * 4 / 5 - (int64_t)rng_below(&o->doors->rng, (uint64_t)(life_s / 20 + 1));
    renew_in(o, (uint64_t)max_of(due_s - now_s, (int64_t)RENEW_AGAIN_S) * NS_PER_S);
}

static void certificate_came(struct ask *a, const struct ca_response *answer) {
    struct outside *o = container_of(a, struct outside, ask);
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_context *context = NULL;
    struct tls_cert_facts facts;
    char why[256];
    if (!answer || answer->code != CA_OK) {
        snprintf(why, sizeof(why), STR_FMT, STR_ARG(answer ? answer->message : STR("the CA does not answer")));
        renewal_failed(o, why);
        return;
    }
    for (size_t i = 0; i + 1 < answer->n_chain; i++) { /* the last element is the roots */
        struct tls_der_list part cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        if (tls_certs_from_pem(answer->chain[i], TLS_CHAIN_MAX, &part) != 0 ||
            tls_der_list_add(&chain, part.items[0].at, part.items[0].n) != 0) {
            renewal_failed(o, "what the CA sent cannot be read");
            return;
        }
    }
    if (chain.n == 0 || tls_cert_read(chain.items[0].at, chain.items[0].n, &facts) != 0 ||
        tls_web_server_new(o->next_key, &chain, &context) != 0) {
        renewal_failed(o, "what the CA sent is no certificate for our key");
        return;
    }
    tls_context_unref(o->context); /* sessions under way keep theirs */
    o->context = context;
    o->context_until_s = facts.not_after;
    o->next_key = tls_key_free(o->next_key);
    if (!o->told)
        log_info("doors", "ca.listen: certificates are given on %s, port %u", o->doors->o.outside_host, o->doors->o.outside_port);
    o->told = true;
    plan_renewal(o, &facts);
}

static int ask_certificate(struct outside *o) {
    struct doors *d = o->doors;
    struct tls_der csr = {0};
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    o->next_key = tls_key_free(o->next_key);
    int r = tls_key_generate(&o->next_key);
    if (r == 0)
        r = tls_csr_make(o->next_key, NULL, &csr);
    if (r == 0)
        r = tls_der_to_pem(&csr, "CERTIFICATE REQUEST", &pem);
    free(csr.at);
    if (r != 0)
        return err_trace(r);
    struct ca_request q = {.kind = CA_MESSAGE_SERVER,
                           .caller = CA_CALLER_NODE,
                           .caller_node = str_of(d->o.node),
                           .caller_peer = STR("ca.listen"),
                           .csr_pem = {pem.at, pem.n}};
    r = ask_send(&d->asks, &o->ask, &q, doors_now(d), certificate_came);
    doors_wake(d); /* its deadline is looked at there */
    return r < 0 ? err_trace(r) : r;
}

static void renew_certificate(struct ring_timer *t) {
    struct outside *o = container_of(t, struct outside, renew);
    if (o->doors->stopping || list_linked(&o->ask.link))
        return;
    int r = ask_certificate(o);
    if (r != 0)
        renewal_failed(o, r > 0 ? "the CA takes no more requests now" : strerror(-r));
}

void outside_trust_changed(struct outside *o) {
    if (!o->doors->stopping)
        renew_in(o, RENEW_SOON_MS * NS_PER_MS);
}

/* ------------------------------------------------ listeners */

static void listener_start(struct outside_listener *l);
static void listener_again(struct ring_timer *t) { listener_start(container_of(t, struct outside_listener, again)); }

static void accepted(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more) {
    struct outside_listener *l = container_of(op, struct outside_listener, accept);
    struct outside *o = l->outside;
    struct doors *d = o->doors;
    if (n >= 0) {
        counter_add(&d->stats->outside_accepted, 1);
        if (d->stopping)
            fd_close(n);
        else
            caller_new(o, n);
    }
    if (more || d->stopping)
        return;
    if (n >= 0)
        listener_start(l);
    else
        ring_timer_start(d->ring, &l->again, doors_now(d) + ACCEPT_PAUSE_MS * NS_PER_MS, listener_again);
}

static void listener_start(struct outside_listener *l) {
    if (!l->outside->doors->stopping)
        ring_accept(l->outside->doors->ring, &l->accept, l->fd, accepted);
}

/* ------------------------------------------------ life */

static void ticked(struct ring_timer *t) {
    struct outside *o = container_of(t, struct outside, tick);
    uint64_t now = doors_now(o->doors);
    if (o->context && clock_wall_s() >= o->context_until_s)
        o->context = tls_context_unref(o->context);
    list_for_each_safe (it, &o->callers)
        caller_tick(it, now);
    outside_wake(o);
}

void outside_wake(struct outside *o) {
    if (!list_empty(&o->callers) && !ring_timer_armed(&o->tick))
        ring_timer_start(o->doors->ring, &o->tick, doors_now(o->doors) + TICK_MS * NS_PER_MS, ticked);
}

int outside_new(struct doors *d, struct outside **ret, char why[256]) {
    int fds[OUTSIDE_LISTENERS_MAX];
    size_t n = 0;
    struct outside *o = calloc(1, sizeof(*o));
    if (!o)
        return err_origin(-ENOMEM);
    o->doors = d;
    list_init(&o->callers);
    list_init(&o->touched);
    list_init(&o->dead);
    for (size_t i = 0; i < OUTSIDE_LISTENERS_MAX; i++)
        o->listeners[i] = (struct outside_listener){.outside = o, .fd = -1};
    o->pool = buf_pool_new(POOL_CHUNKS);
    int r = o->pool ? outside_listen(d->o.outside_host, d->o.outside_port, fds, &n, why) : err_origin(-ENOMEM);
    if (r != 0) {
        outside_free(o);
        return r < 0 ? err_trace(r) : 1;
    }
    for (size_t i = 0; i < n; i++) {
        o->listeners[i].fd = fds[i];
        listener_start(&o->listeners[i]);
    }
    renew_in(o, 0);
    *ret = o;
    return 0;
}

void outside_stop(struct outside *o) {
    for (size_t i = 0; i < OUTSIDE_LISTENERS_MAX; i++) {
        ring_cancel(o->doors->ring, &o->listeners[i].accept);
        ring_timer_stop(o->doors->ring, &o->listeners[i].again);
    }
    ring_timer_stop(o->doors->ring, &o->tick);
    ring_timer_stop(o->doors->ring, &o->renew);
    ask_forget(&o->doors->asks, &o->ask);
    callers_stop(o);
}

bool outside_idle(const struct outside *o) { return list_empty(&o->callers); }

struct outside *outside_free(struct outside *o) {
    if (!o)
        return NULL;
    for (size_t i = 0; i < OUTSIDE_LISTENERS_MAX; i++)
        fd_close(o->listeners[i].fd);
    tls_context_unref(o->context);
    tls_key_free(o->next_key);
    buf_pool_free(o->pool);
    free(o);
    return NULL;
}
