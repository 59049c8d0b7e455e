/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_text.c - see grpc_text.h; the rules are gRPC's PROTOCOL-HTTP2 and http-grpc-status-mapping */
#include <stdio.h>

#include <ringwall/base/check.h>

#include "grpc_text.h"

enum { TIMEOUT_DIGITS_MAX = 8 };
static const uint64_t ns_per_s = 1000000000;

const char *grpc_code_text(enum grpc_code code) {
    static const char *const texts[_GRPC_CODE_MAX] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    return (unsigned)code < _GRPC_CODE_MAX ? texts[code] : "UNKNOWN";
}

struct str grpc_metadata_get(const struct grpc_metadata *m, size_t n, struct str name) {
    const struct grpc_metadata *found = NULL;

    for (size_t i = 0; i < n; i++)
        if (str_is(m[i].name, name)) {
            if (found)
                return STR_NULL;
            found = &m[i];
        }
    return found ? found->value : STR_NULL;
}

bool grpc_content_type(struct str value) {
    static const struct str base = STR("application/grpc"), proto = STR("+proto");

    if (value.n < base.n || !str_fold_is((struct str){value.at, base.n}, base))
        return false;
    value = (struct str){value.at + base.n, value.n - base.n};
    if (value.n >= proto.n && str_fold_is((struct str){value.at, proto.n}, proto))
        value = (struct str){value.at + proto.n, value.n - proto.n};
    return value.n == 0 || value.at[0] == ';' || value.at[0] == ' ';
}

static uint64_t timeout_unit(char c) {
    switch (c) {
    case 'H':
        return 3600 * ns_per_s;
    case 'M':
        return 60 * ns_per_s;
    case 'S':
        return ns_per_s;
    case 'm':
        return ns_per_s / 1000;
    case 'u':
        return ns_per_s / 1000000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

bool grpc_timeout_parse(struct str value, uint64_t *ret_ns) {
    uint64_t amount, unit;

    if (value.n < 2 || value.n > TIMEOUT_DIGITS_MAX + 1 || !str_u64((struct str){value.at, value.n - 1}, 99999999, &amount))
        return false;
    unit = timeout_unit(value.at[value.n - 1]);
    if (unit == 0)
        return false;
    /* 8 digits of hours are 3.6e20 ns: not to be multiplied out. */
    *ret_ns = amount > GRPC_TIMEOUT_MAX_S * ns_per_s / unit ? 0 : max_of(amount * unit, (uint64_t)1);
    return true;
}

size_t grpc_timeout_create(uint64_t ns, char to[16]) {
    static const char units[] = "numSMH";
    uint64_t amount = ns;
    size_t i = 0;

    check(ns > 0);
    while (amount > 99999999 && i < 5) { /* rounded up: the peer must not be in a greater hurry than we */
        i++;
        amount = ns / timeout_unit(units[i]) + (ns % timeout_unit(units[i]) != 0);
    }
    return (size_t)snprintf(to, 16, "%u%c", (unsigned)min_of(amount, (uint64_t)99999999), units[i]);
}

size_t grpc_text_encode(struct str message, char to[GRPC_TEXT_WIRE_MAX]) {
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < min_of(message.n, (size_t)GRPC_TEXT_MAX); i++) {
        uint8_t c = (uint8_t)message.at[i];

        if (c >= 0x20 && c <= 0x7e && c != '%') {
            to[n++] = (char)c;
        } else {
            to[n++] = '%';
            to[n++] = hex[c >> 4];
            to[n++] = hex[c & 15];
        }
    }
    return n;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t grpc_text_decode(struct str wire, char to[GRPC_TEXT_MAX]) {
    size_t n = 0;

    for (size_t i = 0; i < wire.n && n < GRPC_TEXT_MAX; i++) {
        bool escape = wire.at[i] == '%' && i + 2 < wire.n && hex_digit(wire.at[i + 1]) >= 0 && hex_digit(wire.at[i + 2]) >= 0;

        to[n++] = escape ? (char)(hex_digit(wire.at[i + 1]) << 4 | hex_digit(wire.at[i + 2])) : wire.at[i];
        i += escape ? 2 : 0;
    }
    for (size_t i = 0; i < n;) {
        size_t unit = (uint8_t)to[i] < 0x20 || to[i] == 0x7f ? 0 : str_utf8_unit((struct str){to + i, n - i});

        if (unit == 0)
            to[i] = '?';
        i += unit ? unit : 1;
    }
    return n;
}

enum grpc_code grpc_code_parse(struct str value) {
    uint64_t code;

    return str_u64(value, _GRPC_CODE_MAX - 1, &code) ? (enum grpc_code)code : GRPC_UNKNOWN;
}

enum grpc_code grpc_code_of_http(struct str status) {
    uint64_t code;

    if (!str_u64(status, 999, &code))
        return GRPC_UNKNOWN;
    switch (code) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

enum grpc_code grpc_code_of_reset(uint32_t h2_error) {
    switch (h2_error) {
    case H2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case H2_CANCEL:
        return GRPC_CANCELLED;
    case H2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case 12: /* INADEQUATE_SECURITY */
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

size_t grpc_header_count(const struct h2_header *headers, size_t n, struct str name) {
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += str_is(headers[i].name, name);
    return count;
}

bool grpc_header_get(const struct h2_header *headers, size_t n, struct str name, struct str *ret) {
    if (grpc_header_count(headers, n, name) != 1)
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_is(headers[i].name, name))
            *ret = headers[i].value;
    return true;
}

static bool machinery(struct str name) {
    return name.n == 0 || name.at[0] == ':' || str_has_prefix(name, STR("grpc-")) || str_is(name, STR("te")) ||
           str_is(name, STR("content-type"));
}

bool grpc_metadata_of(const struct h2_header *headers, size_t n, struct grpc_metadata ret[GRPC_METADATA_MAX], size_t *ret_n) {
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (machinery(headers[i].name))
            continue;
        if (*ret_n == GRPC_METADATA_MAX)
            return false;
        ret[(*ret_n)++] = (struct grpc_metadata){headers[i].name, headers[i].value};
    }
    return true;
}
