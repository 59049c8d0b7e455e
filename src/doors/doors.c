/* SPDX-License-Identifier: GPL-3.0-or-later
 * doors.c - the thread: its ring, its mail, its listeners, its start and its end
 *
 * One turn: ring_turn runs callbacks and timers, then mail is taken, then what ended is freed. Nothing waits but the ring. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/base/thread.h>
#include <ringwall/mail/bytes.h>

#include "local.h"
#include "outside.h"

enum {
    RING_ENTRIES = 256,
    RING_RECV_BUFFERS = 64,
    RING_RECV_BUFFER_BYTES = 16 * 1024,
    ACCEPT_PAUSE_MS = 100, /* no descriptor left: later */
    MAIL_PER_TURN = 1024,
    REFRESH_S = 30, /* revocation lists come into force and end */
};
static const uint64_t wait_ns = 10 * NS_PER_S; /* nothing but events end a wait; this is for a lost one */

/* ---- calls look again ---- */

/* A look may free its call, and by it nothing else in the list. */
static void look_all(struct doors *d) {
    list_for_each_safe (it, &d->calls) {
        struct call *c = list_entry(it, struct call, link);
        if (c->method->look)
            c->method->look(c);
    }
}

static void look_holder(struct holder *h) {
    list_for_each_safe (it, &h->calls) {
        struct call *c = list_entry(it, struct call, in_holder);
        if (c->method->look)
            c->method->look(c);
    }
}

/* ---- time ---- */

static bool roots_settled(const struct doors *d) {
    list_for_each (it, &d->calls) {
        const struct call *c = list_entry(it, struct call, link);
        if (c->method->both_ways && c->started && !sds_state_roots_settled(&c->sds))
            return false;
    }
    return true;
}

void doors_confirm_trust(struct doors *d) {
    if (!d->trust_mail)
        return;
    bool late = doors_now(d) >= d->trust_due_ns;
    if (!late && !roots_settled(d))
        return;
    if (late && !roots_settled(d))
        counter_add(&d->stats->ack_late, 1);
    if (!mail_trust_adopted(take_ptr(d->trust_mail)))
        log_error("doors", "the identity thread does not take mail: a new root may wait for its deadline");
}

static void doors_ticked(struct ring_timer *t) {
    struct doors *d = container_of(t, struct doors, tick);
    uint64_t now = doors_now(d);
    asks_tick(&d->asks, now);
    if (now >= d->refresh_ns) {
        d->refresh_ns = now + REFRESH_S * NS_PER_S;
        vault_refresh(&d->vault, clock_wall_s());
    }
    look_all(d); /* holds that are over, responses that waited for an answer, queues that drained */
    doors_confirm_trust(d);
    list_for_each_safe (it, &d->locals)
        local_tick(list_entry(it, struct local, link), now);
    if (!list_empty(&d->locals) || d->trust_mail || !list_empty(&d->asks.open))
        doors_wake(d);
}

void doors_wake(struct doors *d) {
    if (!ring_timer_armed(&d->tick))
        ring_timer_start(d->ring, &d->tick, doors_now(d) + DOORS_TICK_MS * NS_PER_MS, doors_ticked);
}

/* ---- mail ---- */

static void finish_calls_of(struct doors *d, uint32_t pod_id) {
    list_for_each_safe (it, &d->calls) {
        struct call *c = list_entry(it, struct call, link);
        if (c->pod_id == pod_id)
            call_finish(c, GRPC_PERMISSION_DENIED, "the workload has left this node");
    }
}

static void pod_came(struct doors *d, const struct mail_pod *m) {
    struct vault_pod *p = vault_pod(&d->vault, m->id);
    if (p && !identity_is(&p->holder->identity, &m->identity))
        finish_calls_of(d, m->id); /* its programs come back as who they are now */
    if (!vault_pod_put(&d->vault, m))
        log_error("doors", "out of memory: workload %s gets no credentials here", m->uid);
}

static void pod_left(struct doors *d, struct mail_pod_gone *m) {
    struct vault_pod *p = vault_pod(&d->vault, m->id);
    if (p) {
        finish_calls_of(d, m->id);
        list_for_each (it, &d->locals) {
            struct local *l = list_entry(it, struct local, link);
            if (l->pod == p)
                local_forget_pod(l);
        }
        vault_pod_remove(&d->vault, p);
    }
}

