/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a request is taken only when it is a classic CONNECT with a usable authority; hints never hurt; what we create is
 * what a ztunnel expects and what we consume. Method: tables of header values, many of them hostile. */
#include <string.h>

#include <ringwall/wire/hbone.h>

#include "unit.h"

#define LINE(n, v) \
    { .name = STR(n), .value = STR(v) }

static int consume_authority(const char *authority, struct hbone_request *ret) {
    struct h2_header lines[] = {LINE(":method", "CONNECT"), {STR(":authority"), str_of(authority)}};
    return hbone_consume_request(lines, 2, ret);
}

static void addresses_and_names_are_authorities(void **state) {
    static const struct {
        const char *text, *host; /* host NULL: an address */
        uint16_t port;
    } cases[] = {
        {"10.0.0.1:80", NULL, 80},
        {"[::1]:65535", NULL, 65535},
        {"[2001:db8::1]:15008", NULL, 15008},
        {"web.default.svc.cluster.local:8080", "web.default.svc.cluster.local", 8080},
        {"WEB.Default.svc:1", "web.default.svc", 1},
        {"web.:1", "web", 1},
        {"a-b_c.d:9", "a-b_c.d", 9},
        {"1a:9", "1a", 9},
        {"1.2.3.4.example:9", "1.2.3.4.example", 9},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct hbone_request r;
        assert_int_equal(consume_authority(cases[i].text, &r), HBONE_REQUEST_OK);
        assert_int_equal(r.port, cases[i].port);
        assert_int_equal(r.has_address, !cases[i].host);
        assert_string_equal(r.host, cases[i].host ? cases[i].host : "");
        if (r.has_address)
            assert_int_equal(r.address.port, cases[i].port);
    }
}

static void other_authorities_are_refused(void **state) {
    static const char *const wrong[] = {
        "10.0.0.1",     "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:8 0",
        "10.0.0.1:80x", "::1:80",    "[::1]",      "[::1:80",        "1.2.3:80",    "256.1.1.1:80",
        ":80",          ".:80",      "a..b:80",    ".a:80",          "-a:80",       "a-:80",
        "a-.b:80",      "a.-b:80",   "u@host:80",  "http://a:80",    "a/b:80",      "a:80/",
        "a b:80",       "a\t:80",    "a%2e:80",    "\xc3\xa9:80",    "a:b:80",      "[fe80::1%eth0]:80",
        "*:80",         "a.1:80",
    };
    struct hbone_request r;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_int_equal(consume_authority(wrong[i], &r), HBONE_BAD_AUTHORITY);
    assert_int_equal(consume_authority("", &r), HBONE_NO_AUTHORITY);
    /* lengths at the bound: labels of 63, names of 253 */
    char name[400], text[420];
    for (size_t n = 60; n < 70; n++) {
        memset(name, 'a', n);
        name[n] = 0;
        snprintf(text, sizeof(text), "%s:1", name);
        assert_int_equal(consume_authority(text, &r), n <= 63 ? 0 : HBONE_BAD_AUTHORITY);
    }
    for (size_t n = 250; n < 260; n++) {
        for (size_t i = 0; i < n; i++)
            name[i] = i % 10 == 9 ? '.' : 'b';
        name[n - 1] = 'b';
        name[n] = 0;
        snprintf(text, sizeof(text), "%s:1", name);
        assert_int_equal(consume_authority(text, &r), n <= HBONE_HOST_MAX ? 0 : HBONE_BAD_AUTHORITY);
    }
}

static void only_classic_connect_is_hbone(void **state) {
    static const struct {
        struct h2_header lines[4];
        size_t n;
        int verdict;
    } cases[] = {
        {{LINE(":method", "GET"), LINE(":scheme", "https"), LINE(":path", "/"), LINE(":authority", "1.2.3.4:5")},
         4,
         HBONE_NOT_CONNECT},
        {{LINE(":method", "connect"), LINE(":authority", "1.2.3.4:5")}, 2, HBONE_NOT_CONNECT},
        {{LINE(":authority", "1.2.3.4:5")}, 1, HBONE_NOT_CONNECT},
        {{LINE(":method", "CONNECT")}, 1, HBONE_NO_AUTHORITY},
        {{LINE(":method", "CONNECT"), LINE("host", "1.2.3.4:5")}, 2, HBONE_NO_AUTHORITY},
        {{LINE(":method", "CONNECT"), LINE(":authority", "1.2.3.4:5"), LINE(":protocol", "connect-udp")}, 3, HBONE_EXTENDED},
        {{LINE(":method", "CONNECT"), LINE(":authority", "1.2.3.4:5"), LINE(":path", "/")}, 3, HBONE_EXTENDED},
        {{LINE(":method", "CONNECT"), LINE(":authority", "1.2.3.4:5"), LINE(":authority", "1.2.3.4:6")}, 3, HBONE_BAD_AUTHORITY},
        {{LINE(":method", "CONNECT"), LINE(":authority", "1.2.3.4:5"), LINE("x-unknown", "\xff")}, 3, HBONE_REQUEST_OK},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct hbone_request r;
        int v = hbone_consume_request(cases[i].lines, cases[i].n, &r);
        assert_int_equal(v, cases[i].verdict);
        assert_non_null(hbone_verdict_text(v));
    }
    assert_non_null(hbone_verdict_text(99));
    assert_non_null(hbone_verdict_text(-1));
}

