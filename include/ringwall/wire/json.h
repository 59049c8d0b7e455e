/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/json.h - JSON text written piece by piece (streaming, always well-formed) and read through jansson
 *
 * The writer escapes every string; the reader is jansson's tree behind four look-ups, for ringwallctl and JWKS. */
#pragma once

#include <ringwall/base/str.h>

enum { JSON_DEPTH_MAX = 32, JSON_READ_MAX = 256 * 1024 * 1024 };
/* jansson's shared object exports these three names: ours must not stand in for them when the program is linked. */
#define json_object json_put_object
#define json_array json_put_array
#define json_null json_put_null

struct json_writer {
    struct growing *to;
    uint8_t depth;
    bool pretty;
    bool comma[JSON_DEPTH_MAX];
    bool array[JSON_DEPTH_MAX];
};
void json_begin(struct json_writer *w, struct growing *to, bool pretty);
void json_object(struct json_writer *w, const char *key); /* key NULL inside arrays and at the root */
void json_array(struct json_writer *w, const char *key);
void json_end(struct json_writer *w);
void json_str(struct json_writer *w, const char *key, struct str s);
void json_z(struct json_writer *w, const char *key, const char *z); /* NULL pointer writes null */
void json_strf(struct json_writer *w, const char *key, const char *fmt, ...) printf_like(3, 4);
void json_u64(struct json_writer *w, const char *key, uint64_t v);
void json_i64(struct json_writer *w, const char *key, int64_t v);
void json_bool(struct json_writer *w, const char *key, bool v);
void json_null(struct json_writer *w, const char *key);
void json_raw(struct json_writer *w, const char *key, struct str json); /* a complete JSON value */

struct json;                                            /* a node; owned by the root */
struct json *json_read(struct str text, char why[128]); /* NULL with why */
void json_free(struct json *root);
const struct json *json_get(const struct json *object, const char *key); /* NULL when absent or no object */
size_t json_count(const struct json *array);
const struct json *json_at(const struct json *array, size_t i);
struct str json_text(const struct json *n); /* string value; empty for others */
bool json_number(const struct json *n, int64_t *ret);
bool json_truth(const struct json *n);
enum json_kind {
    JSON_IS_ABSENT,
    JSON_IS_NULL,
    JSON_IS_BOOL,
    JSON_IS_INTEGER,
    JSON_IS_REAL,
    JSON_IS_TEXT,
    JSON_IS_ARRAY,
    JSON_IS_OBJECT
};
enum json_kind json_kind(const struct json *n);
double json_double(const struct json *n); /* of either kind of number; else 0 */
/* Members of an object one after the other: *cursor starts as NULL. False: no more (or no object). */
bool json_member(const struct json *object, void **cursor, struct str *ret_key, const struct json **ret_value);
char *json_dump(const struct json *n); /* heap, pretty; NULL: no memory */
