/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a thread has its name and takes no signals, and its creator's mask is left alone. Method: look from inside. */
#include <signal.h>
#include <string.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(name_and_mask), cmocka_unit_test(long_names_are_our_mistake)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
