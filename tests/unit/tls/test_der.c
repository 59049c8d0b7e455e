/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: DER is read only in its one form and within its bounds; what the writer writes the reader reads.
 * Method: tables of bytes, each element also at every shorter length. */
#include "der.h"
#include "unit.h"

#define BYTES(...) \
    { (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}) }

static void test_next(void **state) {
    const struct der bad[] = {
        {NULL, 0},
        BYTES(0x30),
        BYTES(0x30, 0x01),
        BYTES(0x30, 0x80, 0x00, 0x00),             /* indefinite */
        BYTES(0x30, 0x81, 0x01, 0x00),             /* long form of a short length */
        BYTES(0x30, 0x82, 0x00, 0x80),             /* leading zero */
        BYTES(0x30, 0x84, 0x01, 0x00, 0x00, 0x00), /* more than we ever read */
        BYTES(0x30, 0x83, 0xff, 0xff, 0xff),
        BYTES(0x1f, 0x81, 0x01, 0x00), /* high tag */
    };
    struct der_item item;
    for (size_t i = 0; i < array_size(bad); i++) {
        struct der in = bad[i];
        assert_false(der_next(&in, &item));
        assert_int_equal(in.n, bad[i].n);
    }
    uint8_t bytes[131] = {0x04, 0x81, 0x80};
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        struct der in = {bytes, n};
        assert_int_equal(der_next(&in, &item), n == sizeof(bytes));
    }
    assert_int_equal(item.body.n, 128);
    assert_int_equal(item.whole.n, 131);
}

static void test_values(void **state) {
    const struct der bad_naturals[] = {BYTES(0x02, 0x00), BYTES(0x02, 0x01, 0x80), BYTES(0x02, 0x02, 0x00, 0x01),
                                       BYTES(0x03, 0x01, 0x01)};
    const struct der bad_bools[] = {BYTES(0x01, 0x01, 0x01), BYTES(0x01, 0x00), BYTES(0x01, 0x02, 0xff, 0xff)};
    const struct der bad_flags[] = {BYTES(0x03, 0x00), BYTES(0x03, 0x01, 0x01), BYTES(0x03, 0x02, 0x08, 0x80),
                                    BYTES(0x03, 0x02, 0x01, 0x81), BYTES(0x03, 0x04, 0x00, 0x80, 0x80, 0x80)};
    const struct der bad_bits[] = {BYTES(0x03, 0x01, 0x00), BYTES(0x03, 0x02, 0x01, 0x80)};
    struct der in, out;
    bool b;
    unsigned u;
    for (size_t i = 0; i < array_size(bad_naturals); i++)
        assert_false(der_take_natural(&(struct der){bad_naturals[i].at, bad_naturals[i].n}, &out));
    for (size_t i = 0; i < array_size(bad_bools); i++)
        assert_false(der_take_bool(&(struct der){bad_bools[i].at, bad_bools[i].n}, &b));
    for (size_t i = 0; i < array_size(bad_flags); i++)
        assert_false(der_take_flags(&(struct der){bad_flags[i].at, bad_flags[i].n}, &u));
    for (size_t i = 0; i < array_size(bad_bits); i++)
        assert_false(der_take_bits(&(struct der){bad_bits[i].at, bad_bits[i].n}, &out));
    in = (struct der)BYTES(0x02, 0x02, 0x00, 0xff);
    assert_true(der_take_natural(&in, &out) && out.n == 1 && out.at[0] == 0xff && in.n == 0);
    in = (struct der)BYTES(0x02, 0x02, 0x01, 0x00);
    assert_false(der_take_small(&in, 255, &u));
    in = (struct der)BYTES(0x02, 0x02, 0x01, 0x00);
    assert_true(der_take_small(&in, 256, &u) && u == 256);
    in = (struct der)BYTES(0x03, 0x02, 0x05, 0xa0);
    assert_true(der_take_flags(&in, &u));
    assert_int_equal(u, 1U << 0 | 1U << 2);
}