static void credential_came(struct doors *d, const struct mail_credential *m) {
    bool before = d->vault.has_intermediate;
    struct holder *h = vault_credential(&d->vault, m);
    if (!h)
        return;
    h->n_workloads++; /* it stays while its calls look */
    if (before != d->vault.has_intermediate) {
        vault_refresh(&d->vault, clock_wall_s());
        look_all(d);
    } else {
        look_holder(h);
    }
    h->n_workloads--;
    vault_holder_settle(&d->vault, h);
}

/* Takes the mail: it goes back when it is confirmed. */
static void trust_came(struct doors *d, struct mail_trust *m) {
    if (d->trust_mail && !mail_trust_adopted(take_ptr(d->trust_mail)))
        log_debug("doors", "the confirmation of an older bundle was not taken");
    if (vault_trust(&d->vault, m->trust, clock_wall_s()) < 0)
        log_error("doors", "out of memory: new trust bundles are not given out");
    d->trust_mail = m;
    if (d->outside)
        outside_trust_changed(d->outside);
    d->trust_due_ns = doors_now(d) + DOORS_TRUST_WAIT_S * NS_PER_S;
    look_all(d);
    doors_confirm_trust(d);
    doors_wake(d);
}

/* The watch of the bundles is ours for the JWT keys; roots come by the identity thread. */
static void ask_bundles(struct doors *d, uint64_t acknowledged) {
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE,
                           .caller = CA_CALLER_NODE,
                           .caller_node = str_of(d->o.node),
                           .watch = true,
                           .acknowledged = acknowledged};
    uint8_t *bytes = NULL;
    size_t n = 0;
    struct mail_bytes *m = pb_create_ca_request(&q, &bytes, &n) == 0 ? mail_bytes_new(bytes, n, d->o.mailbox) : NULL;
    if (!m)
        free(bytes);
    else if (mailbox_post(d->o.ca, &m->mail) != 0)
        mail_free(&m->mail);
    else
        return;
    log_error("doors", "the CA could not be asked for the keys of JWT-SVIDs: none are given out");
}

static void bundles_came(struct doors *d, const struct ca_response *r) {
    if (r->code != CA_OK)
        return;
    if (vault_jwks(&d->vault, r->jwks) < 0)
        log_error("doors", "out of memory: new keys of JWT-SVIDs are not given out");
    look_all(d);
    if (r->generation > d->acknowledged) {
        d->acknowledged = r->generation;
        ask_bundles(d, r->generation); /* what we need of it is in force */
    }
}

static void bytes_came(struct doors *d, const struct mail_bytes *m) {
    struct arena a cleanup(arena_deinit) = ARENA_NULL;
    struct ca_response r = {0};
    if (pb_consume_ca_response(m->bytes, m->n, &a, &r) != 0)
        return; /* its question runs into the deadline */
    if (r.kind == CA_MESSAGE_BUNDLE)
        bundles_came(d, &r);
    else
        asks_answer(&d->asks, r.id, &r);
}

static void doors_handle(struct doors *d, struct mail *m) {
    if (m->type == &mail_trust_type) {
        trust_came(d, container_of(m, struct mail_trust, mail));
        return;
    }
    if (m->type == &mail_credential_type)
        credential_came(d, container_of(m, struct mail_credential, mail));
    else if (m->type == &mail_pod_type)
        pod_came(d, container_of(m, struct mail_pod, mail));
    else if (m->type == &mail_pod_gone_type)
        pod_left(d, container_of(m, struct mail_pod_gone, mail));
    else if (m->type == &mail_bytes_type)
        bytes_came(d, container_of(m, struct mail_bytes, mail));
    mail_free(m);
}

static void doors_mail(struct doors *d) {
    struct mail *m = NULL;
    for (size_t i = 0; d->mail_left && i < MAIL_PER_TURN; i++) {
        m = mailbox_take(d->o.mailbox);
        if (!m)
            d->mail_left = false;
        else
            doors_handle(d, m);
    }
}

