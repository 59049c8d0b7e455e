/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/mailbox.c - see mailbox.h
 *
 * A mutex guards a linked list; it is held for a handful of instructions, never across a system call of the data path
 * other than the eventfd's, so nobody waits for the other side's work. The eventfd is written once between two clears
 * however many messages come: `raised` says that it is. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/mailbox.h>

struct mailbox {
    atomic_uint n_refs;
    pthread_mutex_t lock;
    const char *name;
    int event;
    size_t n, n_max;
    struct mail *first, *last; /* NULL: empty */
    bool closed;
    bool raised;
    _Atomic uint64_t n_refused;
};

struct mail *mail_free(struct mail *m) {
    if (!m)
        return NULL;
    check(m->type && m->type->free);
    return m->type->free(m);
}

struct mailbox *mailbox_new(const char *name, size_t n_max) {
    check(n_max > 0);
    struct mailbox *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->event < 0) {
        free(b);
        return NULL;
    }
    check(pthread_mutex_init(&b->lock, NULL) == 0);
    b->name = name;
    b->n_max = n_max;
    atomic_init(&b->n_refs, 1);
    return b;
}

struct mailbox *mailbox_ref(struct mailbox *b) {
    if (b)
        check(atomic_fetch_add_explicit(&b->n_refs, 1, memory_order_relaxed) > 0);
    return b;
}

struct mailbox *mailbox_unref(struct mailbox *b) {
    if (!b || atomic_fetch_sub_explicit(&b->n_refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    while (b->first) {
        struct mail *m = b->first;
        b->first = m->next;
        m->next = NULL;
        mail_free(m);
    }
    fd_close(b->event);
    check(pthread_mutex_destroy(&b->lock) == 0);
    free(b);
    return NULL;
}

static void raise_locked(struct mailbox *b) {
    if (b->raised)
        return;
    uint64_t one = 1;
    ssize_t r;
    do
        r = write(b->event, &one, sizeof(one));
    while (r < 0 && errno == EINTR);
    /* EAGAIN: the count is at its end, so it is readable anyway. */
    check(r == sizeof(one) || errno == EAGAIN);
    b->raised = true;
}

int mailbox_post(struct mailbox *b, struct mail *m) {
    int verdict = 0;
    check(m && m->type);
    pthread_mutex_lock(&b->lock);
    if (b->closed) {
        verdict = 2;
    } else if (b->n >= b->n_max) {
        atomic_fetch_add_explicit(&b->n_refused, 1, memory_order_relaxed);
        verdict = 1;
    } else {
        m->next = NULL;
        *(b->last ? &b->last->next : &b->first) = m;
        b->last = m;
        b->n++;
        raise_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
    return verdict;
}

void mailbox_close(struct mailbox *b) {
    pthread_mutex_lock(&b->lock);
    b->closed = true;
    raise_locked(b); /* a consumer in mailbox_wait is to see it */
    pthread_mutex_unlock(&b->lock);
}

int mailbox_eventfd(const struct mailbox *b) { return b->event; }

void mailbox_clear_event(struct mailbox *b) {
    uint64_t count;
    pthread_mutex_lock(&b->lock);
    ignore_result(read(b->event, &count, sizeof(count))); /* EAGAIN: a ring read it before us */
    b->raised = false;
    pthread_mutex_unlock(&b->lock);
}

void mailbox_raise_event(struct mailbox *b) {
    pthread_mutex_lock(&b->lock);
    b->raised = false;
    raise_locked(b);
    pthread_mutex_unlock(&b->lock);
}

struct mail *mailbox_take(struct mailbox *b) {
    pthread_mutex_lock(&b->lock);
    struct mail *m = b->first;
    if (m) {
        b->first = m->next;
        if (!b->first)
            b->last = NULL;
        b->n--;
        m->next = NULL;
    }
    pthread_mutex_unlock(&b->lock);
    return m;
}

bool mailbox_closed(struct mailbox *b) {
    pthread_mutex_lock(&b->lock);
    bool closed = b->closed;
    pthread_mutex_unlock(&b->lock);
    return closed;
}

/* The real clock even where a test simulates one: poll waits in real time. */
static int64_t now_ms(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct mail *mailbox_wait(struct mailbox *b, int timeout_ms) {
    int64_t end_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
    for (;;) {
        struct mail *m = mailbox_take(b);
        if (m)
            return m;
        bool closed = mailbox_closed(b);
        mailbox_clear_event(b);
        m = mailbox_take(b);
        if (m || closed || timeout_ms == 0)
            return m;
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - now_ms();
        if (timeout_ms > 0 && left_ms <= 0)
            return NULL;
        struct pollfd p = {.fd = b->event, .events = POLLIN};
        check(poll(&p, 1, (int)left_ms) >= 0 || errno == EINTR);
    }
}

uint64_t mailbox_refused(const struct mailbox *b) { return atomic_load_explicit(&b->n_refused, memory_order_relaxed); }
