/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: secrets lie in pages of their own that neither a core file nor a child sees, separate from each other, and are
 * gone when freed. Method: the flags of the mapping in /proc/self/smaps, a forked child, wiped memory looked at. */
#include <stdio.h>
#include <string.h>

#include <ringwall/base/secret.h>

#include "unit.h"

/* The VmFlags line of the mapping that holds `at`; false: no such mapping. */
static bool flags_of(const void *at, char out[256]) {
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    char line[1024];
    bool inside = false, found = false;
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (uintptr_t)at >= from && (uintptr_t)at < to;
        else if (inside && !strncmp(line, "VmFlags:", 8)) {
            snprintf(out, 256, "%.200s", line);
            found = true;
        }
    }
    fclose(f);
    return found;
}

static void pages_are_left_out(void **state) {
    static const size_t sizes[] = {1, 32, 256, 257, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct secret s;
        char flags[256];
        assert_int_equal(secret_new(&s, sizes[i]), 0);
        assert_int_equal(s.n, sizes[i]);
        for (size_t j = 0; j < s.n; j++)
            assert_int_equal(s.at[j], 0);
        memset(s.at, 'k', s.n);
        assert_true(flags_of(s.at, flags));
        assert_non_null(strstr(flags, " dd")); /* don't dump */
        assert_non_null(strstr(flags, " dc")); /* don't copy on fork */
        secret_deinit(&s);
        assert_null(s.at);
        secret_deinit(&s);
    }
}

static void read_secret(void *s) {
    volatile uint8_t byte = *((struct secret *)s)->at;
    (void)byte;
}

static void children_see_nothing(void **state) {
    struct secret s;
    assert_int_equal(secret_copy(&s, "key", 3), 0);
    assert_memory_equal(s.at, "key", 3);
    assert_true(unit_dies(read_secret, &s));
    secret_deinit(&s);
}

static void many_are_separate_and_wiped(void **state) {
    enum { N = 500 };
    struct secret secrets[N];
    for (int i = 0; i < N; i++) {
        assert_int_equal(secret_new(&secrets[i], 121), 0);
        memset(secrets[i].at, i, 121);
    }
    for (int i = 0; i < N; i++)
        for (size_t j = 0; j < 121; j++)
            assert_int_equal(secrets[i].at[j], (uint8_t)i);
    /* Its neighbours keep the page, so the place can still be looked at. */
    const uint8_t *place = secrets[1].at;
    secret_deinit(&secrets[1]);
    for (size_t j = 0; j < 121; j++)
        assert_int_equal(place[j], 0);
    assert_int_equal(secret_new(&secrets[1], 200), 0);
    for (size_t j = 0; j < 200; j++)
        assert_int_equal(secrets[1].at[j], 0);
    const uint8_t *first = secrets[0].at;
    char flags[256];
    assert_true(flags_of(first, flags));
    for (int i = 0; i < N; i++)
        secret_deinit(&secrets[i]);
    assert_false(flags_of(first, flags) && strstr(flags, " dd"));
}

static void edges(void **state) {
    struct secret s = {.at = (uint8_t *)1}, none = SECRET_NULL;
    assert_int_not_equal(secret_new(&s, SIZE_MAX), 0);
    assert_ptr_equal(s.at, (uint8_t *)1);
    secret_deinit(&none);
    assert_int_equal(secret_new(&s, 0), 0);
    assert_non_null(s.at);
    secret_deinit(&s);
    assert_true(secret_equal("abc", "abc", 3));
    assert_false(secret_equal("abc", "abd", 3));
    assert_false(secret_equal("xbc", "abc", 3));
    assert_true(secret_equal(NULL, NULL, 0));
    char bytes[4] = "abc";
    secret_wipe(bytes, 3);
    assert_memory_equal(bytes, "\0\0\0", 4);
    secret_wipe(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_left_out),
        cmocka_unit_test(children_see_nothing),
        cmocka_unit_test(many_are_separate_and_wiped),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