static void test_time(void **state) {
    static const struct {
        uint8_t tag;
        const char *text;
        int64_t unix_s; /* -1: refused */
    } rows[] = {
        {DER_UTC_TIME, "700101000000Z", 0},
        {DER_UTC_TIME, "491231235959Z", 2524607999},
        {DER_UTC_TIME, "500101000000Z", -631152000},
        {DER_GENERALIZED_TIME, "20500101000000Z", 2524608000},
        {DER_GENERALIZED_TIME, "99991231235959Z", 253402300799},
        {DER_UTC_TIME, "240229120000Z", 1709208000},
        {DER_UTC_TIME, "230229120000Z", -1},
        {DER_UTC_TIME, "231301000000Z", -1},
        {DER_UTC_TIME, "230001000000Z", -1},
        {DER_UTC_TIME, "230100000000Z", -1},
        {DER_UTC_TIME, "230101240000Z", -1},
        {DER_UTC_TIME, "230101000060Z", -1},
        {DER_UTC_TIME, "2301010000Z", -1},
        {DER_UTC_TIME, "230101000000+", -1},
        {DER_UTC_TIME, "23010100000xZ", -1},
        {DER_UTC_TIME, "20230101000000Z", -1},
        {DER_GENERALIZED_TIME, "230101000000Z", -1},
        {DER_GENERALIZED_TIME, "20230101000000.5Z", -1},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        uint8_t buffer[64];
        struct der_out o = DER_OUT(buffer);
        int64_t seen = -1;
        der_put_tagged(&o, rows[i].tag, rows[i].text, strlen(rows[i].text));
        struct der in = der_out_bytes(&o);
        bool ok = der_take_time(&in, &seen);
        if (ok != (rows[i].unix_s != -1) || (ok && seen != rows[i].unix_s))
            fail_msg("%s: %lld", rows[i].text, (long long)seen);
        if (!ok)
            continue;
        struct der_out again = DER_OUT(buffer);
        der_put_time(&again, seen);
        in = der_out_bytes(&again);
        assert_int_equal(in.at[0], rows[i].tag);
        assert_memory_equal(in.at + 2, rows[i].text, strlen(rows[i].text));
    }
}

static void test_write(void **state) {
    static const size_t sizes[] = {0, 1, 127, 128, 255, 256, 60000};
    static uint8_t buffer[70000], zeros[60000];
    for (size_t i = 0; i < array_size(sizes); i++) {
        struct der_out o = DER_OUT(buffer);
        struct der in, body;
        der_put_tagged(&o, DER_OCTET_STRING, zeros, sizes[i]);
        der_wrap(&o, DER_SEQUENCE, 0);
        in = der_out_bytes(&o);
        assert_false(o.full);
        assert_true(der_take(&in, DER_SEQUENCE, &body) && in.n == 0);
        assert_true(der_take(&body, DER_OCTET_STRING, &in) && body.n == 0);
        assert_int_equal(in.n, sizes[i]);
    }
    for (unsigned value = 0; value < 70000; value += value < 300 ? 1 : 997) {
        struct der_out o = DER_OUT(buffer);
        unsigned seen;
        der_put_small(&o, value);
        struct der in = der_out_bytes(&o);
        assert_true(der_take_small(&in, 1 << 20, &seen) && seen == value && in.n == 0);
    }
    for (unsigned flags = 0; flags < 1 << 10; flags++) {
        struct der_out o = DER_OUT(buffer);
        unsigned seen;
        der_put_flags(&o, flags);
        struct der in = der_out_bytes(&o);
        assert_true(der_take_flags(&in, &seen) && seen == flags);
    }
    struct der_out small = {.buffer = buffer, .cap = 4};
    der_put(&small, zeros, 3);
    der_put(&small, zeros, 2);
    assert_true(small.full);
    assert_int_equal(small.n, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
