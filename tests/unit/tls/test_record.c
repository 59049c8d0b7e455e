/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: records of one direction are those of RFC 8446: keys from secrets, nonces from numbers, type behind the text, padding.
 * Method: values made with Python's hmac and OpenSSL's AES; what one side seals the other opens, in order and at no other place;
 * every bit of a record changed. test_channel and test_handover go on with whole sessions and the library as the peer. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/key.h>

#include "record.h"
#include "unit.h"

static uint8_t secret[RECORD_SECRET_MAX], sealed[RECORD_BODY_MAX + RECORD_HEADER_BYTES], opened[RECORD_BODY_MAX];

static int group_setup(void **state) {
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)(i * 7 + 1);
    return tls_library_init();
}

static bool has(int path) { return gcm_path_usable((enum gcm_path)path); }

static size_t seal(struct record_way *w, enum record_type type, const void *text, size_t n) {
    struct iovec pieces[2] = {{.iov_base = (void *)(uintptr_t)text, .iov_len = n}};
    record_seal(w, type, pieces, 1, n, sealed);
    return n + RECORD_OVERHEAD;
}

static bool open_sealed(struct record_way *w, size_t n_record, uint8_t *ret_type, size_t *ret_n) {
    size_t n_text = n_record - RECORD_HEADER_BYTES - GCM_TAG_BYTES;
    struct iovec pieces[2] = {{.iov_base = sealed + RECORD_HEADER_BYTES, .iov_len = n_text / 3},
                              {.iov_base = sealed + RECORD_HEADER_BYTES + n_text / 3, .iov_len = n_text - n_text / 3}};
    return record_open(w, sealed, pieces, 2, sealed + RECORD_HEADER_BYTES + n_text, opened, ret_type, ret_n);
}

static void assert_hex(const uint8_t *at, size_t n, const char *hex) {
    char text[256];
    assert_true(2 * n < sizeof(text));
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", at[i]);
    assert_string_equal(text, hex);
}

