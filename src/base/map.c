/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/map.c - see map.h
 *
 * Keys may come from peers, so the hash is keyed: SipHash (Aumasson and Bernstein) with one round a word and three at
 * the end, the variant that hash tables of other languages use too. Nodes keep their hash, so growing never looks at
 * the keys. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/map.h>
#include <ringwall/base/rng.h>

enum { MAP_BUCKETS_MIN = 8 };
static const size_t MAP_BUCKETS_MAX = (size_t)1 << 31; /* nodes keep 32 bits of their hash */

struct sip {
    uint64_t v[4];
};

static uint64_t rotate_left(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static void sip_round(struct sip *s) {
    uint64_t *v = s->v;
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] = rotate_left(v[2], 32);
}

static void sip_word(struct sip *s, uint64_t word) {
    s->v[3] ^= word;
    sip_round(s);
    s->v[0] ^= word;
}

uint64_t hash_bytes(const uint64_t seed[2], const void *bytes, size_t n) {
    struct sip s = {.v = {seed[0] ^ 0x736f6d6570736575ULL, seed[1] ^ 0x646f72616e646f6dULL, seed[0] ^ 0x6c7967656e657261ULL,
                          seed[1] ^ 0x7465646279746573ULL}};
    const uint8_t *at = bytes;
    size_t left = n;
    uint64_t word;
    for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sip_word(&s, le64toh(word));
    }
    word = 0;
    if (left)
        memcpy(&word, at, left);
    sip_word(&s, le64toh(word) | (uint64_t)n << 56);
    s.v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

int map_init(struct map *m, size_t n_expected) {
    size_t n_buckets = MAP_BUCKETS_MIN;
    while (n_buckets < n_expected && n_buckets < MAP_BUCKETS_MAX / 2)
        n_buckets *= 2;
    struct map_node **buckets = calloc(n_buckets, sizeof(*buckets));
    if (!buckets)
        return err_origin(-ENOMEM);
    *m = (struct map){.buckets = buckets, .n_buckets = n_buckets};
    rng_secret(m->seed, sizeof(m->seed));
    return 0;
}

void map_deinit(struct map *m) {
    free(m->buckets);
    *m = MAP_NULL;
}

static struct map_node *find_hashed(const struct map *m, uint32_t hash, const void *key, size_t key_bytes) {
    if (!m->n_buckets)
        return NULL;
    struct map_node *node = m->buckets[hash & (m->n_buckets - 1)];
    while (node && !(node->hash == hash && node->key_bytes == key_bytes && (!key_bytes || !memcmp(node->key, key, key_bytes))))
        node = node->next;
    return node;
}

struct map_node *map_find(const struct map *m, const void *key, size_t key_bytes) {
    return m->n_nodes ? find_hashed(m, (uint32_t)hash_bytes(m->seed, key, key_bytes), key, key_bytes) : NULL;
}

static void grow(struct map *m) {
    size_t n_buckets = m->n_buckets * 2;
    struct map_node **buckets = n_buckets <= MAP_BUCKETS_MAX ? calloc(n_buckets, sizeof(*buckets)) : NULL;
    if (!buckets)
        return;
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct map_node *node = m->buckets[i], *next; node; node = next) {
            next = node->next;
            struct map_node **bucket = &buckets[node->hash & (n_buckets - 1)];
            node->next = *bucket;
            *bucket = node;
        }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n_buckets;
}

struct map_node *map_find_or_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes) {
    check(m->buckets);
    check(key_bytes <= UINT32_MAX);
    uint32_t hash = (uint32_t)hash_bytes(m->seed, key, key_bytes);
    struct map_node *found = find_hashed(m, hash, key, key_bytes);
    if (found)
        return found;
    if (m->n_nodes >= m->n_buckets)
        grow(m);
    struct map_node **bucket = &m->buckets[hash & (m->n_buckets - 1)];
    *node = (struct map_node){.next = *bucket, .key = key, .hash = hash, .key_bytes = (uint32_t)key_bytes};
    *bucket = node;
    m->n_nodes++;
    return NULL;
}

int map_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes) {
    return map_find_or_insert(m, node, key, key_bytes) ? 1 : 0;
}

void map_remove(struct map *m, struct map_node *node) {
    check(m->n_nodes > 0);
    struct map_node **at = &m->buckets[node->hash & (m->n_buckets - 1)];
    while (*at != node) {
        check(*at);
        at = &(*at)->next;
    }
    *at = node->next; /* node->next stays: an iteration may go on from a removed node */
    m->n_nodes--;
}

struct map_node *map_next(const struct map *m, size_t *cursor, struct map_node *node) {
    if (node && node->next)
        return node->next;
    for (size_t i = *cursor + (node ? 1 : 0); i < m->n_buckets; i++)
        if (m->buckets[i]) {
            *cursor = i;
            return m->buckets[i];
        }
    *cursor = m->n_buckets;
    return NULL;
}
