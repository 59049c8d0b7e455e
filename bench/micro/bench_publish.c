/* SPDX-License-Identifier: GPL-3.0-or-later
 * What publication costs: a look at the world, a quiet point, going offline and back (once a loop turn that waits), and
 * a swap while readers pass quiet points all the time. */
#include <sched.h>
#include <stdatomic.h>

#include <ringwall/base/check.h>
#include <ringwall/base/publish.h>
#include <ringwall/base/thread.h>

#include "micro.h"

static struct publish_slot slot = PUBLISH_SLOT_NULL;
static int worlds[2];
static atomic_bool stop;
static atomic_uint n_ready;

static void look(void *unused) { micro_keep(publish_read(&slot)); }
static void pass_quiet(void *unused) { publish_quiet(); }
static void offline_and_back(void *unused) {
    publish_reader_offline();
    publish_reader_online();
}
static void swap(void *unused) {
    micro_keep(publish_swap(&slot, publish_writer_peek(&slot) == &worlds[0] ? &worlds[1] : &worlds[0]));
}

static void *read_all(void *unused) {
    publish_reader_register();
    atomic_fetch_add(&n_ready, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        micro_keep(publish_read(&slot));
        publish_quiet();
    }
    publish_reader_unregister();
    return NULL;
}

int main(void) {
    enum { N_READERS = 2 };
    swap(NULL);
    publish_reader_register();
    micro_measure("publish_read", look, NULL);
    micro_measure("publish_quiet", pass_quiet, NULL);
    micro_measure("publish_offline_online", offline_and_back, NULL);
    publish_reader_unregister();

    pthread_t readers[N_READERS];
    for (int i = 0; i < N_READERS; i++)
        check(thread_start(&readers[i], "reader", read_all, NULL) == 0);
    while (atomic_load(&n_ready) < N_READERS)
        sched_yield();
    micro_measure("publish_swap_2_readers", swap, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < N_READERS; i++)
        thread_join(readers[i]);
    return 0;
}
