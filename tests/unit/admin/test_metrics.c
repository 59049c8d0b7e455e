/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the metrics page keeps the exposition format, the agreed names, and the sums of all workers. Method: a small
 * parser of the format over the whole page; single samples by name. */
#include <ctype.h>

#include "view_unit.h"

static uint64_t capture_three(void *context, unsigned index) { return index == 3 ? 3 : 0; }

static void make(struct unit_view *u, struct reply *r, const char *certs, const char *config) {
    unit_view_init(u, "node node-1\npod a/b ip=10.0.0.1\n");
    u->options.capture_counts = capture_three;
    u->options.node = "no\"de\\\n";
    static struct doors_stats doors;
    counter_set(&doors.connections, 3);
    counter_set(&doors.nacks, 8);
    u->options.doors = &doors;
    assert_int_equal(question_begin(&u->question, NEED_BIT(NEED_CERTS) | NEED_BIT(NEED_CONFIG), &u->options, u->reply, &u->next_id),
                     0);
    if (certs)
        unit_answer(u, u->options.identity, certs);
    if (config)
        unit_answer(u, u->options.config, config);
    question_give_up(&u->question);
    counter_add(&u->stats[0].opened[STATS_OUTBOUND], 5);
    counter_add(&u->stats[1].opened[STATS_OUTBOUND], 2);
    counter_add(&u->stats[1].opened_mtls[STATS_OUTBOUND], 6);
    counter_add(&u->stats[0].closed[STATS_INBOUND][CLOSE_POLICY_DENIED], 4);
    counter_add(&u->stats[0].closed[STATS_INBOUND][CLOSE_FINISHED], 9);
    counter_add(&u->stats[0].bytes_sent[STATS_OUTBOUND], 100);
    counter_add(&u->stats[0].bytes_received[STATS_OUTBOUND], 200);
    counter_add(&u->stats[0].bytes_sent[STATS_INBOUND], 300);
    counter_add(&u->stats[0].bytes_received[STATS_INBOUND], 400);
    unit_page(u, "/metrics", r);
    assert_int_equal(r->status, 200);
    assert_string_equal(r->type, "text/plain; version=0.0.4; charset=utf-8");
}

static void finish(struct unit_view *u, struct reply *r) {
    growing_deinit(&r->body);
    unit_view_deinit(u);
}

static void expect_sample(const struct reply *r, const char *sample) {
    char line[512];
    snprintf(line, sizeof(line), "\n%s\n", sample);
    if (!strstr(r->body.at, line))
        fail_msg("no sample: %s", sample);
}

static void samples(void **state) {
    struct unit_view u;
    struct reply r;
    make(&u, &r,
         "[{\"identity\":\"spiffe://td/ns/a/sa/"
         "b\",\"certChain\":[{\"expirationTime\":\"2026-01-01T00:00:00Z\"}]},{\"identity\":\"x\"}]",
         "{\"refused\":true,\"errorCount\":2,\"attempts\":7}");
    static const char *const expected[] = {
        "ringwall_doors_connections 3",
        "ringwall_doors_nacks_total 8",
        ("istio_tcp_connections_opened_total{reporter=\"source\",request_protocol=\"tcp\",connection_security_policy=\"mutual_"
         "tls\"}"
         " 6"),
        "istio_tcp_connections_opened_total{reporter=\"source\",request_protocol=\"tcp\",connection_security_policy=\"unknown\"} 1",
        "istio_tcp_connections_closed_total{reporter=\"destination\",reason=\"finished\"} 9",
        "istio_tcp_connections_failed_total{reporter=\"destination\",reason=\"policy-denied\"} 4",
        "istio_tcp_received_bytes_total{reporter=\"source\",request_protocol=\"tcp\"} 100",
        "istio_tcp_sent_bytes_total{reporter=\"source\",request_protocol=\"tcp\"} 200",
        "istio_tcp_sent_bytes_total{reporter=\"destination\",request_protocol=\"tcp\"} 300",
        "istio_tcp_received_bytes_total{reporter=\"destination\",request_protocol=\"tcp\"} 400",
        "istio_build{component=\"ringwall\",tag=\"9.9\"} 1",
        "ringwall_build_info{version=\"9.9\",node=\"no\\\"de\\\\\\n\"} 1",
        "ringwall_ready 1",
        "ringwall_workloads 1",
        "ringwall_config_refused 1",
        "ringwall_config_errors 2",
        "ringwall_config_attempts_total 7",
        "ringwall_certificate_expiration_timestamp_seconds{identity=\"spiffe://td/ns/a/sa/b\"} 1767225600",
        "ringwall_certificate_earliest_expiration_timestamp_seconds 1767225600",
        "ringwall_identities 2",
        "ringwall_identities_available 1",
        "ringwall_worker_flows_open{worker=\"1\"} 0",
        "ringwall_worker_handshakes_total{worker=\"0\"} 0",
        "ringwall_capture_untouched_total 3",
        "ringwall_log_lines_dropped_total 0",
    };
    for (size_t i = 0; i < array_size(expected); i++)
        expect_sample(&r, expected[i]);
    assert_null(strstr(r.body.at, "connections_failed_total{reporter=\"source\",reason=\"finished\"")); /* no error */
    finish(&u, &r);
}

