/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/pem.c - see pem.h
 *
 * The base64 of wolfCrypt runs in constant time, which matters for keys. */
#include <stdio.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/coding.h>

#include "pem.h"

enum { LABEL_MAX = 64 };

static bool find(struct str in, struct str what, size_t *ret_at) {
    const char *at = in.n ? memmem(in.at, in.n, what.at, what.n) : NULL;
    if (!at)
        return false;
    *ret_at = (size_t)(at - in.at);
    return true;
}

static void skip(struct str *s, size_t n) {
    s->at += n;
    s->n -= n;
}

enum pem_verdict pem_next(struct str *rest, struct pem_block *ret) {
    static const struct str begin = {"-----BEGIN ", 11}, dashes = {"-----", 5};
    char end[LABEL_MAX + 16];
    size_t at, n_label, n_body;
    if (!find(*rest, begin, &at))
        return PEM_END;
    struct str s = *rest;
    skip(&s, at + begin.n);
    if (!find(s, dashes, &n_label) || n_label == 0 || n_label > LABEL_MAX)
        return PEM_MALFORMED;
    struct str label = {s.at, n_label};
    if (memchr(label.at, '\n', label.n))
        return PEM_MALFORMED;
    skip(&s, n_label + dashes.n);
    int n_end = snprintf(end, sizeof(end), "-----END " STR_FMT "-----", STR_ARG(label));
    if (!find(s, (struct str){end, (size_t)n_end}, &n_body))
        return PEM_MALFORMED;
    *ret = (struct pem_block){.label = label, .base64 = {s.at, n_body}};
    skip(&s, n_body + (size_t)n_end);
    *rest = s;
    return PEM_BLOCK;
}

bool pem_decode(const struct pem_block *b, uint8_t *to, size_t cap, size_t *ret_n) {
    if (b->base64.n == 0 || b->base64.n > INT32_MAX)
        return false;
    word32 n = (word32)cap;
    if (Base64_Decode((const byte *)b->base64.at, (word32)b->base64.n, to, &n) != 0 || n == 0)
        return false;
    *ret_n = n;
    return true;
}

size_t pem_text_max(const char *label, size_t n) {
    size_t n_base64 = (n + 2) / 3 * 4;
    return 2 * (strlen(label) + 17) + n_base64 + n_base64 / 64 + 2 + 1;
}

bool pem_encode(const char *label, const uint8_t *bytes, size_t n, char *to, size_t cap, size_t *ret_n) {
    if (cap < pem_text_max(label, n) || n == 0)
        return false;
    size_t at = (size_t)snprintf(to, cap, "-----BEGIN %s-----\n", label);
    word32 n_base64 = (word32)(cap - at);
    if (Base64_Encode(bytes, (word32)n, (byte *)to + at, &n_base64) != 0)
        return false;
    at += n_base64;
    at += (size_t)snprintf(to + at, cap - at, "-----END %s-----\n", label);
    *ret_n = at;
    return true;
}
