/* SPDX-License-Identifier: GPL-3.0-or-later
 * hex.h - serial numbers as text, and back */
#pragma once

#include <ringwall/base/str.h>

static inline void hex_format(const uint8_t *bytes, size_t n, char *to /* 2 * n + 1 */) {
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    to[2 * n] = '\0';
}

/* Digits of either case, with or without colons between bytes, as openssl prints them; an odd count has a zero before it. */
static inline bool hex_parse(struct str s, uint8_t *to, size_t cap, size_t *ret_n) {
    uint8_t digits[128];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (c == ':' && i > 0)
            continue;
        if (v < 0 || n == sizeof(digits))
            return false;
        digits[n++] = (uint8_t)v;
    }
    size_t bytes = (n + 1) / 2;
    if (n == 0 || bytes > cap)
        return false;
    for (size_t i = 0, d = 0; i < bytes; i++) {
        uint8_t high = i == 0 && n % 2 ? 0 : digits[d++];
        to[i] = (uint8_t)(high << 4 | digits[d++]);
    }
    *ret_n = bytes;
    return true;
}
