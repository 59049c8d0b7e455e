/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: one spelling of an address inside, exact blocks, strict endpoints. Method: tables of good and bad text, round
 * trips through text and sockaddr. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <ringwall/model/addr.h>

#include "unit.h"

static void text_to_address_and_back(void **state) {
    static const struct {
        const char *text, *canonical; /* NULL: refused */
        bool v4, loopback;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1", true, false},
        {"127.9.9.9", "127.9.9.9", true, true},
        {"::ffff:10.0.0.1", "10.0.0.1", true, false},
        {"::FFFF:0a00:0001", "10.0.0.1", true, false},
        {"::ffff:127.0.0.1", "127.0.0.1", true, true},
        {"2001:DB8:0:0::1", "2001:db8::1", false, false},
        {"::1", "::1", false, true},
        {"0.0.0.0", "0.0.0.0", true, false},
        {"::", NULL, false, false},
        {"", NULL, false, false},
        {"10.0.0", NULL, false, false},
        {"10.0.0.1.2", NULL, false, false},
        {"10.0.0.256", NULL, false, false},
        {"010.0.0.1", NULL, false, false},
        {"10.0.0.1 ", NULL, false, false},
        {"10.0.0.1:80", NULL, false, false},
        {"[::1]", NULL, false, false},
        {"fe80::1%eth0", NULL, false, false},
        {"host.example", NULL, false, false},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL, false, false},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct addr a;
        char text[ADDR_TEXT];
        assert_int_equal(addr_parse(str_of(rows[i].text), &a), rows[i].canonical != NULL);
        if (!rows[i].canonical)
            continue;
        assert_true(str_is(addr_format(&a, text), str_of(rows[i].canonical)));
        assert_int_equal(addr_is_v4(&a), rows[i].v4);
        assert_int_equal(addr_is_loopback(&a), rows[i].loopback);
        assert_false(addr_is_none(&a));
    }
    struct addr untouched = {.bytes = {1}};
    assert_false(addr_parse((struct str){"10.0.0.1\0x", 10}, &untouched));
    assert_int_equal(untouched.bytes[0], 1);
    assert_true(addr_is_none(&ADDR_NULL));
}

static void blocks(void **state) {
    static const struct {
        const char *block, *in, *out; /* in and out may be NULL; both NULL: refused */
        bool host_bits;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", "11.0.0.0", false},
        {"10.1.2.3/8", "10.0.0.0", "9.255.255.255", true},
        {"10.1.2.3", "10.1.2.3", "10.1.2.4", false},
        {"10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.2", false},
        {"10.1.2.2/31", "10.1.2.3", "10.1.2.4", false},
        {"10.1.2.128/25", "10.1.2.255", "10.1.2.127", false},
        {"0.0.0.0/0", "255.255.255.255", "2001:db8::1", false},
        {"::/0", "2001:db8::1", "10.0.0.1", false},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0", false},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::", false},
        {"2001:db8::1/64", "2001:db8::ffff", "2001:db8:0:1::", true},
        {"fe80::/10", "febf::1", "fec0::1", false},
        {"10.0.0.0/33", NULL, NULL, false},
        {"10.0.0.0/-1", NULL, NULL, false},
        {"10.0.0.0/", NULL, NULL, false},
        {"10.0.0.0/08", NULL, NULL, false},
        {"10.0.0.0/8/8", NULL, NULL, false},
        {"/8", NULL, NULL, false},
        {"::/129", NULL, NULL, false},
        {"10.0.0/8", NULL, NULL, false},
        {"", NULL, NULL, false},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct cidr c;
        struct addr a;
        bool host_bits;
        assert_int_equal(cidr_parse(str_of(rows[i].block), &c, &host_bits), rows[i].in != NULL);
        if (!rows[i].in)
            continue;
        assert_int_equal(host_bits, rows[i].host_bits);
        assert_true(addr_parse(str_of(rows[i].in), &a) && cidr_has(&c, &a));
        assert_true(addr_parse(str_of(rows[i].out), &a) && !cidr_has(&c, &a));
    }
}

static void endpoints(void **state) {
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        {"1.2.3.4:80", "1.2.3.4:80"},
        {"[::1]:65535", "[::1]:65535"},
        {"[::ffff:1.2.3.4]:80", "1.2.3.4:80"},
        {"1.2.3.4:0", NULL},
        {"1.2.3.4:65536", NULL},
        {"1.2.3.4:080", NULL},
        {"1.2.3.4:", NULL},
        {"1.2.3.4", NULL},
        {"::1:80", NULL},
        {"[1.2.3.4]:80", NULL},
        {"[::1]80", NULL},
        {"[]:80", NULL},
        {":80", NULL},
        {"", NULL},
        {"1.2.3.4:+80", NULL},
        {"1.2.3.4:8a", NULL},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct endpoint e, back;
        struct sockaddr_storage ss;
        char text[ENDPOINT_TEXT];
        assert_int_equal(endpoint_parse(str_of(rows[i].text), &e), rows[i].canonical != NULL);
        if (!rows[i].canonical)
            continue;
        assert_true(str_is(endpoint_format(&e, text), str_of(rows[i].canonical)));
        for (int as_v6 = 0; as_v6 < 2; as_v6++) {
            unsigned n = endpoint_to_sockaddr(&e, as_v6, &ss);
            assert_int_equal(ss.ss_family, addr_is_v4(&e.addr) && !as_v6 ? AF_INET : AF_INET6);
            assert_int_equal(n, ss.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
            assert_true(endpoint_from_sockaddr(&ss, &back) && endpoint_is(&e, &back));
        }
    }
    struct sockaddr_storage other = {.ss_family = AF_UNIX};
    struct endpoint e;
    assert_false(endpoint_from_sockaddr(&other, &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_to_address_and_back), cmocka_unit_test(blocks),
                                       cmocka_unit_test(endpoints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
