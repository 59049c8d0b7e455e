/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/der.h - a strict cursor over DER and a writer of it
 *
 * Reading: every length is checked against what contains it, only the one shortest form of a length is taken, tags are
 * the low form. A reader never allocates and never recurses; failing leaves its outputs alone.
 * Writing goes backwards from the end of a fixed buffer, so that a length is known when it is written. */
#pragma once

#include <ringwall/base/str.h>

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
#define DER_CONTEXT(n) (0x80 | (n))             /* implicit, primitive */
#define DER_CONTEXT_CONSTRUCTED(n) (0xa0 | (n)) /* explicit, or implicit and constructed */

struct der {
    const uint8_t *at;
    size_t n;
};
struct der_item {
    uint8_t tag;
    struct der body;
    struct der whole; /* tag and length included */
};

/* Takes the next element off `in`. False: malformed, or nothing left. */
bool der_next(struct der *in, struct der_item *ret) must_check;
/* As der_next; also false, with `in` unmoved, when the tag is another one. */
bool der_take(struct der *in, uint8_t tag, struct der *ret_body) must_check;
bool der_take_whole(struct der *in, uint8_t tag, struct der_item *ret) must_check;
bool der_peek(const struct der *in, uint8_t tag);
static inline bool der_is(struct der a, struct der b) { return a.n == b.n && (a.n == 0 || !memcmp(a.at, b.at, a.n)); }

bool der_take_bool(struct der *in, bool *ret) must_check;
bool der_take_small(struct der *in, unsigned max, unsigned *ret) must_check; /* INTEGER 0..max */
/* INTEGER >= 0, its bytes without leading zeros (zero itself: one zero byte). */
bool der_take_natural(struct der *in, struct der *ret) must_check;
bool der_take_bits(struct der *in, struct der *ret) must_check;     /* BIT STRING of whole bytes */
bool der_take_flags(struct der *in, unsigned *ret) must_check;      /* BIT STRING, bit i of the result is named bit i */
bool der_take_time(struct der *in, int64_t *ret_unix_s) must_check; /* UTCTime or GeneralizedTime, UTC, whole seconds */

struct der_out {
    uint8_t *buffer;
    size_t cap;
    size_t n;  /* written so far: the last n bytes of buffer */
    bool full; /* something did not fit */
};
#define DER_OUT(array) ((struct der_out){.buffer = (array), .cap = sizeof(array)})

static inline struct der der_out_bytes(const struct der_out *o) { return (struct der){o->buffer + o->cap - o->n, o->n}; }
void der_put(struct der_out *o, const void *bytes, size_t n); /* raw bytes before what is there */
static inline void der_put_der(struct der_out *o, struct der d) { der_put(o, d.at, d.n); }
/* Puts tag and length before everything written since `mark` (an earlier o->n). */
void der_wrap(struct der_out *o, uint8_t tag, size_t mark);
void der_put_tagged(struct der_out *o, uint8_t tag, const void *bytes, size_t n);
void der_put_bool(struct der_out *o, bool value);
void der_put_small(struct der_out *o, unsigned value);                   /* INTEGER */
void der_put_natural(struct der_out *o, const uint8_t *bytes, size_t n); /* INTEGER from big-endian bytes */
void der_put_flags(struct der_out *o, unsigned flags);                   /* BIT STRING of named bits */
void der_put_time(struct der_out *o, int64_t unix_s);                    /* as RFC 5280 4.1.2.5 chooses the form */
