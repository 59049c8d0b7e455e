/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a pool keeps its bound, hands out clean objects, notices misuse, and gives memory back. Method: acquire and
 * release in many orders, generations compared, resident memory read from mincore, misuse in a child. */
#include <string.h>
#include <sys/mman.h>

#include <ringwall/base/check.h>
#include <ringwall/base/pool.h>

#include "unit.h"

enum { MAGIC = 0x1badcafe };

struct thing {
    struct pooled pooled;
    char bytes[1000];
};

static void bound_is_kept(void **state) {
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), 3);
    assert_non_null(p);
    struct thing *things[3];
    for (int i = 0; i < 3; i++) {
        things[i] = pool_acquire(p);
        assert_non_null(things[i]);
        check_pooled(things[i], MAGIC);
    }
    assert_null(pool_acquire(p));
    assert_int_equal(pool_used(p), 3);
    assert_int_equal(pool_max(p), 3);
    pool_release(p, things[1]);
    assert_ptr_equal(pool_acquire(p), things[1]);
    for (int i = 0; i < 3; i++)
        pool_release(p, things[i]);
    pool_release(p, NULL);
    assert_int_equal(pool_used(p), 0);
}

static void objects_are_clean_and_generations_new(void **state) {
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), 1);
    uint32_t last = 0;
    for (int i = 0; i < 100; i++) {
        struct thing *t = pool_acquire(p);
        assert_non_null(t);
        for (size_t j = 0; j < sizeof(t->bytes); j++)
            assert_int_equal(t->bytes[j], 0);
        assert_true(t->pooled.generation > last);
        last = t->pooled.generation;
        memset(t->bytes, 'x', sizeof(t->bytes));
        pool_release(p, t);
        assert_int_equal(t->pooled.magic, (uint32_t)~MAGIC); /* the header of a free object may be read */
        if (i % 10 == 9)
            pool_trim(p); /* forgets pages, never a generation */
    }
}

static size_t resident_pages(const void *at, size_t n) {
    static unsigned char pages[4096];
    uintptr_t from = (uintptr_t)at / 4096 * 4096, to = ((uintptr_t)at + n + 4095) / 4096 * 4096;
    assert_true((to - from) / 4096 <= sizeof(pages));
    assert_int_equal(mincore((void *)from, to - from, pages), 0);
    size_t n_resident = 0;
    for (size_t i = 0; i < (to - from) / 4096; i++)
        n_resident += pages[i] & 1;
    return n_resident;
}

static void memory_follows_use(void **state) {
    enum { N = 4000 };
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), N);
    static struct thing *things[N];
    things[0] = pool_acquire(p);
    assert_true(resident_pages(things[0], N * 1024) <= 1);
    for (int i = 1; i < N; i++)
        things[i] = pool_acquire(p);
    assert_true(resident_pages(things[0], N * 1024) >= N / 4);
    for (int i = 1; i < N; i++)
        if (i != 2000)
            pool_release(p, things[i]);
    pool_trim(p);
    assert_true(resident_pages(things[0], N * 1024) <= 4);
    check_pooled(things[2000], MAGIC);
    memset(things[2000]->bytes, 'y', sizeof(things[2000]->bytes));
    struct thing *low = pool_acquire(p); /* trimming sorted the free list */
    assert_ptr_equal(low, things[1]);
    pool_release(p, low);
    pool_release(p, things[0]);
    pool_release(p, things[2000]);
    pool_trim(p);
    assert_int_equal(resident_pages(things[0], N * 1024), 0);
}

/* One that is busy at times keeps what it needs then; one that was busy once gives it back at the second look. */
static void unused_memory_goes_back(void **state) {
    enum { N = 4000 };
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), N);
    static struct thing *things[N];
    uint32_t first = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            things[i] = pool_acquire(p);
        first = max_of(first, things[0]->pooled.generation);
        for (int i = N; i-- > 0;)
            pool_release(p, things[i]);
        assert_false(pool_trim_unused(p));
    }
    assert_true(resident_pages(things[0], N * 1024) >= N / 4);
    assert_true(pool_trim_unused(p));
    assert_int_equal(resident_pages(things[0], N * 1024), 0);
    assert_false(pool_trim_unused(p));
    struct thing *again = pool_acquire(p); /* an empty pool forgets its table, and still no generation comes twice */
    assert_ptr_equal(again, things[0]);
    assert_true(again->pooled.generation > first);
    for (int i = 1; i < N; i++)
        things[i] = pool_acquire(p);
    assert_false(pool_trim_unused(p));
    for (int i = N / 2; i < N; i++)
        pool_release(p, things[i]);
    assert_false(pool_trim_unused(p));
    assert_true(pool_trim_unused(p));
    assert_in_range(resident_pages(things[0], N * 1024), N / 8, N / 8 + 1);
    for (int i = 0; i < N / 2; i++)
        pool_release(p, things[i]);
}

static void little_is_kept(void **state) {
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), 100);
    struct thing *things[50];
    for (int i = 0; i < 50; i++)
        things[i] = pool_acquire(p);
    for (int i = 0; i < 50; i++)
        pool_release(p, things[i]);
    for (int i = 0; i < 3; i++)
        assert_false(pool_trim_unused(p));
}

struct misuse {
    struct pool *pool;
    struct thing *thing;
};
static void release_twice(void *argument) {
    struct misuse *m = argument;
    pool_release(m->pool, m->thing);
    pool_release(m->pool, m->thing);
}
static void release_inside(void *argument) {
    struct misuse *m = argument;
    pool_release(m->pool, (char *)m->thing + 8);
}
static void release_stranger(void *argument) {
    struct thing stranger = {.pooled.magic = MAGIC};
    pool_release(((struct misuse *)argument)->pool, &stranger);
}
static void use_after_release(void *argument) {
    struct misuse *m = argument;
    pool_release(m->pool, m->thing);
    check_pooled(m->thing, MAGIC);
}
static void free_too_early(void *argument) { pool_free(((struct misuse *)argument)->pool); }

static void misuse_stops(void **state) {
    static void (*const misuses[])(void *) = {release_twice, release_inside, release_stranger, use_after_release, free_too_early};
    cleanup(pool_freep) struct pool *p = pool_new(MAGIC, sizeof(struct thing), 2);
    struct misuse m = {.pool = p, .thing = pool_acquire(p)};
    for (size_t i = 0; i < array_size(misuses); i++)
        assert_true(unit_dies(misuses[i], &m));
    pool_release(p, m.thing);
}

static void impossible_sizes_are_refused(void **state) {
    assert_null(pool_new(MAGIC, SIZE_MAX / 8, 1000));
    assert_null(pool_new(MAGIC, 64, UINT32_MAX));
    assert_null(pool_new(MAGIC, (size_t)1 << 40, 1 << 20));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_is_kept),
        cmocka_unit_test(objects_are_clean_and_generations_new),
        cmocka_unit_test(unused_memory_goes_back),
        cmocka_unit_test(little_is_kept),
        cmocka_unit_test(memory_follows_use),
        cmocka_unit_test(misuse_stops),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
