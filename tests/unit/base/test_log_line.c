/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: one record is one well-formed line, whatever bytes its values hold and however long they are. Method: exact
 * lines under a fixed clock; every byte value; random values of random lengths, checked for control bytes and quotes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/rng.h>

#include "../../../src/base/log_line.h"

#include "unit.h"

static uint64_t mono(void *context) { return 1; }
static int64_t wall(void *context) { return 1767323045 * (int64_t)NS_PER_S + 6000; }
static const struct clock_source fixed = {.mono_ns = mono, .wall_ns = wall};

#define TIME "2026-01-02T03:04:05.000006Z"

static size_t create(char out[LOG_LINE_BYTES + 1], enum log_format format, const struct log_field *fields, size_t n_fields,
                     const char *fmt, ...) {
    struct log_record r = {.level = LOG_INFO, .format = format, .scope = "access", .fields = fields, .n_fields = n_fields};
    va_list ap;
    va_start(ap, fmt);
    clock_override(&fixed);
    size_t n = log_line_create(out, &r, fmt, ap);
    clock_override(NULL);
    va_end(ap);
    assert_true(n <= LOG_LINE_BYTES);
    out[n] = 0;
    return n;
}

static void exact_lines(void **state) {
    const struct log_field fields[] = {KV_BARE("src.addr", STR("10.0.0.1:80")),
                                       KV_Z("src.workload", "client"),
                                       KV_Z("absent", NULL),
                                       KV_U64("bytes_sent", 0),
                                       KV_I64("left", -7),
                                       KV_BARE("none", STR_NULL),
                                       KV_STR("direction", STR("outbound"))};
    char line[LOG_LINE_BYTES + 1];
    create(line, LOG_TEXT, fields, array_size(fields), "connection %s", "complete");
    assert_string_equal(line, TIME "\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:80 src.workload=\"client\" bytes_sent=0 "
                                   "left=-7 direction=\"outbound\"\n");
    create(line, LOG_JSON, fields, array_size(fields), "connection %s", "complete");
    assert_string_equal(line,
                        "{\"level\":\"info\",\"time\":\"" TIME
                        "\",\"scope\":\"access\",\"message\":\"connection complete\",\"src.addr\":\"10.0.0.1:80\",\"src.workload\":"
                        "\"client\",\"bytes_sent\":0,\"left\":-7,\"direction\":\"outbound\"}\n");
    create(line, LOG_TEXT, NULL, 0, "plain");
    assert_string_equal(line, TIME "\tinfo\taccess\tplain\n");
    errno = ENOENT;
    create(line, LOG_TEXT, NULL, 0, "open: %m");
    assert_string_equal(line, TIME "\tinfo\taccess\topen: No such file or directory\n");
}

