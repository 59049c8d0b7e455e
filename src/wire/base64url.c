/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/base64url.c - RFC 4648 section 5 without padding; one text for each value: spare bits must be zero */
#include <ringwall/wire/jwt.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

size_t base64url_bytes_max(size_t n_text) { return n_text / 4 * 3 + 3; }

bool base64url_decode(struct str text, uint8_t *to, size_t cap, size_t *ret_n) {
    size_t n = text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0), at = 0;
    uint32_t bits = 0;
    unsigned n_bits = 0;

    if (text.n % 4 == 1 || n > cap)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int d = digit(text.at[i]);

        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            to[at++] = (uint8_t)(bits >> n_bits);
            bits &= (1u << n_bits) - 1;
        }
    }
    if (bits)
        return false;
    *ret_n = at;
    return true;
}

size_t base64url_put(char *to, const void *bytes, size_t n) {
    const uint8_t *b = bytes;
    size_t at = 0;

    for (size_t i = 0; i < n; i += 3) {
        size_t left = min_of(n - i, (size_t)3);
        uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);

        for (unsigned k = 0; k <= left; k++)
            to[at++] = alphabet[v >> (18 - 6 * k) & 63];
    }
    return at;
}

void base64url_add(struct growing *to, const void *bytes, size_t n) {
    enum { STEP = 48 };
    char text[STEP / 3 * 4];

    for (size_t i = 0; i < n; i += STEP)
        growing_add(to, (struct str){text, base64url_put(text, (const uint8_t *)bytes + i, min_of(n - i, (size_t)STEP))});
}
