/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a thread has its name and takes no signals, and its creator's mask is left alone; one that gives way is alone in that.
 * Method: look from inside. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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
    bool asked;
    int policy, nice;
};

static struct schedule schedule_now(void) {
    errno = 0;
    return (struct schedule){.policy = sched_getscheduler(0), .nice = getpriority(PRIO_PROCESS, (id_t)gettid())};
}

static void *give_way(void *p) {
    struct schedule *seen = p;
    bool asked = thread_to_background();
    *seen = schedule_now();
    seen->asked = asked;
    return NULL;
}

static void background_is_the_thread_s_own(void **state) {
    struct schedule before = schedule_now(), seen = {0}, after;
    pthread_t t;
    assert_int_equal(thread_start(&t, "background", give_way, &seen), 0);
    thread_join(t);
    after = schedule_now();
    if (seen.asked) {
        assert_int_equal(seen.policy, SCHED_BATCH);
        assert_int_equal(seen.nice, 10);
    } else { /* a sandbox that forbids it: nothing has changed */
        assert_int_equal(seen.policy, before.policy);
        assert_int_equal(seen.nice, before.nice);
    }
    assert_int_equal(after.policy, before.policy);
    assert_int_equal(after.nice, before.nice);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(name_and_mask), cmocka_unit_test(long_names_are_our_mistake),
                                       cmocka_unit_test(background_is_the_thread_s_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