static void values_cannot_forge(void **state) {
    static const struct {
        const char *value, *text, *json;
    } cases[] = {
        {"a\nb", "\"a\\nb\"", "\"a\\nb\""},
        {"a\tb\r", "\"a\\tb\\r\"", "\"a\\tb\\r\""},
        {"\" k=\"v", "\"\\\" k=\\\"v\"", "\"\\\" k=\\\"v\""},
        {"back\\slash", "\"back\\\\slash\"", "\"back\\\\slash\""},
        {"\x1b[2J\x7f", "\"\\x1b[2J\\x7f\"", "\"\\u001b[2J\\u007f\""},
        {"\xc2\x9b"
         "2J",
         "\"\\u009b2J\"", "\"\\u009b2J\""},
        {"caf\xc3\xa9", "\"caf\xc3\xa9\"", "\"caf\xc3\xa9\""},
        {"\xff\xc3", "\"\\xff\\xc3\"", "\"\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        char line[LOG_LINE_BYTES + 1], expected[512];
        struct log_field f = KV_Z("k", cases[i].value);
        create(line, LOG_TEXT, &f, 1, "m");
        snprintf(expected, sizeof(expected), TIME "\tinfo\taccess\tm\tk=%s\n", cases[i].text);
        assert_string_equal(line, expected);
        create(line, LOG_JSON, &f, 1, "m");
        assert_non_null(strstr(line, cases[i].json));
    }
    char line[LOG_LINE_BYTES + 1];
    struct log_field bare = KV_BARE("k", STR("a b=\"c\n"));
    create(line, LOG_TEXT, &bare, 1, "two\nlines\tand \"quotes\"");
    assert_string_equal(line, TIME "\tinfo\taccess\ttwo\\nlines\\tand \"quotes\"\tk=a\\x20b=\"c\\n\n");
    struct log_field nul = KV_STR("k", ((struct str){.at = "a\0b", .n = 3}));
    create(line, LOG_TEXT, &nul, 1, "m");
    assert_string_equal(line, TIME "\tinfo\taccess\tm\tk=\"a\\x00b\"\n");
}

static void long_values_are_cut_between_characters(void **state) {
    char line[LOG_LINE_BYTES + 1], value[3000];
    for (size_t i = 0; i + 2 < sizeof(value); i += 2)
        memcpy(value + i, "\xc3\xa9", 2);
    struct log_field fields[] = {KV_STR("a", ((struct str){value, 2998})), KV_STR("b", ((struct str){value, 2998})),
                                 KV_Z("error", "policy denied")};
    create(line, LOG_TEXT, fields, 3, "m");
    assert_non_null(strstr(line, "\" error=\"policy denied\" truncated=true\n")); /* the last field is still there */
    assert_true(str_is_utf8(str_of(line)));
    create(line, LOG_JSON, fields, 3, "m");
    assert_non_null(strstr(line, "\"error\":\"policy denied\",\"truncated\":true}\n"));

    char message[3000];
    memset(message, 'm', sizeof(message));
    size_t n = create(line, LOG_TEXT, NULL, 0, "%.*s", (int)sizeof(message), message);
    assert_true(n > LOG_MESSAGE_BYTES && n < LOG_MESSAGE_BYTES + 100);
    assert_non_null(strstr(line, "m\ttruncated=true\n"));
}

/* Just enough JSON to know that the line is one object of strings and numbers. */
static bool is_flat_json(const char *at) {
    if (*at++ != '{')
        return false;
    for (;;) {
        for (int part = 0; part < 2; part++) {
            if (*at == '"') {
                for (at++; *at != '"'; at++) {
                    if ((unsigned char)*at < 0x20)
                        return false;
                    if (*at == '\\' && *++at == 'u') {
                        if (strspn(at + 1, "0123456789abcdef") < 4)
                            return false;
                        at += 4;
                    }
                }
                at++;
            } else if (part == 1 && !strncmp(at, "true", 4)) {
                at += 4;
            } else if (part == 1 && strspn(at, "-0123456789")) {
                at += strspn(at, "-0123456789");
            } else {
                return false;
            }
            if (part == 0 && *at++ != ':')
                return false;
        }
        if (*at == '}')
            return !strcmp(at, "}\n");
        if (*at++ != ',')
            return false;
    }
}

static void any_bytes_make_one_line(void **state) {
    struct rng rng;
    rng_seed(&rng, 3);
    for (int round = 0; round < 20000; round++) {
        char bytes[900], line[LOG_LINE_BYTES + 1];
        struct log_field fields[200];
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(rng_below(&rng, 3) ? rng_u64(&rng) : 'a');
        size_t n_fields = rng_below(&rng, rng_below(&rng, 4) ? 13 : array_size(fields) + 1),
               n_longest = 1 + rng_below(&rng, sizeof(bytes));
        for (size_t i = 0; i < n_fields; i++) {
            fields[i] = (struct log_field){
                .key = "some.key", .kind = (enum log_kind)rng_below(&rng, 4), .u = rng_u64(&rng), .i = INT64_MIN};
            fields[i].s = (struct str){bytes, rng_below(&rng, n_longest)};
        }
        size_t n = create(line, LOG_TEXT, fields, n_fields, "%.*s", (int)rng_below(&rng, n_longest), bytes);
        assert_int_equal(strlen(line), n);
        assert_ptr_equal(strchr(line, '\n'), line + n - 1);
        line[n - 1] = 0;
        assert_true(str_is_utf8(str_of(line)));
        n = create(line, LOG_JSON, fields, n_fields, "%.*s", (int)rng_below(&rng, n_longest), bytes);
        assert_int_equal(strlen(line), n);
        assert_true(str_is_utf8(str_of(line)));
        assert_true(is_flat_json(line));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_lines),
        cmocka_unit_test(values_cannot_forge),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(any_bytes_make_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
