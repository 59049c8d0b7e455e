/* SPDX-License-Identifier: GPL-3.0-or-later
 * query.h - the request target and the Host header, which anybody may write: parsed strictly into bounded memory
 *
 * Pure; no library. What does not parse is answered with 400. */
#pragma once

#include <ringwall/base/str.h>

enum { QUERY_TARGET_MAX = 4096, QUERY_PATH_MAX = 128, QUERY_PARAMS_MAX = 8, QUERY_BYTES_MAX = 2048 };
struct query_param {
    struct str key, value; /* decoded; in the query's own bytes */
};
struct query {
    struct str path; /* in the query's own bytes; as it came, not decoded: no path of ours needs it */
    struct query_param params[QUERY_PARAMS_MAX];
    size_t n_params;
    size_t n_bytes;
    char bytes[QUERY_PATH_MAX + QUERY_BYTES_MAX];
};

/* "/path?key=value&flag": origin form only, no fragment, each key once, percent-encoding whole, no control bytes. A query
 * points into itself: it is not copied. */
bool query_parse(struct str target, struct query *ret) must_check;
/* The value; `ret_given` (may be NULL) tells a missing key from an empty value. */
struct str query_get(const struct query *q, const char *key, bool *ret_given);

/* "localhost" or an IP address, with or without a port, or nothing: what a browser that was sent here by a foreign name
 * cannot say (DNS rebinding). */
bool host_is_local(struct str host);
