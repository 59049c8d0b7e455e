/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/thread.c - see thread.h
 *
 * The mask is set in the creator around pthread_create, so there is no moment in which the new thread could take a
 * signal. Faults stay open: blocked, they would kill without a word from a sanitizer's handler. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>

enum { THREAD_NAME_BYTES = 16 };

struct thread_begin {
    char name[THREAD_NAME_BYTES];
    void *(*run)(void *);
    void *argument;
};

static void *thread_main(void *p) {
    struct thread_begin begin = *(struct thread_begin *)p;
    free(p);
    ignore_result(pthread_setname_np(pthread_self(), begin.name)); /* a name is a courtesy */
    return begin.run(begin.argument);
}

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *argument) {
    check(strlen(name) < THREAD_NAME_BYTES);
    cleanup_free struct thread_begin *begin = calloc(1, sizeof(*begin));
    if (!begin)
        return err_origin(-ENOMEM);
    snprintf(begin->name, sizeof(begin->name), "%s", name);
    begin->run = run;
    begin->argument = argument;

    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < array_size(faults); i++)
        sigdelset(&blocked, faults[i]);
    check(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
    pthread_t t;
    int r = pthread_create(&t, NULL, thread_main, begin);
    check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (r)
        return err_origin(-r);
    ignore_result(take_ptr(begin)); /* the thread's now */
    *ret = t;
    return 0;
}

/* Nice alone does not do: a thread that runs keeps its processor for a whole slice, milliseconds, whoever wakes. From Linux
 * 6.12 on a thread may ask for shorter slices; before that the field is not looked at. */
bool thread_to_background(void) {
    enum { BACKGROUND_NICE = 10, BACKGROUND_SLICE_NS = 100 * 1000 };
    struct { /* the kernel's struct sched_attr, which C libraries have or have not */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice_ns, deadline_ns, period_ns;
    } attr = {.size = sizeof(attr), .policy = SCHED_BATCH, .nice = BACKGROUND_NICE, .slice_ns = BACKGROUND_SLICE_NS};
    return syscall(SYS_sched_setattr, 0, &attr, 0) == 0;
}

void thread_join(pthread_t t) { check(pthread_join(t, NULL) == 0); }
