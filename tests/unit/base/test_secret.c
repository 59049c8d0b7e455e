/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: secrets lie in pages of their own that neither a core file nor a child sees, locked where that is allowed, separate from
 * each other, and are gone when freed, also where few addresses are to be had; blocks for a foreign library the same, of every
 * size, from several threads. Method: the flags of the mapping in /proc/self/smaps, a forked child, one with few addresses
 * (RLIMIT_AS), wiped memory looked at; blocks taken and given at random, each full of its own number. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

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

/* Sanitizers turn mlock into nothing. */
static bool may_lock(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#endif
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    bool may = mlock(page, 4096) == 0;
    munmap(page, 4096);
    return may;
}

static void pages_are_left_out(void **state) {
    static const size_t sizes[] = {1, 32, 256, 257, 1025, 5000, SECRET_BLOCK_MAX, SECRET_BLOCK_MAX + 1, 100000};
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
        assert_true(!may_lock() || strstr(flags, " lo"));
        secret_deinit(&s);
        assert_null(s.at);
        secret_deinit(&s);
    }
}

static void read_secret(void *s) {
    volatile uint8_t byte = *((struct secret *)s)->at;
    (void)byte;
}

static void use_own(void *parents) {
    struct secret s;
    if (secret_copy(&s, "key", 3) != 0 || !secret_holds(s.at) || memcmp(s.at, "key", 4) != 0)
        _exit(1);
    secret_deinit(&s);
}

static void children_see_nothing(void **state) {
    struct secret s;
    assert_int_equal(secret_copy(&s, "key", 3), 0);
    assert_memory_equal(s.at, "key", 3);
    assert_true(unit_dies(read_secret, &s));
    assert_false(unit_dies(use_own, &s));
    assert_memory_equal(s.at, "key", 3);
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
    uint8_t left[121];
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC); /* a sanitizer minds when we look ourselves */
    assert_int_equal(pread(memory, left, sizeof(left), (off_t)(uintptr_t)place), sizeof(left));
    close(memory);
    for (size_t j = 0; j < 121; j++)
        assert_int_equal(left[j], 0);
    assert_int_equal(secret_new(&secrets[1], 200), 0);
    for (size_t j = 0; j < 200; j++)
        assert_int_equal(secrets[1].at[j], 0);
    const uint8_t *first = secrets[0].at;
    assert_true(secret_holds(first));
    for (int i = 0; i < N; i++)
        secret_deinit(&secrets[i]);
}

/* Asked of the kernel, which no sanitizer watches. */
static bool readable(void *at) {
    uint8_t byte;
    struct iovec here = {&byte, 1}, there = {at, 1};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

static void what_is_not_used_is_given_back(void **state) {
    static const size_t sizes[] = {256, 1024, 4200, SECRET_BLOCK_MAX};
    enum { N = 1000 };
    static void *blocks[N];
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
        for (int turn = 0; turn < 2; turn++) {
            for (int i = 0; i < N; i++)
                assert_non_null(blocks[i] = secret_take(sizes[k]));
            for (int i = 0; i < N; i++) {
                assert_true(readable(blocks[i]));
                secret_give(blocks[i]);
            }
            size_t n_left = 0;
            for (int i = 0; i < N; i++)
                n_left += readable(blocks[i]);
            assert_in_range(n_left * sizes[k], 0, 32 * 1024); /* one chunk may wait */
        }
}

static void blocks(void **state) {
    int on_stack;
    assert_false(secret_holds(NULL));
    assert_false(secret_holds(&on_stack));
    assert_null(secret_take(SECRET_BLOCK_MAX + 1));
    assert_null(secret_take(SIZE_MAX));
    uint8_t *at = secret_take(4200);
    assert_true(secret_holds(at) && secret_holds(at + 4199));
    assert_in_range(secret_room(at), 4200, 4300);
    assert_int_equal((uintptr_t)at % 64, 0);
    secret_give(at);
}

static void give_twice(void *at) {
    secret_give(at);
    secret_give(at);
}
static void give_inside(void *at) { secret_give((uint8_t *)at + 64); }
static void give_foreign(void *at) { secret_give(&(int){0}); }

static void misuse_is_noticed(void **state) {
    void *at = secret_take(200);
    assert_true(unit_dies(give_twice, at)); /* a child has no such memory, either */
    assert_true(unit_dies(give_inside, at));
    assert_true(unit_dies(give_foreign, at));
    secret_give(at);
}

enum { HELD = 64, STEPS = 20000 };

static const char *take_and_give_as(uintptr_t seed) {
    unsigned random = (unsigned)seed;
    struct {
        uint8_t *at, mark;
        size_t n;
    } held[HELD] = {0};
    for (int step = 0; step < STEPS; step++) {
        random = random * 1103515245 + 12345;
        unsigned i = random >> 16 & (HELD - 1);
        if (held[i].at) {
            for (size_t j = 0; j < held[i].n; j++)
                if (held[i].at[j] != held[i].mark)
                    return "another's bytes";
            secret_give(held[i].at);
            held[i].at = NULL;
            continue;
        }
        held[i].n = 1 + (random >> 8) % (step % 3 ? 256 : SECRET_BLOCK_MAX);
        held[i].mark = (uint8_t)(random >> 5 | 1);
        held[i].at = secret_take(held[i].n);
        if (!held[i].at)
            return "no block";
        for (size_t j = 0; j < held[i].n; j++)
            if (held[i].at[j] != 0)
                return "not zero";
        memset(held[i].at, held[i].mark, held[i].n);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i].at)
            secret_give(held[i].at);
    return NULL;
}

