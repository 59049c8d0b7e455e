/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: headers go round, match the specification's bytes, and anything else is short or bad, never read past its end.
 * Method: exact bytes; every cut; changed fields. */
#include <string.h>

#include <ringwall/wire/proxy_protocol.h>

#include "unit.h"

static struct proxy_header header(const char *src, const char *dst, const char *identity) {
    struct proxy_header h = {.identity = str_of(identity)};
    assert_true(endpoint_parse(str_of(src), &h.src));
    assert_true(endpoint_parse(str_of(dst), &h.dst));
    return h;
}

static void headers_go_round(void **state) {
    static const struct {
        const char *src, *dst, *identity;
        size_t n;
    } cases[] = {
        {"10.0.0.1:1234", "10.0.0.2:80", NULL, 28},
        {"10.0.0.1:1234", "10.0.0.2:80", "spiffe://cluster.local/ns/a/sa/b", 28 + 3 + 32},
        {"[2001:db8::1]:1234", "[2001:db8::2]:80", "spiffe://td/ns/a/sa/b", 52 + 3 + 21},
        {"10.0.0.1:1234", "[2001:db8::2]:80", NULL, 52},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        uint8_t bytes[PROXY_PROTOCOL_MAX];
        struct proxy_header h = header(cases[i].src, cases[i].dst, cases[i].identity), back;
        size_t n = proxy_protocol_create(&h, bytes), taken;
        assert_int_equal(n, cases[i].n);
        assert_int_equal(proxy_protocol_consume(bytes, n, &back, &taken), PROXY_PROTOCOL_OK);
        assert_int_equal(taken, n);
        assert_true(endpoint_is(&h.src, &back.src) && endpoint_is(&h.dst, &back.dst) && str_is(h.identity, back.identity));
        assert_false(back.local);
        for (size_t cut = 0; cut < n; cut++) { /* an exact copy: a sanitizer sees a read past the end */
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, bytes, cut);
            assert_int_equal(proxy_protocol_consume(copy, cut, &back, &taken), PROXY_PROTOCOL_SHORT);
            free(copy);
        }
    }
}

static void bytes_are_the_specification_s(void **state) {
    static const uint8_t wanted[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x10,
                                     10,   0,    0,    1,    10,   0,    0,    2,    0x04, 0xd2, 0x00, 0x50, 0xd0, 0x00, 0x01, 'i'};
    uint8_t bytes[PROXY_PROTOCOL_MAX];
    struct proxy_header h = header("10.0.0.1:1234", "10.0.0.2:80", "i");
    assert_int_equal(proxy_protocol_create(&h, bytes), sizeof(wanted));
    assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void the_longest_identity_fits(void **state) {
    char identity[641];
    uint8_t bytes[PROXY_PROTOCOL_MAX];
    memset(identity, 'i', 640);
    identity[640] = 0;
    struct proxy_header h = header("[::1]:1", "[::1]:2", identity), back;
    size_t taken;
    assert_int_equal(proxy_protocol_create(&h, bytes), PROXY_PROTOCOL_MAX);
    assert_int_equal(proxy_protocol_consume(bytes, PROXY_PROTOCOL_MAX, &back, &taken), 0);
    assert_int_equal(back.identity.n, 640);
}

static void local_means_no_addresses(void **state) {
    uint8_t bytes[PROXY_PROTOCOL_MAX];
    struct proxy_header h = {.local = true}, back;
    size_t taken, n = proxy_protocol_create(&h, bytes);
    assert_int_equal(n, 16);
    assert_int_equal(proxy_protocol_consume(bytes, n, &back, &taken), 0);
    assert_true(back.local && addr_is_none(&back.src.addr));
    bytes[12] = 0x21; /* PROXY of an unspecified family is as good */
    assert_int_equal(proxy_protocol_consume(bytes, n, &back, &taken), 0);
    assert_true(back.local);
}

static void foreign_tlvs_are_skipped_and_broken_ones_refused(void **state) {
    static const struct {
        uint8_t tlv[16];
        size_t n;
        int verdict;
    } cases[] = {
        {{0x01, 0, 2, 'h', '2'}, 5, PROXY_PROTOCOL_OK},
        {{0x04, 0, 0}, 3, PROXY_PROTOCOL_OK},
        {{0x04, 0, 1, 0, 0xd0, 0, 1, 'i'}, 8, PROXY_PROTOCOL_OK},
        {{0x04}, 1, PROXY_PROTOCOL_BAD},
        {{0x04, 0}, 2, PROXY_PROTOCOL_BAD},
        {{0x04, 0, 1}, 3, PROXY_PROTOCOL_BAD},
        {{0x04, 0xff, 0xff, 0}, 4, PROXY_PROTOCOL_BAD},
        {{0xd0, 0, 0}, 3, PROXY_PROTOCOL_BAD},
        {{0xd0, 0, 1, 'a', 0xd0, 0, 1, 'b'}, 8, PROXY_PROTOCOL_BAD},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        uint8_t bytes[PROXY_PROTOCOL_MAX];
        struct proxy_header h = header("10.0.0.1:1", "10.0.0.2:2", NULL), back;
        size_t taken, n = proxy_protocol_create(&h, bytes);
        memcpy(bytes + n, cases[i].tlv, cases[i].n);
        bytes[15] = (uint8_t)(12 + cases[i].n);
        assert_int_equal(proxy_protocol_consume(bytes, n + cases[i].n, &back, &taken), cases[i].verdict);
    }
}

static void other_bytes_are_bad(void **state) {
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {{0, 'G'}, {11, 0}, {12, 0x11}, {12, 0x22}, {13, 0x12}, {13, 0x22}, {13, 0x31}, {13, 0xff}, {14, 0x10}, {15, 11}};
    for (size_t i = 0; i < array_size(changes); i++) {
        uint8_t bytes[PROXY_PROTOCOL_MAX];
        struct proxy_header h = header("10.0.0.1:1", "10.0.0.2:2", NULL), back;
        size_t taken = 77, n = proxy_protocol_create(&h, bytes);
        bytes[changes[i].at] = changes[i].value;
        assert_int_equal(proxy_protocol_consume(bytes, n, &back, &taken), PROXY_PROTOCOL_BAD);
    }
    struct proxy_header back;
    size_t taken;
    assert_int_equal(proxy_protocol_consume((const uint8_t *)"PROXY TCP4 1.2.3.4", 18, &back, &taken), PROXY_PROTOCOL_BAD);
    assert_int_equal(proxy_protocol_consume((const uint8_t *)"\r\nX", 3, &back, &taken), PROXY_PROTOCOL_BAD);
    assert_int_equal(proxy_protocol_consume(NULL, 0, &back, &taken), PROXY_PROTOCOL_SHORT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_go_round),
        cmocka_unit_test(bytes_are_the_specification_s),
        cmocka_unit_test(the_longest_identity_fits),
        cmocka_unit_test(local_means_no_addresses),
        cmocka_unit_test(foreign_tlvs_are_skipped_and_broken_ones_refused),
        cmocka_unit_test(other_bytes_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
