/* SPDX-License-Identifier: GPL-3.0-or-later
 * query.c - see query.h */
#include <ringwall/base/check.h>
#include <ringwall/model/addr.h>

#include "query.h"

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/* Copies `s` to the query's bytes, decoded when asked; *ret is the copy. */
static bool keep(struct query *q, struct str s, size_t n_max, bool decode, struct str *ret) {
    char *to = q->bytes + q->n_bytes;
    size_t n = 0, room = min_of(n_max, sizeof(q->bytes) - q->n_bytes);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (decode && c == '%') {
            int high = i + 2 < s.n ? hex_of(s.at[i + 1]) : -1, low = i + 2 < s.n ? hex_of(s.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (n == room || is_control(c))
            return false;
        to[n++] = (char)c;
    }
    q->n_bytes += n;
    *ret = (struct str){to, n};
    return true;
}

static bool add_param(struct query *q, struct str piece) {
    struct str key, rest = piece;
    struct query_param *p = &q->params[q->n_params];
    if (q->n_params == QUERY_PARAMS_MAX || !str_split(&rest, '=', &key))
        return false;
    if (!keep(q, key, QUERY_BYTES_MAX, true, &p->key) || p->key.n == 0 || !keep(q, rest, QUERY_BYTES_MAX, true, &p->value))
        return false;
    for (size_t i = 0; i < q->n_params; i++)
        if (str_is(q->params[i].key, p->key))
            return false;
    q->n_params++;
    return true;
}

bool query_parse(struct str target, struct query *ret) {
    struct str rest = target, path, piece;
    ret->n_params = ret->n_bytes = 0;
    if (target.n == 0 || target.n > QUERY_TARGET_MAX || target.at[0] != '/' || memchr(target.at, '#', target.n))
        return false;
    if (!str_split(&rest, '?', &path) || !keep(ret, path, QUERY_PATH_MAX, false, &ret->path))
        return false;
    if (rest.n == 0)
        return true;
    while (str_split(&rest, '&', &piece))
        if (!add_param(ret, piece))
            return false;
    return true;
}

struct str query_get(const struct query *q, const char *key, bool *ret_given) {
    for (size_t i = 0; i < q->n_params; i++)
        if (str_is(q->params[i].key, str_of(key))) {
            if (ret_given)
                *ret_given = true;
            return q->params[i].value;
        }
    if (ret_given)
        *ret_given = false;
    return STR_NULL;
}

static bool port_is_valid(struct str port) {
    uint64_t n;
    return str_u64(port, UINT16_MAX, &n);
}

bool host_is_local(struct str host) {
    struct str rest = host, name;
    struct addr a;
    if (host.n == 0)
        return true;
    if (host.at[0] == '[') { /* [v6] or [v6]:port */
        rest = (struct str){host.at + 1, host.n - 1};
        if (!str_split(&rest, ']', &name) || !rest.at || !addr_parse(name, &a) || addr_is_v4(&a))
            return false;
        return rest.n == 0 || (rest.at[0] == ':' && port_is_valid((struct str){rest.at + 1, rest.n - 1}));
    }
    if (!str_split(&rest, ':', &name) || (rest.at && !port_is_valid(rest)))
        return false;
    return str_fold_is(name, STR("localhost")) || addr_parse(name, &a);
}