static void *take_and_give(void *ret) {
    const char **wrong = ret;
    *wrong = take_and_give_as((uintptr_t)ret);
    return NULL;
}

static void threads_share_it(void **state) {
    pthread_t threads[4];
    const char *wrong[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &wrong[i]), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 4; i++)
        if (wrong[i])
            fail_msg("%s", wrong[i]);
}

/* How much of the address space is in use. */
static size_t addresses_used(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%lu", &pages) != 1)
        _exit(1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

enum { MIB = 1024 * 1024, KEYS = 2000 };

/* In a child, which reserves anew: `more` bytes of addresses beyond those in use. */
static void live_within(void *more) {
    struct rlimit addresses = {0};
    struct secret keys[KEYS];
    addresses.rlim_cur = addresses.rlim_max = addresses_used() + *(size_t *)more;
    if (setrlimit(RLIMIT_AS, &addresses) < 0)
        _exit(1);
    size_t range = secret_range();
    if (range < MIB || range > max_of((size_t)addresses.rlim_cur / 8, (size_t)MIB) || range > *(size_t *)more)
        _exit(1);
    for (int i = 0; i < KEYS; i++)
        if (secret_new(&keys[i], 121) != 0 || !secret_holds(keys[i].at) || !memset(keys[i].at, i, keys[i].n))
            _exit(1);
    for (int i = 0; i < KEYS; i++)
        for (size_t j = 0; j < keys[i].n; j++)
            if (keys[i].at[j] != (uint8_t)i)
                _exit(1);
    for (int i = 0; i < KEYS; i++)
        secret_deinit(&keys[i]);
}

/* What it has room for, and not a block more; all of it given back can be taken again. */
static void end_at_the_bound(void *more) {
    struct rlimit addresses = {0};
    size_t n_max = 0, n = 0, room = *(size_t *)more / 256 * sizeof(void *); /* first of all: the range may take all that is left */
    void **blocks = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    addresses.rlim_cur = addresses.rlim_max = addresses_used() + *(size_t *)more;
    if (blocks == MAP_FAILED || setrlimit(RLIMIT_AS, &addresses) < 0 || (n_max = secret_range() / 256) == 0)
        _exit(1);
    for (int turn = 0; turn < 2; turn++) {
        for (n = 0; n < n_max && (blocks[n] = secret_take(200)); n++)
            ;
        if (n != n_max || secret_take(200))
            _exit(1);
        while (n > 0)
            secret_give(blocks[--n]);
    }
}

static void few_addresses_suffice(void **state) {
    static const size_t left[] = {4 * MIB, 64 * MIB, 900 * (size_t)MIB, 3000 * (size_t)MIB};
    assert_int_equal(secret_range(), SECRET_RANGE_MAX);
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
        assert_false(unit_dies(live_within, (void *)&left[i]));
    assert_false(unit_dies(end_at_the_bound, (void *)&left[0]));
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
        cmocka_unit_test(what_is_not_used_is_given_back),
        cmocka_unit_test(blocks),
        cmocka_unit_test(misuse_is_noticed),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(few_addresses_suffice),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
