/* SPDX-License-Identifier: GPL-3.0-or-later
 * resolve.c - see resolve.h */
#include "resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>

struct lookup {
    _Atomic unsigned n_refs; /* the asker and the thread */
    _Atomic bool done;       /* released by the thread after `result` */
    int event;
    char host[RESOLVE_HOST_BYTES], port[8];
    struct resolved result;
};

static _Atomic unsigned n_alive;

struct lookup *lookup_leave(struct lookup *l) {
    if (l && atomic_fetch_sub_explicit(&l->n_refs, 1, memory_order_acq_rel) == 1) {
        fd_close(l->event);
        free(l);
    }
    return NULL;
}

static void look_up(struct lookup *l) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG}, *list = NULL;
    int r = getaddrinfo(l->host, l->port, &hints, &list);
    if (r == 0)
        for (struct addrinfo *i = list; i && l->result.n < RESOLVE_ADDRS_MAX; i = i->ai_next)
            if (i->ai_addrlen <= sizeof(l->result.addrs[0])) {
                memcpy(&l->result.addrs[l->result.n], i->ai_addr, i->ai_addrlen);
                l->result.lengths[l->result.n++] = i->ai_addrlen;
            }
    if (list)
        freeaddrinfo(list);
    if (l->result.n == 0)
        l->result.why = r == EAI_NONAME   ? "no such host"
                        : r == EAI_AGAIN  ? "the name server does not answer"
                        : r == EAI_FAIL   ? "the name server refuses"
                        : r == EAI_MEMORY ? "no memory"
                                          : "the name cannot be looked up";
}

static void *run(void *argument) {
    struct lookup *l = argument;
    look_up(l);
    atomic_store_explicit(&l->done, true, memory_order_release);
    ignore_result(eventfd_write(l->event, 1)); /* a fresh counter cannot overflow */
    lookup_leave(l);
    atomic_fetch_sub_explicit(&n_alive, 1, memory_order_relaxed);
    return NULL;
}

int lookup_start(const char *host, uint16_t port, struct lookup **ret) {
    if (atomic_fetch_add_explicit(&n_alive, 1, memory_order_relaxed) >= RESOLVE_THREADS_MAX) {
        atomic_fetch_sub_explicit(&n_alive, 1, memory_order_relaxed);
        return 1;
    }
    struct lookup *l = calloc(1, sizeof(*l));
    int r = l ? 0 : -ENOMEM;
    if (l) {
        pthread_t thread;
        l->n_refs = 2;
        l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        snprintf(l->host, sizeof(l->host), "%s", host);
        snprintf(l->port, sizeof(l->port), "%u", (unsigned)port);
        r = l->event < 0 ? -errno : thread_start(&thread, "rw-resolve", run, l);
        if (r == 0)
            pthread_detach(thread);
    }
    if (r == 0) {
        *ret = l;
        return 0;
    }
    if (l)
        fd_close(l->event);
    free(l);
    atomic_fetch_sub_explicit(&n_alive, 1, memory_order_relaxed);
    return err_origin(r);
}

int lookup_fd(const struct lookup *l) { return l->event; }

bool lookup_done(const struct lookup *l, struct resolved *ret) {
    if (!atomic_load_explicit(&l->done, memory_order_acquire))
        return false;
    *ret = l->result;
    return true;
}
