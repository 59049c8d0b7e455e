/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: header values of gRPC are read by its rules and bounded; ours can be read by others; no peer puts control bytes in a log.
 * Method: tables of right and wrong values; every byte through both directions of the percent-encoding. */
#include "../../../src/wire/grpc_text.h"

#include "unit.h"

static void content_types(void **state) {
    static const struct {
        const char *value;
        bool taken;
    } table[] = {{"application/grpc", true},
                 {"application/grpc+proto", true},
                 {"Application/GRPC", true},
                 {"application/grpc;v=1", true},
                 {"application/grpc+proto; a=b", true},
                 {"application/grpc+json", false},
                 {"application/grpc-web", false},
                 {"application/grpcx", false},
                 {"application/grp", false},
                 {"application/grpc+protox", false},
                 {"text/html", false},
                 {"", false}};
    for (size_t i = 0; i < array_size(table); i++)
        assert_int_equal(grpc_content_type(str_of(table[i].value)), table[i].taken);
}

static void timeouts(void **state) {
    static const struct {
        const char *value;
        bool taken;
        uint64_t ns;
    } table[] = {
        {"1S", true, 1000000000},
        {"100m", true, 100000000},
        {"5u", true, 5000},
        {"7n", true, 7},
        {"2M", true, 120000000000},
        {"1H", true, 3600000000000},
        {"0S", true, 1},
        {"0n", true, 1},
        {"99999999H", true, 0}, /* longer than we count: none */
        {"31536000S", true, 31536000000000000},
        {"31536001S", true, 0},
        {"99999999n", true, 99999999},
        {"100000000n", false, 0},
        {"", false, 0},
        {"S", false, 0},
        {"1", false, 0},
        {"1s", false, 0},
        {"-1S", false, 0},
        {"+1S", false, 0},
        {" 1S", false, 0},
        {"1 S", false, 0},
        {"1.5S", false, 0},
        {"0x1S", false, 0},
    };
    for (size_t i = 0; i < array_size(table); i++) {
        uint64_t ns = 77;
        assert_int_equal(grpc_timeout_parse(str_of(table[i].value), &ns), table[i].taken);
        if (table[i].taken)
            assert_true(ns == table[i].ns);
    }
}

static void timeouts_go_round_never_shorter(void **state) {
    for (uint64_t ns = 1; ns < 60ULL * 86400 * 1000000000; ns = ns * 3 + 1) {
        char text[16];
        uint64_t back;
        size_t n = grpc_timeout_create(ns, text);
        assert_in_range(n, 2, 9);
        assert_true(grpc_timeout_parse((struct str){text, n}, &back));
        assert_true(back >= ns && back - ns <= ns / 1000);
    }
    char text[16];
    assert_int_equal(grpc_timeout_create(UINT64_MAX, text), 8); /* 5124096 hours */
}

static void messages_are_percent_encoded(void **state) {
    char wire[GRPC_TEXT_WIRE_MAX], back[GRPC_TEXT_MAX];
    static const struct {
        const char *plain, *wire;
    } table[] = {{"", ""}, {"no such method", "no such method"}, {"100%", "100%25"}, {"a\nb", "a%0Ab"}, {"\xc3\xa9", "%C3%A9"}};
    for (size_t i = 0; i < array_size(table); i++) {
        size_t n = grpc_text_encode(str_of(table[i].plain), wire);
        assert_true(str_is((struct str){wire, n}, str_of(table[i].wire)));
    }
    for (unsigned c = 0; c < 256; c++) { /* what goes out is visible ASCII whatever goes in */
        char byte = (char)c;
        size_t n = grpc_text_encode((struct str){&byte, 1}, wire);
        for (size_t i = 0; i < n; i++)
            assert_in_range((uint8_t)wire[i], 0x20, 0x7e);
    }
    static char big[2 * GRPC_TEXT_MAX];
    memset(big, 1, sizeof(big));
    assert_int_equal(grpc_text_encode((struct str){big, sizeof(big)}, wire), GRPC_TEXT_WIRE_MAX);
    memset(big, 'a', sizeof(big));
    assert_int_equal(grpc_text_decode((struct str){big, sizeof(big)}, back), GRPC_TEXT_MAX);
}

