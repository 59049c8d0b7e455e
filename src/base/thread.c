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
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
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

enum {
    BACKGROUND_NICE = 19,
    BACKGROUND_NICE_FOR_GOOD = 10,
    BACKGROUND_SLICE_NS = 100 * 1000,
    STARVED_PART = 4, /* of the time that passed, the thread ran less than a quarter */
};
static const uint64_t STARVED_NS = 100 * NS_PER_MS;

/* Nice alone does not do: a thread that runs keeps its processor for a whole slice, milliseconds, whoever wakes. From Linux
 * 6.12 on a thread may ask for shorter slices; before that the field is not looked at. */
static bool schedule(uint32_t policy, int nice, uint64_t slice_ns) {
    struct { /* the kernel's struct sched_attr, which C libraries have or have not */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice_ns, deadline_ns, period_ns;
    } attr = {.size = sizeof(attr), .policy = policy, .nice = nice, .slice_ns = slice_ns};
    return syscall(SYS_sched_setattr, 0, &attr, 0) == 0;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void thread_background_init(struct thread_background *b) {
    *b = (struct thread_background){.nice = getpriority(PRIO_PROCESS, 0)};
    b->can_return = b->nice < BACKGROUND_NICE && schedule(SCHED_OTHER, b->nice + 1, 0) && schedule(SCHED_OTHER, b->nice, 0);
}

void thread_background_begin(struct thread_background *b) {
    b->began_ns = clock_mono_ns();
    b->began_cpu_ns = cpu_ns();
    if (!b->behind)
        b->behind = schedule(SCHED_BATCH, b->can_return ? BACKGROUND_NICE : max_of(b->nice, (int)BACKGROUND_NICE_FOR_GOOD),
                             BACKGROUND_SLICE_NS);
}

void thread_background_look(struct thread_background *b) {
    uint64_t passed_ns = clock_mono_ns() - b->began_ns;
    if (b->can_return && b->behind && passed_ns > STARVED_NS && (cpu_ns() - b->began_cpu_ns) * STARVED_PART < passed_ns)
        b->behind = !schedule(SCHED_OTHER, b->nice, 0);
}

void thread_join(pthread_t t) { check(pthread_join(t, NULL) == 0); }
