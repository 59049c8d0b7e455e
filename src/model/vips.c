/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/vips.c - which service an address belongs to: its own address before any block, of blocks the longest prefix
 *
 * Blocks lie in the same index as addresses, their prefix length a part of the key; a look-up tries the lengths that some
 * service has, the longest first. A mesh without blocks pays nothing for them. */
#include <ringwall/base/check.h>

#include "build.h"

enum { ADDR_BITS = 128, V4_BITS = 96 };

static struct cidr masked(const struct addr *a, unsigned bits) {
    struct cidr c = {.addr = *a, .bits = (uint8_t)bits};

    for (unsigned i = 0; i < sizeof(c.addr.bytes); i++) {
        unsigned kept = bits >= (i + 1) * 8 ? 8 : bits <= i * 8 ? 0 : bits - i * 8;
        c.addr.bytes[i] &= (uint8_t)(0xff00u >> kept);
    }
    return c;
}

static struct addr_key block_key(const struct cidr *c, uint64_t network) {
    return (struct addr_key){.addr = c->addr, .network = network | (uint64_t)(ADDR_BITS - c->bits) << 32};
}

static void say_taken(struct builder *b, const struct cidr *c, const struct service *v, const struct service *first) {
    char text[CIDR_TEXT];

    diag_addf(b->diags, DIAG_WARNING, &v->at,
              "the address " STR_FMT " of " STR_FMT " " STR_FMT "/" STR_FMT " is already that of " STR_FMT " " STR_FMT "/" STR_FMT
              " (" STR_FMT ":%u), which gets its traffic; give each its own",
              STR_ARG(cidr_format(c, text)), STR_ARG(v->kind), STR_ARG(v->ns), STR_ARG(v->name), STR_ARG(first->kind),
              STR_ARG(first->ns), STR_ARG(first->name), STR_ARG(first->at.file), first->at.line);
}

static void add(struct builder *b, const struct service *v, const struct cidr *c) {
    struct world *w = b->world;
    struct addr_key key = block_key(c, NETWORK_OWN);
    struct map_node *node = map_find(&w->by_vip, &key, sizeof(key));

    if (node) {
        const struct service *first = &w->services[map_entry(node, struct addr_slot, node)->index];
        if (first != v)
            say_taken(b, c, v, first);
        return;
    }
    struct addr_slot *slot = build_alloc(b, sizeof(*slot), 1);
    if (!slot)
        return;
    slot->key = key;
    slot->index = v->index;
    check(map_insert(&w->by_vip, &slot->node, &slot->key, sizeof(slot->key)) == 0);
}

/* Longest first, each once. */
static void note_length(struct world *w, uint8_t bits) {
    size_t i = 0;

    while (i < w->n_block_bits && w->block_bits[i] > bits)
        i++;
    if (i < w->n_block_bits && w->block_bits[i] == bits)
        return;
    check(w->n_block_bits < array_size(w->block_bits));
    memmove(&w->block_bits[i + 1], &w->block_bits[i], w->n_block_bits - i);
    w->block_bits[i] = bits;
    w->n_block_bits++;
}

void build_service_vips(struct builder *b, const struct service *v) {
    for (size_t i = 0; i < v->n_vips && !b->failed; i++)
        add(b, v, &(struct cidr){.addr = v->vips[i], .bits = ADDR_BITS});
    for (size_t i = 0; i < v->n_blocks && !b->failed; i++) {
        add(b, v, &v->blocks[i]);
        note_length(b->world, v->blocks[i].bits);
    }
}

const struct service *world_service_by_vip(const struct world *w, struct str network, const struct addr *a) {
    struct addr_key key;

    if (!world_addr_key(w, network, a, &key))
        return NULL;
    struct map_node *node = map_find(&w->by_vip, &key, sizeof(key));
    for (size_t i = 0; !node && i < w->n_block_bits; i++) {
        if (w->block_bits[i] < V4_BITS && addr_is_v4(a)) /* "::/0" is no IPv4 block */
            break;
        struct cidr c = masked(a, w->block_bits[i]);
        struct addr_key block = block_key(&c, key.network);
        node = map_find(&w->by_vip, &block, sizeof(block));
    }
    return node ? &w->services[map_entry(node, struct addr_slot, node)->index] : NULL;
}
