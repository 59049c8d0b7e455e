/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a map finds what was put in and nothing else, at any size, and its hash is SipHash-1-3. Method: the hash's
 * published vectors, ten thousand keys in and out, iteration with removal, misuse. */
#include <stdio.h>
#include <string.h>

#include <ringwall/base/map.h>

#include "unit.h"

struct item {
    struct map_node node;
    char key[16];
    bool seen;
};

/* SipHash-1-3 of 00 01 02 ...; checked against CPython's, which has it too (there under the key zero). */
static void hash_is_siphash_1_3(void **state) {
    static const struct {
        size_t n;
        uint64_t hash;
    } vectors[] = {{0, 0xabac0158050fc4dcULL}, {1, 0xc9f49bf37d57ca93ULL}, {2, 0x82cb9b024dc7d44dULL},
                   {3, 0x8bf80ab8e7ddf7fbULL}, {4, 0xcf75576088d38328ULL}, {5, 0xdef9d52f49533b67ULL},
                   {6, 0xc50d2b50c59f22a7ULL}, {7, 0xd3927d989bb11140ULL}, {8, 0x369095118d299a8eULL}};
    uint8_t key[16], bytes[16];
    for (uint8_t i = 0; i < 16; i++)
        key[i] = bytes[i] = i;
    uint64_t seed[2];
    memcpy(seed, key, sizeof(seed)); /* little-endian machines only; the map itself needs no such thing */
    for (size_t i = 0; i < array_size(vectors); i++)
        assert_int_equal(hash_bytes(seed, bytes, vectors[i].n), vectors[i].hash);
    assert_int_equal(hash_bytes(seed, NULL, 0), vectors[0].hash);
}