static void what_is_decoded_is_printable(void **state) {
    static const struct {
        const char *wire, *plain;
    } table[] = {{"a%20b", "a b"}, {"%C3%A9", "\xc3\xa9"}, {"%c3%a9", "\xc3\xa9"}, {"100%", "100%"},    {"%2", "%2"},
                 {"%zz", "%zz"},   {"%0Ax", "?x"},         {"%1B[31m", "?[31m"},   {"%FF", "?"},        {"%C3", "?"},
                 {"%C3%28", "?("}, {"%00", "?"},           {"%7f", "?"},           {"%25%32%35", "%25"}};
    char back[GRPC_TEXT_MAX];
    for (size_t i = 0; i < array_size(table); i++) {
        size_t n = grpc_text_decode(str_of(table[i].wire), back);
        assert_true(str_is((struct str){back, n}, str_of(table[i].plain)));
    }
}

static void codes(void **state) {
    for (int code = 0; code < _GRPC_CODE_MAX; code++) {
        char text[4];
        snprintf(text, sizeof(text), "%d", code);
        assert_int_equal(grpc_code_parse(str_of(text)), code);
        assert_non_null(grpc_code_text((enum grpc_code)code));
    }
    static const char *const unknown[] = {"17", "-1", "", "99999999999999999999", "0x0", "OK", " 0"};
    for (size_t i = 0; i < array_size(unknown); i++)
        assert_int_equal(grpc_code_parse(str_of(unknown[i])), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_of_http(STR("503")), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_code_of_http(STR("401")), GRPC_UNAUTHENTICATED);
    assert_int_equal(grpc_code_of_http(STR("200")), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_of_http(STR("")), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_of_reset(H2_CANCEL), GRPC_CANCELLED);
    assert_int_equal(grpc_code_of_reset(H2_REFUSED_STREAM), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_code_of_reset(0xffffffff), GRPC_INTERNAL);
    assert_string_equal(grpc_code_text((enum grpc_code)77), "UNKNOWN");
}

static void metadata_is_the_application_s_alone(void **state) {
    static const struct h2_header headers[] = {{STR(":path"), STR("/a")},
                                               {STR("te"), STR("trailers")},
                                               {STR("grpc-timeout"), STR("1S")},
                                               {STR("content-type"), STR("application/grpc")},
                                               {STR("a"), STR("1")},
                                               {STR("b"), STR("2")},
                                               {STR("b"), STR("3")}};
    struct grpc_metadata m[GRPC_METADATA_MAX];
    struct h2_header many[GRPC_METADATA_MAX + 1];
    size_t n;
    assert_true(grpc_metadata_of(headers, array_size(headers), m, &n));
    assert_int_equal(n, 3);
    assert_true(str_is(grpc_metadata_get(m, n, STR("a")), STR("1")));
    assert_null(grpc_metadata_get(m, n, STR("b")).at); /* twice is none: nobody chooses which */
    assert_null(grpc_metadata_get(m, n, STR("c")).at);
    for (size_t i = 0; i < array_size(many); i++)
        many[i] = headers[4];
    assert_true(grpc_metadata_of(many, GRPC_METADATA_MAX, m, &n));
    assert_false(grpc_metadata_of(many, GRPC_METADATA_MAX + 1, m, &n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_types),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(timeouts_go_round_never_shorter),
        cmocka_unit_test(messages_are_percent_encoded),
        cmocka_unit_test(what_is_decoded_is_printable),
        cmocka_unit_test(codes),
        cmocka_unit_test(metadata_is_the_application_s_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
