/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_pin.c - goal: no node name leads out of the pin folder, none that is allowed is refused, two never share one.
 * Method: names against the folder text; directories walked in a scratch folder. No privilege needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../src/capture/private.h"

static void test_node_folder(void **state) {
    static const struct {
        const char *node, *dir; /* dir NULL: refused */
    } names[] = {
        {"node-1", "/bpf/node-1"},
        {"node-1.example.com", "/bpf/node-1+example+com"},
        {"A_z-0.9", "/bpf/A_z-0+9"},
        {".", "/bpf/+"},
        {"..", "/bpf/++"},
        {"", NULL},
        {NULL, NULL},
        {"a/b", NULL},
        {"a b", NULL},
        {"a+b", NULL},
        {"n\xc3\xb6"
         "de",
         NULL},
        {"a\nb", NULL},
    };
    for (size_t i = 0; i < array_size(names); i++) {
        char dir[CAPTURE_PATH_BYTES], why[CAPTURE_WHY_BYTES] = "";
        int r = pin_node_dir("/bpf", names[i].node, dir, why);
        assert_int_equal(r, names[i].dir ? 0 : -EINVAL);
        if (names[i].dir)
            assert_string_equal(dir, names[i].dir);
        else
            assert_non_null(strstr(why, "`node`"));
    }
    char dir[CAPTURE_PATH_BYTES], why[CAPTURE_WHY_BYTES], longest[NAME_MAX + 2];
    memset(longest, 'n', sizeof(longest));
    longest[NAME_MAX + 1] = '\0';
    assert_int_equal(pin_node_dir("/bpf", longest, dir, why), -EINVAL);
    longest[NAME_MAX] = '\0';
    assert_int_equal(pin_node_dir("/bpf", longest, dir, why), 0);
    assert_int_equal(pin_node_dir("bpf", "node", dir, why), -EINVAL); /* where would that be */
    assert_int_equal(pin_node_dir(NULL, "node", dir, why), -EINVAL);
}

static void test_path_is_bounded(void **state) {
    char path[CAPTURE_PATH_BYTES];
    assert_int_equal(pin_path(path, "%s/%d", "a", 7), 0);
    assert_string_equal(path, "a/7");
    assert_int_equal(pin_path(path, "%*d", CAPTURE_PATH_BYTES, 1), -ENAMETOOLONG);
    assert_int_equal(pin_path(path, "%*d", CAPTURE_PATH_BYTES - 1, 1), 0);
}

static int note(const char *dir, const char *name, void *context) {
    unsigned *seen = context;
    assert_int_equal(strlen(name), 1);
    *seen |= 1u << (name[0] - 'a');
    return name[0] == 'c' ? 5 : 0;
}

static void test_each(void **state) {
    char dir[] = P_tmpdir "/rw-capture-XXXXXX", path[CAPTURE_PATH_BYTES];
    assert_non_null(mkdtemp(dir));
    unsigned seen = 0;
    assert_int_equal(pin_each(dir, note, &seen), 0);
    assert_int_equal(seen, 0);
    static const char *const names[] = {"a", "b", ".hidden"};
    for (size_t i = 0; i < array_size(names); i++) {
        assert_int_equal(pin_path(path, "%s/%s", dir, names[i]), 0);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_int_equal(pin_each(dir, note, &seen), 0);
    assert_int_equal(seen, 3);
    assert_int_equal(pin_path(path, "%s/c", dir), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(pin_each(dir, note, &seen), 5); /* stops, and says with what */
    assert_false(pin_is_bpffs(dir));
    assert_int_equal(rmdir(path), 0);
    for (size_t i = 0; i < array_size(names); i++) {
        assert_int_equal(pin_path(path, "%s/%s", dir, names[i]), 0);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(pin_each(dir, note, &seen), 0); /* not there is empty */
    assert_int_equal(pin_each("/dev/null", note, &seen), -ENOTDIR);
}

static void test_lock_is_one_daemons(void **state) {
    char dir[] = P_tmpdir "/rw-capture-XXXXXX", why[CAPTURE_WHY_BYTES] = "";
    assert_non_null(mkdtemp(dir));
    int first = -1, second = -1;
    assert_int_equal(pin_lock(dir, &first, why), 0);
    assert_int_equal(pin_lock(dir, &second, why), -EWOULDBLOCK);
    assert_int_equal(second, -1);
    assert_non_null(strstr(why, "another ringwall"));
    first = fd_close(first);
    assert_int_equal(pin_lock(dir, &second, why), 0);
    fd_close(second);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(pin_lock(dir, &first, why), -ENOENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_node_folder), cmocka_unit_test(test_path_is_bounded),
                                       cmocka_unit_test(test_each), cmocka_unit_test(test_lock_is_one_daemons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
