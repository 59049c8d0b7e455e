/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what the library holds is counted for all threads, bounded, and wiped when it is given back.
 * Method: the library's own allocation functions, called as it calls them. */
#include <pthread.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/tls/session.h>

#include "library.h"
#include "unit.h"

static int group_setup(void **state) { return tls_library_init(); }

static void test_text(void **state) {
    char text[128], cut[8];
    assert_ptr_equal(tls_library_text(text, sizeof(text)), text);
    assert_true(!strncmp(text, "wolfSSL 5.", 10));
    assert_non_null(strstr(text, "AES"));
    assert_true(strlen(tls_library_text(cut, sizeof(cut))) < sizeof(cut));
}

static void test_count(void **state) {
    size_t before = tls_memory_used();
    void *at = wolfSSL_Malloc(100000);
    assert_in_range(tls_memory_used(), before + 100000, before + 110000);
    at = wolfSSL_Realloc(at, 200000);
    assert_in_range(tls_memory_used(), before + 200000, before + 220000);
    wolfSSL_Free(at);
    assert_int_equal(tls_memory_used(), before);
    wolfSSL_Free(NULL);
    at = wolfSSL_Realloc(NULL, 10);
    assert_non_null(at);
    wolfSSL_Free(at);
}

static void test_limit(void **state) {
    void *held = wolfSSL_Malloc(1 << 20);
    size_t used = tls_memory_used();
    tls_memory_limit(used + 1000);
    assert_true(library_memory_left());
    tls_memory_limit(used);
    assert_false(library_memory_left());
    void *within = wolfSSL_Malloc(used / 16), *beyond = wolfSSL_Malloc(used / 4);
    assert_non_null(within); /* a handshake under way may end */
    assert_null(beyond);
    void *same = wolfSSL_Realloc(held, used); /* fails: the block stays as it was */
    assert_null(same);
    tls_memory_limit(SIZE_MAX);
    wolfSSL_Free(within);
    wolfSSL_Free(held);
    assert_true(library_memory_left());
    assert_null(wolfSSL_Malloc(SIZE_MAX / 2));
}

static void *allocate_much(void *unused) {
    for (int i = 0; i < 2000; i++) {
        void *a = wolfSSL_Malloc(20000), *b = wolfSSL_Malloc(100);
        wolfSSL_Free(a);
        wolfSSL_Free(b);
    }
    return NULL;
}

static void test_threads(void **state) {
    size_t before = tls_memory_used();
    pthread_t threads[4];
    for (size_t i = 0; i < array_size(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_much, NULL), 0);
    for (size_t i = 0; i < array_size(threads); i++)
        pthread_join(threads[i], NULL);
    /* Each may leave less than a step behind. */
    assert_in_range(tls_memory_used() + 4 * 33 * 1024, before, before + 8 * 33 * 1024);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