static void mail_came(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more) {
    struct doors *d = container_of(op, struct doors, mail_op);
    mailbox_clear_event(d->o.mailbox);
    d->mail_left = true;
    if (!more && !d->stopping)
        ring_poll_in(d->ring, &d->mail_op, mailbox_eventfd(d->o.mailbox), mail_came);
}

/* ---- listeners ---- */

static void door_listen(struct door *door);

static void door_again(struct ring_timer *t) { door_listen(container_of(t, struct door, again)); }

static void accepted(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more) {
    struct door *door = container_of(op, struct door, accept);
    struct doors *d = door->doors;
    if (n >= 0) {
        counter_add(&d->stats->accepted, 1);
        int r = d->stopping ? -ECANCELED : local_new(door, n);
        if (d->stopping)
            fd_close(n);
        else if (r < 0)
            log_error("doors", "a connection could not be taken: %s", strerror(-r));
    }
    if (more || d->stopping)
        return;
    if (n >= 0)
        door_listen(door);
    else
        ring_timer_start(d->ring, &door->again, doors_now(d) + ACCEPT_PAUSE_MS * NS_PER_MS, door_again);
}

static void door_listen(struct door *door) {
    if (!door->doors->stopping)
        ring_accept(door->doors->ring, &door->accept, door->fd, accepted);
}

static bool is_path(const char *path) { return path && path[0]; }

static int doors_open(struct doors *d) {
    const char *sds = d->o.sds_path, *api = d->o.workload_api_path;
    bool same = is_path(sds) && is_path(api) && !strcmp(sds, api);
    size_t n = 0;
    if (is_path(sds))
        d->doors[n++] = (struct door){.name = same ? "local" : "sds", .path = sds, .sds = true, .workload_api = same};
    if (is_path(api) && !same)
        d->doors[n++] = (struct door){.name = "workload-api", .path = api, .workload_api = true};
    for (size_t i = 0; i < array_size(d->doors); i++) {
        d->doors[i].doors = d;
        d->doors[i].fd = -1;
    }
    int r = d->o.outside_port ? outside_new(d, &d->outside, d->why) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct door *door = &d->doors[i];
        r = listen_local(door->path, &door->fd, &door->dev, &door->ino, d->why);
        if (r == 0) {
            door_listen(door);
            log_info("doors", "%s on %s", door->name, door->path);
        }
    }
    return r;
}

/* ---- life ---- */

static void doors_flush(struct doors *d) {
    struct list *it;
    while ((it = list_pop_front(&d->touched)))
        pump_flush(&list_entry(it, struct local, touched)->pump);
    if (d->outside)
        outside_flush(d->outside);
}

static void doors_bury(struct doors *d) {
    struct list *it;
    while ((it = list_first(&d->dead)))
        local_free(list_entry(it, struct local, link));
}

/* Everybody hears that we stop; who does not read it is cut. */
static void doors_begin_stop(struct doors *d) {
    d->stopping = true;
    d->stop_ns = doors_now(d) + DOORS_STOP_S * NS_PER_S;
    for (size_t i = 0; i < array_size(d->doors); i++) {
        struct door *door = &d->doors[i];
        ring_cancel(d->ring, &door->accept);
        ring_timer_stop(d->ring, &door->again);
        if (door->fd >= 0)
            listen_remove(door->path, door->dev, door->ino);
    }
    ring_cancel(d->ring, &d->mail_op);
    ring_timer_stop(d->ring, &d->tick);
    if (d->outside)
        outside_stop(d->outside);
    list_for_each_safe (it, &d->calls)
        call_finish(list_entry(it, struct call, link), GRPC_UNAVAILABLE, "the daemon is stopping");
    list_for_each_safe (it, &d->locals) {
        struct local *l = list_entry(it, struct local, link);
        grpc_server_goaway(l->grpc);
        l->pump.last_words = true;
        if (!list_linked(&l->touched))
            list_push_back(&d->touched, &l->touched);
    }
}

static void doors_cut(struct doors *d) {
    list_for_each_safe (it, &d->locals)
        pump_close(&list_entry(it, struct local, link)->pump);
    if (d->outside)
        outside_cut(d->outside);
}