static void many_keys_in_and_out(void **state) {
    enum { N = 10000 };
    struct item *items = calloc(N, sizeof(*items));
    assert_non_null(items);
    cleanup(map_deinit) struct map m = MAP_NULL;
    assert_null(map_find(&m, "x", 1));
    assert_int_equal(map_init(&m, 0), 0);
    for (int i = 0; i < N; i++) {
        snprintf(items[i].key, sizeof(items[i].key), "key-%d", i);
        assert_null(map_find(&m, items[i].key, strlen(items[i].key)));
        assert_int_equal(map_insert(&m, &items[i].node, items[i].key, strlen(items[i].key)), 0);
    }
    assert_int_equal(m.n_nodes, N);
    assert_true(m.n_buckets >= N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(map_find(&m, items[i].key, strlen(items[i].key)), &items[i].node);
    struct item again = {0};
    assert_int_equal(map_insert(&m, &again.node, "key-77", 6), 1);
    assert_null(map_find(&m, "key-7", 4));
    assert_null(map_find(&m, "key-77\0", 7));
    for (int i = 0; i < N; i += 2)
        map_remove(&m, &items[i].node);
    for (int i = 0; i < N; i++)
        assert_int_equal(map_find(&m, items[i].key, strlen(items[i].key)) != NULL, i % 2);
    assert_int_equal(map_insert(&m, &items[0].node, items[0].key, strlen(items[0].key)), 0);
    free(items);
}

static void empty_key_is_a_key(void **state) {
    cleanup(map_deinit) struct map m = MAP_NULL;
    struct item item = {0};
    assert_int_equal(map_init(&m, 100), 0);
    assert_int_equal(m.n_buckets, 128);
    assert_int_equal(map_insert(&m, &item.node, NULL, 0), 0);
    assert_ptr_equal(map_find(&m, "", 0), &item.node);
    assert_int_equal(map_insert(&m, &item.node, "", 0), 1);
    assert_null(map_find(&m, "\0", 1));
}

static void iteration_sees_each_once(void **state) {
    enum { N = 100 };
    struct item items[N] = {0};
    cleanup(map_deinit) struct map m = MAP_NULL;
    assert_int_equal(map_init(&m, 4), 0);
    size_t cursor = 0;
    assert_null(map_next(&m, &cursor, NULL));
    for (int i = 0; i < N; i++) {
        snprintf(items[i].key, sizeof(items[i].key), "%d", i);
        assert_int_equal(map_insert(&m, &items[i].node, items[i].key, strlen(items[i].key)), 0);
    }
    cursor = 0;
    unsigned n = 0;
    for (struct map_node *node = map_next(&m, &cursor, NULL); node; node = map_next(&m, &cursor, node), n++) {
        struct item *item = map_entry(node, struct item, node);
        assert_false(item->seen);
        item->seen = true;
        if (n % 3 == 0)
            map_remove(&m, node); /* the node returned last may go */
    }
    assert_int_equal(n, N);
    assert_int_equal(m.n_nodes, N - 34);
    assert_null(map_next(&m, &cursor, NULL)); /* and the end stays the end */
}

static void draining_may_free(void **state) {
    enum { N = 1000 };
    cleanup(map_deinit) struct map m = MAP_NULL;
    assert_int_equal(map_init(&m, 4), 0);
    for (int i = 0; i < N; i++) {
        struct item *item = calloc(1, sizeof(*item));
        assert_non_null(item);
        snprintf(item->key, sizeof(item->key), "%d", i);
        assert_int_equal(map_insert(&m, &item->node, item->key, strlen(item->key)), 0);
    }
    size_t cursor = 0;
    unsigned n = 0;
    for (struct map_node *node; (node = map_next(&m, &cursor, NULL)); n++) {
        map_remove(&m, node);
        free(map_entry(node, struct item, node));
    }
    assert_int_equal(n, N);
    assert_int_equal(m.n_nodes, 0);
}

static void seeds_differ(void **state) {
    cleanup(map_deinit) struct map a = MAP_NULL;
    cleanup(map_deinit) struct map b = MAP_NULL;
    assert_int_equal(map_init(&a, 0), 0);
    assert_int_equal(map_init(&b, 0), 0);
    assert_int_not_equal(hash_bytes(a.seed, "x", 1), hash_bytes(b.seed, "x", 1));
}

static void find_or_insert_takes_the_first(void **state) {
    cleanup(map_deinit) struct map m = MAP_NULL;
    struct item first = {0}, second = {0};
    char passing[] = "key", lasting[] = "key";
    assert_int_equal(map_init(&m, 0), 0);
    assert_null(map_find_or_insert(&m, &first.node, passing, 3));
    first.node.key = lasting;
    memset(passing, 'x', 3);
    assert_ptr_equal(map_find_or_insert(&m, &second.node, "key", 3), &first.node);
    assert_int_equal(m.n_nodes, 1);
    assert_null(map_find(&m, passing, 3));
    assert_null(map_find_or_insert(&m, &second.node, "ke", 2));
    assert_int_equal(m.n_nodes, 2);
}

static void remove_stranger(void *m) {
    struct item stranger = {.node.hash = 1};
    map_remove(m, &stranger.node);
}
static void insert_without_init(void *unused) {
    struct map m = MAP_NULL;
    struct item item = {0};
    ignore_result(map_insert(&m, &item.node, "x", 1)); /* does not return */
}

static void misuse_stops(void **state) {
    cleanup(map_deinit) struct map m = MAP_NULL;
    struct item item = {0};
    assert_int_equal(map_init(&m, 0), 0);
    assert_int_equal(map_insert(&m, &item.node, "x", 1), 0);
    assert_true(unit_dies(remove_stranger, &m));
    assert_true(unit_dies(insert_without_init, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_siphash_1_3),
        cmocka_unit_test(many_keys_in_and_out),
        cmocka_unit_test(empty_key_is_a_key),
        cmocka_unit_test(iteration_sees_each_once),
        cmocka_unit_test(draining_may_free),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(find_or_insert_takes_the_first),
        cmocka_unit_test(misuse_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