static void consume_with(const char *name, struct str value, struct hbone_request *ret) {
    struct h2_header lines[] = {LINE(":method", "CONNECT"), LINE(":authority", "1.2.3.4:5"), {str_of(name), value}};
    assert_int_equal(hbone_consume_request(lines, 3, ret), 0);
}

static void forwarded_gives_a_host_or_nothing(void **state) {
    static const struct {
        const char *text, *host;
    } cases[] = {
        {"for=\"1.2.3.4:5\";host=web.ns.svc", "web.ns.svc"},
        {"host=\"Web.ns\"", "web.ns"},
        {"for=x; HOST=web", "web"},
        {"for=a, for=b;host=c", "c"},
        {"host=a;host=b", "a"},
        {"for=\"1.2.3.4:5\"", ""},
        {"host=", ""},
        {"host=\"", ""},
        {"host=\"\"", ""},
        {"host", ""},
        {"", ""},
        {";;;===,,,", ""},
        {"host=a b", ""},
        {"host=a\xc3\xa9", ""},
        {"xhost=a", ""},
        {"host=../../etc", ""},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct hbone_request r;
        consume_with("forwarded", str_of(cases[i].text), &r);
        assert_string_equal(r.service_hint, cases[i].host);
    }
}

static void traceparent_is_taken_whole_or_not(void **state) {
    static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static const char *const wrong[] = {
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "00+0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    };
    struct hbone_request r;
    consume_with("traceparent", str_of(good), &r);
    assert_string_equal(r.trace_id, "0af7651916cd43dd8448eb211c80319c");
    for (size_t i = 0; i < array_size(wrong); i++) {
        consume_with("traceparent", str_of(wrong[i]), &r);
        assert_string_equal(r.trace_id, "");
    }
}

static void baggage_is_cut_and_cleaned(void **state) {
    struct hbone_request r;
    consume_with("baggage",
                 STR("k8s.cluster.name=Kubernetes, k8s.namespace.name = ns ,k8s.deployment.name=web;prop=1,service.name=s\"v\\c,"
                     "service.version=v1,cloud.region=eu,unknown,=,k8s.cluster.name=second"),
                 &r);
    assert_string_equal(r.source.cluster, "Kubernetes");
    assert_string_equal(r.source.ns, "ns");
    assert_string_equal(r.source.name, "web");
    assert_string_equal(r.source.service, "s_v_c");
    assert_string_equal(r.source.revision, "v1");
    char big[1000];
    memset(big, 'x', sizeof(big));
    memcpy(big, "service.name=", 13);
    consume_with("baggage", (struct str){big, sizeof(big)}, &r);
    assert_int_equal(strlen(r.source.service), sizeof(r.source.service) - 1);
    consume_with("baggage", (struct str){"service.name=a\0b\n\xff", 18}, &r);
    assert_string_equal(r.source.service, "a_b__");
}

static struct str value_of(const struct hbone_headers *h, const char *name) {
    for (size_t i = 0; i < h->n; i++)
        if (str_is(h->items[i].name, str_of(name)))
            return h->items[i].value;
    return STR_NULL;
}

static void our_connect_is_what_ztunnel_expects(void **state) {
    struct hbone_connect c = {.cluster = STR("Kubernetes"),
                              .ns = STR("default"),
                              .workload = STR("web"),
                              .workload_type = STR("deployment"),
                              .canonical = STR("web"),
                              .revision = STR("v1"),
                              .region = STR("r"),
                              .zone = STR("z"),
                              .service = STR("api.ns.svc")};
    struct hbone_headers h;
    struct hbone_request r;
    assert_true(endpoint_parse(STR("10.1.2.3:8080"), &c.address));
    assert_true(endpoint_parse(STR("[2001:db8::5]:4000"), &c.client));
    snprintf(c.trace_id, sizeof(c.trace_id), "0af7651916cd43dd8448eb211c80319c");
    snprintf(c.span_id, sizeof(c.span_id), "b7ad6b7169203331");
    hbone_create_connect(&c, &h);
    assert_true(str_is(h.items[0].name, STR(":method")) && str_is(h.items[1].name, STR(":authority"))); /* pseudo first */
    assert_true(str_is(value_of(&h, ":authority"), STR("10.1.2.3:8080")));
    assert_true(str_is(value_of(&h, "baggage"),
                       STR("k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=web,service.name=web,"
                           "service.version=v1,cloud.region=r,cloud.availability_zone=z")));
    assert_true(str_is(value_of(&h, "forwarded"), STR("for=\"[2001:db8::5]:4000\";host=api.ns.svc")));
    assert_true(str_is(value_of(&h, "traceparent"), STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")));
    assert_int_equal(hbone_consume_request(h.items, h.n, &r), 0);
    assert_true(r.has_address && endpoint_is(&r.address, &c.address));
    assert_string_equal(r.service_hint, "api.ns.svc");
    assert_string_equal(r.source.name, "web");
    assert_string_equal(r.trace_id, c.trace_id);
}

static void absent_values_are_left_out_and_odd_ones_cleaned(void **state) {
    struct hbone_connect c = {0};
    struct hbone_headers h;
    assert_true(endpoint_parse(STR("[::1]:1"), &c.address));
    hbone_create_connect(&c, &h);
    assert_int_equal(h.n, 3); /* method, authority, forwarded */
    char big[4000];
    memset(big, ',', sizeof(big));
    struct str odd = {big, sizeof(big)};
    c = (struct hbone_connect){.address = c.address,
                               .client = c.address,
                               .service = odd,
                               .cluster = odd,
                               .ns = odd,
                               .workload = odd,
                               .workload_type = odd,
                               .canonical = odd,
                               .revision = odd,
                               .region = odd,
                               .zone = odd};
    snprintf(c.trace_id, sizeof(c.trace_id), "0af7651916cd43dd8448eb211c80319c");
    snprintf(c.span_id, sizeof(c.span_id), "b7ad6b7169203331");
    hbone_create_connect(&c, &h);
    struct str baggage = value_of(&h, "baggage");
    size_t commas = 0;
    for (size_t i = 0; i < baggage.n; i++)
        commas += baggage.at[i] == ',';
    assert_int_equal(commas, 6);                         /* between seven members, none inside */
    assert_int_equal(value_of(&h, "traceparent").n, 55); /* all text had room */
    assert_true(str_is(value_of(&h, "forwarded"), STR("for=\"[::1]:1\"")));
}

static void responses_go_round(void **state) {
    static const struct {
        enum hbone_status status;
        const char *reason, *read;
    } cases[] = {
        {HBONE_OK, NULL, ""},
        {HBONE_DENIED, "policy_denied", "policy_denied"},
        {HBONE_UNAVAILABLE, "Connect Refused!", "connect_refused_"},
        {HBONE_BAD_REQUEST, "", ""},
        {HBONE_BAD_REQUEST, "0123456789012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789012"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct hbone_headers h;
        struct hbone_response r;
        hbone_create_response(cases[i].status, cases[i].reason, &h);
        hbone_consume_response(h.items, h.n, &r);
        assert_int_equal(r.status, cases[i].status);
        assert_string_equal(r.reason, cases[i].read);
    }
}

static void foreign_responses_are_read_with_care(void **state) {
    static const struct {
        struct h2_header lines[2];
        unsigned status;
    } cases[] = {
        {{LINE(":status", "200"), LINE("x-ringwall-reason", "bad reason")}, 200},
        {{LINE(":status", "2000"), LINE("x-ringwall-reason", "")}, 0},
        {{LINE(":status", "099"), LINE("x-ringwall-reason", "\n")}, 0},
        {{LINE(":status", "abc"), LINE("x-ringwall-reason", "<script>")}, 0},
        {{LINE("status", "200"), LINE("x", "y")}, 0},
    };
    struct hbone_response r;
    for (size_t i = 0; i < array_size(cases); i++) {
        hbone_consume_response(cases[i].lines, 2, &r);
        assert_int_equal(r.status, cases[i].status);
        assert_string_equal(r.reason, "");
    }
    hbone_consume_response(NULL, 0, &r);
    assert_int_equal(r.status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_names_are_authorities),
        cmocka_unit_test(other_authorities_are_refused),
        cmocka_unit_test(only_classic_connect_is_hbone),
        cmocka_unit_test(forwarded_gives_a_host_or_nothing),
        cmocka_unit_test(traceparent_is_taken_whole_or_not),
        cmocka_unit_test(baggage_is_cut_and_cleaned),
        cmocka_unit_test(our_connect_is_what_ztunnel_expects),
        cmocka_unit_test(absent_values_are_left_out_and_odd_ones_cleaned),
        cmocka_unit_test(responses_go_round),
        cmocka_unit_test(foreign_responses_are_read_with_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
