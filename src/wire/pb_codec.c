/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb_codec.c - see pb_codec.h */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "library.h"
#include "pb_codec.h"

static void *budget_alloc(void *data, size_t n) {
    struct pb_in *in = data;
    void *p;

    if (n > in->left)
        return NULL;
    p = malloc(n ? n : 1);
    if (p)
        in->left -= n;
    else
        in->no_heap = true;
    return p;
}

static void budget_free(void *data, void *p) { free(p); }

int pb_open(struct pb_in *in, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n) {
    in->allocator = (ProtobufCAllocator){budget_alloc, budget_free, in};
    in->left = PB_UNPACK_MAX;
    if (n > PB_MESSAGE_MAX)
        return PB_MALFORMED;
    in->message = protobuf_c_message_unpack(type, &in->allocator, n, bytes);
    if (!in->message)
        return in->no_heap ? -ENOMEM : PB_MALFORMED;
    return PB_OK;
}

int pb_close(struct pb_in *in) {
    protobuf_c_message_free_unpacked(take_ptr(in->message), &in->allocator);
    return in->malformed ? PB_MALFORMED : in->no_memory ? -ENOMEM : PB_OK;
}

struct str pb_take_bytes(struct pb_in *in, ProtobufCBinaryData b) {
    bool ok = true;
    struct str copy = b.len ? arena_str(in->arena, pb_str(b), &ok) : STR_NULL;

    if (!ok)
        in->no_memory = true;
    return copy;
}

struct str pb_take_text(struct pb_in *in, ProtobufCBinaryData b) {
    if (!str_is_utf8(pb_str(b))) {
        in->malformed = true;
        return STR_NULL;
    }
    return pb_take_bytes(in, b);
}

void *pb_take_array(struct pb_in *in, size_t item_bytes, size_t n, size_t max) {
    void *items;

    if (n > max)
        in->malformed = true;
    if (n == 0 || n > max)
        return NULL;
    items = arena_alloc_array(in->arena, item_bytes, n);
    if (!items)
        in->no_memory = true;
    return items;
}

const struct str *pb_take_list(struct pb_in *in, const ProtobufCBinaryData *items, size_t n, size_t max, bool text, size_t *ret_n) {
    struct str *list = pb_take_array(in, sizeof(*list), n, max);

    for (size_t i = 0; list && i < n; i++)
        list[i] = text ? pb_take_text(in, items[i]) : pb_take_bytes(in, items[i]);
    *ret_n = list ? n : 0;
    return list;
}

void pb_of_list(const struct str *items, size_t n, ProtobufCBinaryData *ret) {
    for (size_t i = 0; i < n; i++)
        ret[i] = pb_of(items[i]);
}

int pb_pack(const ProtobufCMessage *m, uint8_t **ret, size_t *ret_n) {
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes;

    if (n > PB_MESSAGE_MAX)
        return -EMSGSIZE;
    bytes = malloc(n ? n : 1);
    if (!bytes)
        return -ENOMEM;
    protobuf_c_message_pack(m, bytes);
    *ret = bytes;
    *ret_n = n;
    return 0;
}

int pb_pack_secret(const ProtobufCMessage *m, struct secret *ret) {
    struct secret bytes = SECRET_NULL;
    size_t n = protobuf_c_message_get_packed_size(m);
    int r;

    if (n > PB_MESSAGE_MAX)
        return -EMSGSIZE;
    r = n ? secret_new(&bytes, n) : 0;
    if (r)
        return r;
    if (n)
        protobuf_c_message_pack(m, bytes.at);
    *ret = bytes;
    return 0;
}

const char *pb_library_version(void) { return protobuf_c_version(); }
