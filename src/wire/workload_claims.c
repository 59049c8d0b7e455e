/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/workload_claims.c - see workload_claims.h; recursion is bounded by the JSON reader's JSON_DEPTH_MAX */
#include <errno.h>

#include <ringwall/wire/json.h>

#include "pb_codec.h"
#include "workload_claims.h"

typedef Ringwall__Workload__Value value_pb;
typedef Ringwall__Workload__Struct struct_pb;
typedef Ringwall__Workload__Field field_pb;
typedef Ringwall__Workload__ListValue list_pb;

static value_pb *value_of(const struct json *n, struct arena *a);

static ProtobufCBinaryData text_of(struct arena *a, struct str s, bool *ok) { return pb_of(s.n ? arena_str(a, s, ok) : STR_NULL); }

static struct_pb *struct_of(const struct json *object, struct arena *a) {
    struct_pb *s = arena_alloc(a, sizeof(*s));
    size_t n = 0;
    void *cursor = NULL;
    struct str key;
    const struct json *value;
    bool ok = true;

    while (json_member(object, &cursor, &key, &value))
        n++;
    if (!s)
        return NULL;
    ringwall__workload__struct__init(s);
    s->fields = arena_array(a, field_pb *, n + 1);
    if (!s->fields)
        return NULL;
    for (cursor = NULL; json_member(object, &cursor, &key, &value); s->n_fields++) {
        field_pb *f = arena_alloc(a, sizeof(*f));

        if (!f)
            return NULL;
        ringwall__workload__field__init(f);
        f->key = text_of(a, key, &ok);
        f->value = value_of(value, a);
        if (!ok || !f->value)
            return NULL;
        s->fields[s->n_fields] = f;
    }
    return s;
}

static list_pb *list_of(const struct json *array, struct arena *a) {
    list_pb *l = arena_alloc(a, sizeof(*l));
    size_t n = json_count(array);

    if (!l)
        return NULL;
    ringwall__workload__list_value__init(l);
    l->values = arena_array(a, value_pb *, n + 1);
    if (!l->values)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        l->values[i] = value_of(json_at(array, i), a);
        if (!l->values[i])
            return NULL;
        l->n_values++;
    }
    return l;
}

static value_pb *value_of(const struct json *n, struct arena *a) {
    value_pb *v = arena_alloc(a, sizeof(*v));
    bool ok = true;

    if (!v)
        return NULL;
    ringwall__workload__value__init(v);
    switch (json_kind(n)) {
    case JSON_IS_TEXT:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_STRING_VALUE;
        v->string_value = text_of(a, json_text(n), &ok);
        break;
    case JSON_IS_INTEGER: /* the Struct knows one kind of number; above 2^53 it is inexact there as everywhere */
    case JSON_IS_REAL:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_NUMBER_VALUE;
        v->number_value = json_double(n);
        break;
    case JSON_IS_BOOL:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_BOOL_VALUE;
        v->bool_value = json_truth(n);
        break;
    case JSON_IS_OBJECT:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_STRUCT_VALUE;
        v->struct_value = struct_of(n, a);
        ok = v->struct_value;
        break;
    case JSON_IS_ARRAY:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_LIST_VALUE;
        v->list_value = list_of(n, a);
        ok = v->list_value;
        break;
    default:
        v->kind_case = RINGWALL__WORKLOAD__VALUE__KIND_NULL_VALUE;
        break;
    }
    return ok ? v : NULL;
}

int workload_claims_create(struct str claims, struct arena *a, Ringwall__Workload__Struct **ret) {
    char why[128];
    struct json *root = json_read(claims, why);
    int r = 1;

    if (json_kind(root) == JSON_IS_OBJECT) {
        *ret = struct_of(root, a);
        r = *ret ? 0 : -ENOMEM;
    }
    json_free(root);
    return r;
}