/* The first three records of each suite, and the first two after an update. */
static void test_values(void **state) {
    static const struct {
        size_t secret_n;
        const char *records[5];
    } rows[] = {
        {32,
         {"1703030019dd11e076b8b34471fc5a680dc6b98b5352fd94ba50fb196f71", "170303001371757eb12f2d62efc7043a776ce257c372879b",
          "17030300199c69ae11a8f86b51613dd14b71cb6d85bf5c94a904fd460645",
          "170303001946496ce1dfaa0c295540f430676cc9f43f74e29aba42281393",
          "1703030019f55f9f30942fa3701db8f3bc5ee3526b2c90565e7f3fc74151"}},
        {48,
         {"1703030019d992369e221bb815e96bb2880a7f376c5984d8d440f263d5ab", "1703030013b6acd994fb3756488805bee3035e89b4e08db2",
          "1703030019159755b1c6122c2dd12a44008b2551e5d2bc825fee158b7f63",
          "1703030019a70ff6c3ae0386373720cf415132d17d7474796ac1ee37a934",
          "1703030019732f83d564a3755459225743b191b144a77050ef7543c871e5"}},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (int path = 0; path < GCM_PATHS; path++) {
            struct record_way w;
            if (!has(path))
                continue;
            assert_int_equal(record_way_begin(&w, (enum gcm_path)path, secret, rows[i].secret_n), 0);
            for (size_t k = 0; k < 5; k++) {
                if (k == 3)
                    assert_int_equal(record_way_update(&w), 0);
                size_t n = seal(&w, k == 1 ? RECORD_ALERT : RECORD_DATA, k == 1 ? "\2\50" : "ringwall", k == 1 ? 2 : 8);
                assert_hex(sealed, n, rows[i].records[k]);
            }
            record_way_end(&w);
        }
}

static void test_order(void **state) {
    struct record_way ours, theirs;
    static uint8_t text[700];
    uint8_t type;
    size_t n;
    assert_int_equal(record_secret_bytes(RECORD_AES_256_GCM_SHA384), 48);
    assert_int_equal(record_secret_bytes(RECORD_AES_128_GCM_SHA256), 32);
    assert_int_equal(record_secret_bytes((enum record_suite)0x1303), 0);
    assert_int_equal(record_way_begin(&ours, gcm_path_best(), secret, 48), 0);
    assert_int_equal(record_way_begin(&theirs, GCM_WOLFCRYPT, secret, 48), 0);
    for (unsigned i = 0; i < 700; i++) { /* the number's second byte moves */
        size_t n_record = seal(&ours, i % 2 ? RECORD_DATA : RECORD_HANDSHAKE, text, i);
        assert_true(open_sealed(&theirs, n_record, &type, &n));
        assert_int_equal(type, i % 2 ? RECORD_DATA : RECORD_HANDSHAKE);
        assert_int_equal(n, i);
    }
    size_t n_record = seal(&ours, RECORD_DATA, "twice", 5);
    assert_true(open_sealed(&theirs, n_record, &type, &n));
    assert_false(open_sealed(&theirs, n_record, &type, &n)); /* not again */
    record_way_end(&theirs);
    assert_int_equal(record_way_begin(&theirs, GCM_WOLFCRYPT, secret, 48), 0);
    assert_false(open_sealed(&theirs, n_record, &type, &n)); /* nor in another place */
    record_way_end(&ours);
    record_way_end(&theirs);
    for (size_t i = 0; i < sizeof(ours); i++)
        assert_int_equal(((uint8_t *)&ours)[i], 0);
}

static void test_lengths(void **state) {
    static uint8_t text[RECORD_PLAIN_MAX];
    struct record_way ours, theirs;
    uint8_t type;
    size_t n;
    for (int path = 0; path < GCM_PATHS; path++) {
        if (!has(path))
            continue;
        assert_int_equal(record_way_begin(&ours, (enum gcm_path)path, secret, 32), 0);
        assert_int_equal(record_way_begin(&theirs, (enum gcm_path)path, secret, 32), 0);
        for (size_t i = 0; i <= RECORD_PLAIN_MAX; i += i < 300 ? 1 : i < 16300 ? 997 : 1) {
            memset(text, (int)i, i);
            size_t n_record = seal(&ours, RECORD_DATA, text, i);
            assert_int_equal(sealed[3] << 8 | sealed[4], n_record - RECORD_HEADER_BYTES);
            assert_true(open_sealed(&theirs, n_record, &type, &n));
            assert_int_equal(n, i);
            assert_int_equal(type, RECORD_DATA);
            assert_memory_equal(opened, text, n);
        }
        record_way_end(&ours);
        record_way_end(&theirs);
    }
}

/* Zeros behind the type are no text, whatever stands before them. */
static void test_padding(void **state) {
    static uint8_t inner[RECORD_PLAIN_MAX];
    struct record_way ours, theirs;
    uint8_t type;
    size_t n;
    assert_int_equal(record_way_begin(&ours, gcm_path_best(), secret, 48), 0);
    assert_int_equal(record_way_begin(&theirs, gcm_path_best(), secret, 48), 0);
    for (size_t i = 0; i < 40; i++)
        for (size_t padding = 0; padding < 300; padding += padding < 40 ? 1 : 13) {
            memset(inner, 0, sizeof(inner));
            memset(inner, i % 2 ? 0xff : 0, i); /* text of zeros, too */
            inner[i] = RECORD_ALERT;
            size_t n_record = seal(&ours, (enum record_type)0, inner, i + 1 + padding); /* its own type is one zero more */
            assert_true(open_sealed(&theirs, n_record, &type, &n));
            assert_int_equal(type, RECORD_ALERT);
            assert_int_equal(n, i);
        }
    for (size_t i = 0; i < RECORD_PLAIN_MAX; i += 123) {
        memset(inner, 0, sizeof(inner));
        size_t n_record = seal(&ours, (enum record_type)0, inner, i);
        assert_true(open_sealed(&theirs, n_record, &type, &n));
        assert_int_equal(type, 0);
        assert_int_equal(n, 0);
    }
    record_way_end(&ours);
    record_way_end(&theirs);
}

static void test_every_bit(void **state) {
    struct record_way ours, theirs;
    uint8_t type;
    size_t n;
    assert_int_equal(record_way_begin(&ours, gcm_path_best(), secret, 48), 0);
    size_t n_record = seal(&ours, RECORD_DATA, "every bit of it counts", 22);
    for (size_t bit = 0; bit < n_record * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(record_way_begin(&theirs, bit % 2 ? gcm_path_best() : GCM_WOLFCRYPT, secret, 48), 0);
        assert_false(open_sealed(&theirs, n_record, &type, &n));
        record_way_end(&theirs);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    record_way_end(&ours);
}

static void seal_too_much(void *way) {
    static uint8_t text[RECORD_PLAIN_MAX + 1];
    seal(way, RECORD_DATA, text, sizeof(text));
}
static void begin_odd(void *way) { ignore_result(record_way_begin(way, GCM_WOLFCRYPT, secret, 20)); /* dies before */ }

static void test_misuse(void **state) {
    struct record_way w;
    assert_int_equal(record_way_begin(&w, gcm_path_best(), secret, 48), 0);
    assert_true(unit_dies(seal_too_much, &w));
    record_way_end(&w);
    assert_true(unit_dies(begin_odd, &w));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_order),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_padding), cmocka_unit_test(test_every_bit), cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
