/* SPDX-License-Identifier: GPL-3.0-or-later
 * What the words of base cost on the data path: a look-up in a map of a thousand keys, an object from a pool, a full
 * chunk through a byte queue, a log line handed to the writer. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>
#include <ringwall/base/log.h>
#include <ringwall/base/map.h>
#include <ringwall/base/pool.h>

#include "micro.h"

enum { N_KEYS = 1024, KEY_BYTES = 20 };

struct entry {
    struct map_node node;
    uint8_t key[KEY_BYTES];
};

struct object {
    struct pooled pooled;
    uint8_t bytes[1000];
};

static struct entry entries[N_KEYS];
static unsigned next_key;

static void find(void *m) {
    const struct entry *e = &entries[next_key++ % N_KEYS];
    micro_keep(map_find(m, e->key, sizeof(e->key)));
}

static void acquire_release(void *p) {
    struct object *o = pool_acquire(p);
    micro_keep(o);
    pool_release(p, o);
}

static void through_queue(void *q) {
    static uint8_t bytes[BUF_CHUNK_BYTES];
    check(bufq_append(q, bytes, sizeof(bytes)) == 0);
    check(bufq_read(q, bytes, sizeof(bytes)) == sizeof(bytes));
}

static void log_line(void *unused) {
    const struct log_field fields[] = {KV_BARE("src.addr", STR("10.0.0.1:41234")), KV_Z("src.workload", "client"),
                                       KV_Z("src.identity", "spiffe://cluster.local/ns/default/sa/client"),
                                       KV_BARE("dst.addr", STR("10.0.1.1:15008")), KV_U64("bytes_sent", 12345)};
    log_write(LOG_ACCESS, LOG_INFO, "access", fields, array_size(fields), "connection complete");
}

int main(void) {
    struct map m = MAP_NULL;
    check(map_init(&m, N_KEYS) == 0);
    for (unsigned i = 0; i < N_KEYS; i++) {
        memcpy(entries[i].key, &i, sizeof(i));
        check(map_insert(&m, &entries[i].node, entries[i].key, KEY_BYTES) == 0);
    }
    micro_measure("map_find_1024", find, &m);
    map_deinit(&m);

    struct pool *p = pool_new(1, sizeof(struct object), 16);
    check(p);
    micro_measure("pool_acquire_release_1008", acquire_release, p);
    pool_free(p);

    struct buf_pool *chunks = buf_pool_new(4);
    struct bufq q;
    check(chunks);
    bufq_init(&q, chunks);
    micro_measure("bufq_append_read_16896", through_queue, &q);
    bufq_deinit(&q);
    buf_pool_free(chunks);

    check(log_start(&(struct log_options){.level = LOG_INFO, .access_path = "/dev/null"}) == 0);
    micro_measure("log_write_access", log_line, NULL);
    log_stop();
    fprintf(stderr, "log lines dropped: %llu\n", (unsigned long long)log_dropped());
    return 0;
}
