/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a reader sees only whole snapshots that are not yet freed, and the writer gets the former one back when nobody
 * can look at it. Method: readers that check every snapshot while the writer publishes and scribbles over old ones;
 * readers that come, go offline and leave. Misuse in a child. */
#include <sched.h>
#include <stdatomic.h>

#include <ringwall/base/check.h>
#include <ringwall/base/publish.h>
#include <ringwall/base/thread.h>

#include "unit.h"

enum { N_WORDS = 32, N_READERS = 3, N_SWAPS = 300 };

struct snapshot {
    uint64_t words[N_WORDS]; /* all equal; all ones once retired */
};

static struct snapshot *snapshot_new(uint64_t number) {
    struct snapshot *s = malloc(sizeof(*s));
    check(s);
    for (int i = 0; i < N_WORDS; i++)
        s->words[i] = number;
    return s;
}

static void snapshot_retire(struct snapshot *s) {
    if (!s)
        return;
    for (int i = 0; i < N_WORDS; i++)
        s->words[i] = UINT64_MAX;
    free(s);
}

static struct publish_slot slot = PUBLISH_SLOT_NULL;
static atomic_bool stop;
static atomic_uint n_looking;

static uint64_t look(uint64_t last) {
    const struct snapshot *s = publish_read(&slot);
    if (!s)
        return last;
    check(s->words[0] >= last && s->words[0] != UINT64_MAX);
    for (int i = 1; i < N_WORDS; i++)
        check(s->words[i] == s->words[0]);
    return s->words[0];
}

static void *read_all(void *p) {
    unsigned style = *(unsigned *)p;
    uint64_t last = 0;
    publish_reader_register();
    for (unsigned turn = 0; !atomic_load_explicit(&stop, memory_order_relaxed); turn++) {
        last = look(last);
        last = look(last);
        if (turn == 0)
            atomic_fetch_add_explicit(&n_looking, 1, memory_order_relaxed);
        if (style == 0) {
            publish_quiet();
        } else if (style == 1) {
            publish_reader_offline();
            sched_yield();
            publish_reader_online();
        } else {
            publish_reader_unregister();
            publish_reader_register();
        }
    }
    publish_reader_unregister();
    return NULL;
}

static void readers_see_whole_snapshots(void **state) {
    unsigned styles[N_READERS] = {0, 1, 2};
    pthread_t threads[N_READERS];
    assert_null(publish_writer_peek(&slot));
    for (unsigned i = 0; i < N_READERS; i++)
        assert_int_equal(thread_start(&threads[i], "reader", read_all, &styles[i]), 0);
    while (atomic_load_explicit(&n_looking, memory_order_relaxed) < N_READERS)
        sched_yield();
    for (uint64_t number = 1; number <= N_SWAPS; number++) {
        struct snapshot *former = publish_swap(&slot, snapshot_new(number));
        assert_int_equal(former ? former->words[0] : 0, number - 1);
        snapshot_retire(former);
    }
    assert_int_equal(((struct snapshot *)publish_writer_peek(&slot))->words[0], N_SWAPS);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < N_READERS; i++)
        thread_join(threads[i]);
    snapshot_retire(publish_swap(&slot, NULL));
    assert_null(publish_writer_peek(&slot));
}

static void offline_readers_hold_nobody_up(void **state) {
    int a, b;
    struct publish_slot s = PUBLISH_SLOT_NULL;
    publish_reader_register();
    publish_reader_offline();
    assert_null(publish_swap(&s, &a)); /* would wait for ever for an online reader */
    assert_ptr_equal(publish_swap(&s, &b), &a);
    publish_reader_online();
    assert_ptr_equal(publish_read(&s), &b);
    publish_reader_unregister();
    assert_ptr_equal(publish_swap(&s, NULL), &b);
}

static void read_unregistered(void *s) { publish_read(s); }
static void read_offline(void *s) {
    publish_reader_register();
    publish_reader_offline();
    publish_read(s);
}
static void swap_online(void *s) {
    publish_reader_register();
    publish_swap(s, s);
}
static void register_twice(void *s) {
    publish_reader_register();
    publish_reader_register();
}

static void misuse_stops(void **state) {
    static void (*const misuses[])(void *) = {read_unregistered, read_offline, swap_online, register_twice};
    struct publish_slot s = PUBLISH_SLOT_NULL;
    for (size_t i = 0; i < array_size(misuses); i++)
        assert_true(unit_dies(misuses[i], &s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_snapshots),
        cmocka_unit_test(offline_readers_hold_nobody_up),
        cmocka_unit_test(misuse_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
