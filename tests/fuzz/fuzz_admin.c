/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: what anybody may write to the admin listeners: the first line's target and the Host header. */
#include <ringwall/base/check.h>

#include "../../src/admin/query.h"

static bool is_inside(const struct query *q, struct str s) { return s.at >= q->bytes && s.at + s.n <= q->bytes + sizeof(q->bytes); }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct str text = {(const char *)bytes, n};
    struct query q;

    if (query_parse(text, &q)) {
        check(q.path.n > 0 && q.path.at[0] == '/' && is_inside(&q, q.path));
        for (size_t i = 0; i < q.n_params; i++) {
            check(q.params[i].key.n > 0 && is_inside(&q, q.params[i].key) && is_inside(&q, q.params[i].value));
            check(!memchr(q.params[i].value.at, 0, q.params[i].value.n));
        }
        check(query_get(&q, "to", NULL).n <= QUERY_BYTES_MAX);
    }
    if (host_is_local(text))
        check(n == 0 || !memchr(bytes, '/', n));
    return 0;
}
