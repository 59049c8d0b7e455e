/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a thread has its name and takes no signals, and its creator's mask is left alone; one that works in the
 * background says so to the kernel, for itself alone, until another thread keeps it from going on. Method: look from inside. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/thread.h>

#include "unit.h"

struct seen {
    char name[16];
    sigset_t blocked;
};

static void *look(void *p) {
    struct seen *seen = p;
    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    return NULL;
}

static void name_and_mask(void **state) {
    struct seen seen = {0};
    sigset_t before, after;
    pthread_t t;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&t, "fifteen-letters", look, &seen), 0);
    thread_join(t);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_string_equal(seen.name, "fifteen-letters");
    assert_true(sigismember(&seen.blocked, SIGTERM) && sigismember(&seen.blocked, SIGPIPE) && sigismember(&seen.blocked, SIGHUP));
    assert_false(sigismember(&seen.blocked, SIGSEGV) || sigismember(&seen.blocked, SIGABRT));
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void long_name(void *unused) {
    pthread_t t;
    ignore_result(thread_start(&t, "sixteen-letters-", look, NULL)); /* does not return */
}

static void long_names_are_our_mistake(void **state) { assert_true(unit_dies(long_name, NULL)); }

struct schedule {
    int policy, nice;
};

static struct schedule schedule_now(void) { return (struct schedule){sched_getscheduler(0), getpriority(PRIO_PROCESS, 0)}; }

static void stay_on(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

struct background {
    int cpu;
    struct thread_background b;
    struct schedule before, behind, undisturbed, starved;
    atomic_bool spins, ends;
};

static void *spin(void *p) {
    struct background *g = p;
    stay_on(g->cpu);
    atomic_store(&g->spins, true);
    while (!atomic_load(&g->ends))
        ;
    return NULL;
}

static void *work_in_background(void *p) {
    struct background *g = p;
    pthread_t other;
    stay_on(g->cpu);
    g->before = schedule_now();
    assert_int_equal(thread_start(&other, "spin", spin, g), 0); /* now: threads inherit their creator's schedule */
    thread_background_init(&g->b);
    thread_background_look(&g->b); /* before any begin: nothing */
    thread_background_begin(&g->b);
    g->behind = schedule_now();
    thread_background_look(&g->b);
    g->undisturbed = schedule_now(); /* so soon nothing is known */
    uint64_t give_up_ns = clock_mono_ns() + 60 * NS_PER_S;
    while (g->b.behind && g->b.can_return && clock_mono_ns() < give_up_ns) {
        if (atomic_load(&g->spins))
            thread_background_look(&g->b);
        else
            thread_background_begin(&g->b); /* what passed before was no starving */
    }
    g->starved = schedule_now();
    atomic_store(&g->ends, true);
    thread_join(other);
    return NULL;
}

/* One thread works behind, another spins on the same processor. */
static void background_gives_way_but_is_not_starved(void **state) {
    struct background g = {.cpu = sched_getcpu()};
    struct schedule ours = schedule_now(), after;
    pthread_t t;
    assert_int_equal(thread_start(&t, "background", work_in_background, &g), 0);
    thread_join(t);
    after = schedule_now();
    assert_memory_equal(&after, &ours, sizeof(ours));
    if (g.behind.policy != SCHED_BATCH) { /* a sandbox that forbids it: nothing has changed */
        assert_memory_equal(&g.behind, &g.before, sizeof(g.before));
        skip();
    }
    assert_true(g.behind.nice >= 10 && g.behind.nice > g.before.nice);
    assert_memory_equal(&g.undisturbed, &g.behind, sizeof(g.behind));
    if (g.b.can_return)
        assert_memory_equal(&g.starved, &g.before, sizeof(g.before));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(name_and_mask), cmocka_unit_test(long_names_are_our_mistake),
                                       cmocka_unit_test(background_gives_way_but_is_not_starved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
