/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/der.c - see der.h */
#include <time.h>

#include "der.h"

enum { DER_BYTES_MAX = 8 << 20 }; /* the longest object that we read, a revocation list */

bool der_next(struct der *in, struct der_item *ret) {
    if (in->n < 2 || (in->at[0] & 0x1f) == 0x1f)
        return false;
    size_t n_header = 2, n = in->at[1];
    if (n >= 0x80) {
        size_t n_length = n & 0x7f;
        if (n_length == 0 || n_length > 3 || in->n < 2 + n_length || in->at[2] == 0)
            return false;
        n = 0;
        for (size_t i = 0; i < n_length; i++)
            n = n << 8 | in->at[2 + i];
        if (n < 0x80) /* the short form would have done */
            return false;
        n_header += n_length;
    }
    if (n > DER_BYTES_MAX || n > in->n - n_header)
        return false;
    *ret = (struct der_item){.tag = in->at[0], .body = {in->at + n_header, n}, .whole = {in->at, n_header + n}};
    in->at += n_header + n;
    in->n -= n_header + n;
    return true;
}

bool der_peek(const struct der *in, uint8_t tag) { return in->n > 0 && in->at[0] == tag; }

bool der_take_whole(struct der *in, uint8_t tag, struct der_item *ret) { return der_peek(in, tag) && der_next(in, ret); }

bool der_take(struct der *in, uint8_t tag, struct der *ret_body) {
    struct der_item item;
    if (!der_take_whole(in, tag, &item))
        return false;
    *ret_body = item.body;
    return true;
}

bool der_take_bool(struct der *in, bool *ret) {
    struct der body;
    if (!der_take(in, DER_BOOLEAN, &body) || body.n != 1 || (body.at[0] != 0 && body.at[0] != 0xff))
        return false;
    *ret = body.at[0] != 0;
    return true;
}

bool der_take_natural(struct der *in, struct der *ret) {
    struct der body;
    if (!der_take(in, DER_INTEGER, &body) || body.n == 0 || body.at[0] & 0x80)
        return false;
    if (body.n > 1 && body.at[0] == 0) {
        if (!(body.at[1] & 0x80)) /* a zero that is not needed */
            return false;
        body.at++;
        body.n--;
    }
    *ret = body;
    return true;
}

bool der_take_small(struct der *in, unsigned max, unsigned *ret) {
    struct der bytes;
    if (!der_take_natural(in, &bytes) || bytes.n > 3)
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < bytes.n; i++)
        value = value << 8 | bytes.at[i];
    if (value > max)
        return false;
    *ret = value;
    return true;
}

bool der_take_bits(struct der *in, struct der *ret) {
    struct der body;
    if (!der_take(in, DER_BIT_STRING, &body) || body.n < 2 || body.at[0] != 0)
        return false;
    *ret = (struct der){body.at + 1, body.n - 1};
    return true;
}

bool der_take_flags(struct der *in, unsigned *ret) {
    struct der body;
    if (!der_take(in, DER_BIT_STRING, &body) || body.n < 1 || body.n > 3 || body.at[0] > 7 || (body.n == 1 && body.at[0] != 0))
        return false;
    unsigned flags = 0, unused = body.at[0];
    for (size_t i = 1; i < body.n; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            if (body.at[i] & (0x80 >> bit))
                flags |= 1U << ((i - 1) * 8 + bit);
    if (body.n > 1 && body.at[body.n - 1] & ((1U << unused) - 1)) /* padding must be zero */
        return false;
    *ret = flags;
    return true;
}

static bool two_digits(const uint8_t *at, int *ret) {
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
        return false;
    *ret = (at[0] - '0') * 10 + at[1] - '0';
    return true;
}

bool der_take_time(struct der *in, int64_t *ret_unix_s) {
    struct der_item item;
    struct tm tm = {0};
    int century = 0, year, month;
    if (!der_next(in, &item))
        return false;
    const uint8_t *at = item.body.at;
    if (item.tag == DER_GENERALIZED_TIME && item.body.n == 15) {
        if (!two_digits(at, &century))
            return false;
        at += 2;
    } else if (item.tag != DER_UTC_TIME || item.body.n != 13)
        return false;
    if (!two_digits(at, &year) || !two_digits(at + 2, &month) || !two_digits(at + 4, &tm.tm_mday) ||
        !two_digits(at + 6, &tm.tm_hour) || !two_digits(at + 8, &tm.tm_min) || !two_digits(at + 10, &tm.tm_sec) || at[12] != 'Z')
        return false;
    if (item.tag == DER_UTC_TIME)
        century = year >= 50 ? 19 : 20;
    if (month < 1 || month > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
        return false;
    tm.tm_year = century * 100 + year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    time_t t = timegm(&tm);
    if (tm.tm_mday != day) /* the 31st of a month that has 30 days */
        return false;
    *ret_unix_s = t;
    return true;
}

void der_put(struct der_out *o, const void *bytes, size_t n) {
    if (n > o->cap - o->n) {
        o->full = true;
        return;
    }
    o->n += n;
    if (n)
        memcpy(o->buffer + o->cap - o->n, bytes, n);
}

void der_wrap(struct der_out *o, uint8_t tag, size_t mark) {
    uint8_t header[5];
    size_t at = sizeof(header), n = o->n - mark;
    if (n < 0x80)
        header[--at] = (uint8_t)n;
    else {
        uint8_t n_length = 0;
        for (; n; n >>= 8, n_length++)
            header[--at] = (uint8_t)n;
        header[--at] = (uint8_t)(0x80 | n_length);
    }
    der_put(o, header + at, sizeof(header) - at);
    der_put(o, &tag, 1);
}

void der_put_tagged(struct der_out *o, uint8_t tag, const void *bytes, size_t n) {
    size_t mark = o->n;
    der_put(o, bytes, n);
    der_wrap(o, tag, mark);
}

void der_put_bool(struct der_out *o, bool value) { der_put_tagged(o, DER_BOOLEAN, value ? "\xff" : "\0", 1); }

void der_put_natural(struct der_out *o, const uint8_t *bytes, size_t n) {
    size_t mark = o->n;
    while (n > 1 && bytes[0] == 0) {
        bytes++;
        n--;
    }
    der_put(o, bytes, n);
    if (n == 0 || bytes[0] & 0x80)
        der_put(o, "\0", 1);
    der_wrap(o, DER_INTEGER, mark);
}

void der_put_small(struct der_out *o, unsigned value) {
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    der_put_natural(o, bytes, sizeof(bytes));
}

void der_put_flags(struct der_out *o, unsigned flags) {
    uint8_t body[3] = {0};
    size_t n = 1;
    for (unsigned bit = 0; bit < 16; bit++)
        if (flags & 1U << bit) {
            body[1 + bit / 8] |= (uint8_t)(0x80 >> bit % 8);
            n = 2 + bit / 8;
            body[0] = (uint8_t)(7 - bit % 8);
        }
    der_put_tagged(o, DER_BIT_STRING, body, n);
}

void der_put_time(struct der_out *o, int64_t unix_s) {
    char text[32];
    struct tm tm;
    time_t t = (time_t)unix_s;
    if (!gmtime_r(&t, &tm) || tm.tm_year < 50 || tm.tm_year > 9999 - 1900) {
        o->full = true;
        return;
    }
    bool utc = tm.tm_year < 150;
    size_t n = strftime(text, sizeof(text), utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
    der_put_tagged(o, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME, text, n);
}
