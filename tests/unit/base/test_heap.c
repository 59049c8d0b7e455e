/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: memory that was freed goes back to the kernel when it is asked for, also that of a thread with an arena of its own, which
 * nobody else's trimming touches. Method: the resident size by the kernel's account around a lot of small objects, with the
 * allocator of the programs; without it the calls must simply do nothing. */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/heap.h>
#include <ringwall/base/thread.h>

#include "unit.h"

int mallctl(const char *name, void *old, size_t *old_n, void *new, size_t new_n) __attribute__((weak));

enum { N = 20000, EACH = 1000 };

static size_t resident_kib(void) {
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    assert_non_null(f);
    char line[256];
    size_t kib = 0;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "Anonymous: %zu", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static void fill_and_empty(void) {
    static _Thread_local void *all[N];
    size_t before = resident_kib();
    for (size_t i = 0; i < N; i++) {
        all[i] = malloc(EACH);
        assert_non_null(all[i]);
        memset(all[i], 'x', EACH);
    }
    assert_true(resident_kib() >= before + N * EACH / 1024 / 10 * 9);
    for (size_t i = 0; i < N; i++)
        free(all[i]);
    heap_trim(false);
    heap_trim(true);
    if (mallctl)
        assert_true(resident_kib() <= before + N * EACH / 1024 / 10);
}

static void what_is_free_goes_back(void **state) {
    for (unsigned round = 0; round < 3; round++)
        fill_and_empty();
}

static unsigned arena(void) {
    unsigned a = 0;
    size_t n = sizeof(a);
    if (mallctl)
        assert_int_equal(mallctl("thread.arena", &a, &n, NULL, 0), 0);
    return a;
}

static void *alone(void *argument) {
    unsigned *ret = argument;
    heap_own_arena();
    *ret = arena();
    fill_and_empty();
    return NULL;
}

static void a_thread_has_its_own(void **state) {
    unsigned theirs = 0;
    pthread_t t;
    assert_int_equal(thread_start(&t, "alone", alone, &theirs), 0);
    thread_join(t);
    if (mallctl)
        assert_int_not_equal(theirs, arena());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_free_goes_back),
        cmocka_unit_test(a_thread_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