/* Each sample follows the TYPE line of its family, each family comes once, each line has its form. */
static void format(void **state) {
    struct unit_view u;
    struct reply r;
    char families[16384] = "\n", name[128] = "", why[160];
    make(&u, &r, "[]", "{}");
    struct str rest = {r.body.at, r.body.n}, line;
    while (str_split(&rest, '\n', &line)) {
        if (line.n == 0) {
            assert_null(rest.at); /* the last piece only */
            continue;
        }
        if (str_has_prefix(line, STR("# HELP ")))
            continue;
        if (str_has_prefix(line, STR("# TYPE "))) {
            char kind[16], once[140];
            assert_int_equal(sscanf(line.at, "# TYPE %127s %15s", name, kind), 2);
            assert_true(!strcmp(kind, "gauge") || !strcmp(kind, "counter"));
            if (!strcmp(kind, "counter"))
                assert_true(str_has_suffix(str_of(name), STR("_total")));
            snprintf(once, sizeof(once), "\n%s\n", name);
            if (strstr(families, once))
                fail_msg("family %s comes twice", name);
            strncat(families, once + 1, sizeof(families) - strlen(families) - 1);
            continue;
        }
        snprintf(why, sizeof(why), STR_FMT, STR_ARG(line));
        if (!str_has_prefix(line, str_of(name)) || (line.at[strlen(name)] != '{' && line.at[strlen(name)] != ' '))
            fail_msg("sample outside its family %s: %s", name, why);
        assert_true(isdigit((unsigned char)line.at[line.n - 1]));
    }
    finish(&u, &r);
}

static void gaps(void **state) {
    struct unit_view u;
    struct reply r;
    make(&u, &r, NULL, "not JSON");
    assert_null(strstr(r.body.at, "ringwall_config_"));
    assert_null(strstr(r.body.at, "ringwall_certificate_"));
    finish(&u, &r);
    make(&u, &r, "[{\"identity\":\"x\",\"certChain\":[{\"expirationTime\":\"soon\"}]}]", NULL);
    assert_null(strstr(r.body.at, "earliest"));
    expect_sample(&r, "ringwall_identities 1");
    finish(&u, &r);
}

/* Certificates that are not renewed in time: what has passed 95 % has passed 85 % too; one that is over is not available. */
static void ages(void **state) {
#define AGED(word) "{\"identity\":\"x\",\"age\":\"" word "\",\"certChain\":[{\"expirationTime\":\"2026-01-01T00:00:00Z\"}]}"
    struct unit_view u;
    struct reply r;
    make(&u, &r, "[" AGED("fresh") "," AGED("late") "," AGED("very late") "," AGED("late") ",{\"identity\":\"gone\"}]", NULL);
    expect_sample(&r, "ringwall_certificates_unrenewed{life=\"85\"} 3");
    expect_sample(&r, "ringwall_certificates_unrenewed{life=\"95\"} 1");
    expect_sample(&r, "ringwall_identities_unavailable 1");
    finish(&u, &r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(samples), cmocka_unit_test(ages), cmocka_unit_test(format),
                                       cmocka_unit_test(gaps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