static void before_wait(void *context unused_arg) { publish_reader_offline(); }
static void after_wait(void *context unused_arg) { publish_reader_online(); }

static int doors_turn(struct doors *d) {
    static const struct ring_wait_hooks hooks = {before_wait, after_wait, NULL};
    int r = ring_turn(d->ring, d->mail_left ? 0 : d->stopping ? NS_PER_S / 10 : wait_ns, &hooks);
    if (r < 0)
        return err_trace(r);
    if (!d->stopping)
        doors_mail(d);
    if (!d->stopping && mailbox_closed(d->o.mailbox))
        doors_begin_stop(d);
    if (d->stopping && doors_now(d) >= d->stop_ns)
        doors_cut(d);
    doors_flush(d);
    doors_bury(d);
    publish_quiet();
    return 0;
}

static int doors_make(struct doors *d) {
    struct ring_options ring = {
        .n_entries = RING_ENTRIES, .n_recv_buffers = RING_RECV_BUFFERS, .recv_buffer_bytes = RING_RECV_BUFFER_BYTES};
    int r = ring_new(&ring, &d->ring, d->why);
    if (r == 0)
        r = vault_init(&d->vault, d->o.trust_domain);
    if (r == 0)
        r = doors_open(d);
    if (r != 0)
        return err_trace(r);
    d->mail_left = true;
    ring_poll_in(d->ring, &d->mail_op, mailbox_eventfd(d->o.mailbox), mail_came);
    ask_bundles(d, 0);
    return 0;
}

static void tell_start(struct doors *d, int r) {
    pthread_mutex_lock(&d->lock);
    d->start = r;
    d->has_told = true;
    pthread_cond_signal(&d->told);
    pthread_mutex_unlock(&d->lock);
}

static void *run(void *argument) {
    struct doors *d = argument;
    publish_reader_register();
    int r = doors_make(d);
    tell_start(d, r);
    if (r != 0 && d->ring)
        doors_begin_stop(d);
    r = d->ring ? 0 : -ENODEV;
    while (r == 0 &&
           !(d->stopping && list_empty(&d->locals) && (!d->outside || outside_idle(d->outside)) && ring_in_flight(d->ring) == 0))
        r = doors_turn(d);
    if (r < 0 && d->ring)
        unreachable_because("the doors' ring does not turn");
    publish_reader_unregister();
    for (size_t i = 0; i < array_size(d->doors); i++)
        d->doors[i].fd = d->doors[i].doors ? fd_close(d->doors[i].fd) : -1;
    if (d->trust_mail)
        mail_free(&take_ptr(d->trust_mail)->mail);
    d->outside = outside_free(d->outside);
    vault_deinit(&d->vault);
    d->ring = ring_free(d->ring);
    return NULL;
}

static struct doors *doors_free(struct doors *d) {
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->told);
    free(d);
    return NULL;
}

int doors_start(const struct doors_options *o, struct doors **ret, char why[256]) {
    struct doors *d = calloc(1, sizeof(*d));
    if (!d)
        return err_origin(-ENOMEM);
    *d = (struct doors){.o = *o, .stats = o->stats};
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->told, NULL);
    struct list *lists[] = {&d->locals, &d->touched, &d->dead, &d->calls};
    for (size_t i = 0; i < array_size(lists); i++)
        list_init(lists[i]);
    asks_init(&d->asks, o->ca, o->mailbox);
    rng_seed_random(&d->rng);
    int r = thread_start(&d->thread, "rw-doors", run, d);
    if (r < 0) {
        doors_free(d);
        return err_trace(r);
    }
    pthread_mutex_lock(&d->lock);
    while (!d->has_told)
        pthread_cond_wait(&d->told, &d->lock);
    r = d->start;
    pthread_mutex_unlock(&d->lock);
    if (r == 0) {
        *ret = d;
        return 0;
    }
    thread_join(d->thread);
    snprintf(why, 256, "%s", d->why);
    doors_free(d);
    return r;
}

struct doors *doors_stop(struct doors *d) {
    if (!d)
        return NULL;
    mailbox_close(d->o.mailbox);
    thread_join(d->thread);
    return doors_free(d);
}
