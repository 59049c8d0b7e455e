/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the JSON of the lists is well-formed and says what the world says, with and without a world. Method: pages of a
 * small world, read back. */
#include "view_unit.h"

static const char world[] = "node node-1\nnetwork net\n"
                            "pod app/web ip=10.1.0.1,2001:db8::1 sa=web labels=app:web node=node-1 ambient\n"
                            "pod app/dark ip=10.1.0.2 unready waypoint=wp\n"
                            "entry db/host ip=10.9.0.1 ambient\n"
                            "service app/web vip=10.5.0.1 ports=http:80:8080,alt:80:9,metrics:90:=m selector=app:web\n"
                            "policy DENY app/no selector=app:web\nrule from principals=cluster.local/ns/x/sa/y\n"
                            "policy ALLOW istio-system/dry dry\nrule\n"
                            "auth app/default STRICT\n";

static const struct json *find(const struct json *rows, const char *name) {
    for (size_t i = 0; i < json_count(rows); i++)
        if (str_is(json_text(json_get(json_at(rows, i), "name")), str_of(name)))
            return json_at(rows, i);
    fail_msg("no row %s", name);
    return NULL;
}

static void workloads(void **state) {
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, world);
    unit_page(&u, "/workloads", &r);
    struct json *rows = unit_read(&r);
    assert_int_equal(json_count(rows), 3);
    const struct json *web = find(rows, "web"), *dark = find(rows, "dark");
    assert_text(json_get(web, "namespace"), "app");
    assert_text(json_at(json_get(web, "workloadIps"), 1), "2001:db8::1");
    assert_text(json_get(web, "protocol"), "HBONE");
    assert_text(json_get(web, "mtlsMode"), "STRICT");
    assert_text(json_get(web, "identity"), "spiffe://cluster.local/ns/app/sa/web");
    assert_text(json_get(web, "status"), "Healthy");
    assert_true(json_truth(json_get(web, "local")));
    assert_text(json_get(dark, "status"), "Unhealthy");
    assert_text(json_get(json_get(dark, "waypoint"), "destination"), "wp");
    assert_text(json_get(dark, "protocol"), "TCP");
    json_free(rows);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void services(void **state) {
    struct unit_view u;
    struct reply r;
    int64_t port = 0;
    unit_view_init(&u, world);
    unit_page(&u, "/services", &r);
    struct json *rows = unit_read(&r); /* a port that is there twice is one key */
    const struct json *web = find(rows, "web");
    assert_text(json_at(json_get(web, "vips"), 0), "net/10.5.0.1");
    assert_true(json_number(json_get(json_get(web, "ports"), "80"), &port));
    assert_int_equal(port, 8080);
    assert_int_equal(json_count(json_get(web, "portList")), 3);
    json_free(rows);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void assert_has(const struct reply *r, const char *part) {
    struct growing plain cleanup(growing_deinit) = GROWING_NULL;
    for (size_t i = 0; i < r->body.n; i++)
        if (!memchr(" \n", r->body.at[i], 2))
            growing_addf(&plain, "%c", r->body.at[i]);
    assert_false(plain.failed);
    if (!strstr(plain.at, part))
        fail_msg("no %s", part);
}

/* In the shape of ztunnel's dump; the placeholder's aliases, HTTP fields and their places are seen. */
static void rules(void **state) {
    static const char text[] =
        "domain new\nalias old\npod app/web ip=10.1.0.1 labels=app:web\n"
        "policy DENY app/no\n"
        "rule from notPrincipals=* | from serviceAccounts=x | to ports=80,81 notPorts=82 methods=GET | when source.ip!=10.0.0.0/8\n"
        "rule\n"
        "policy ALLOW app/yes\nrule from principals=old/ns/a/sa/b,*/sa/c,x* namespaces=* | to paths=/x\n";
    static const char no[] =
        "[[[{\"destinationPorts\":[80,81],\"notDestinationPorts\":[82]}],[{\"notPrincipals\":[{\"Presence\":[]}]},{"
        "\"serviceAccounts\":[{\"namespace\":\"app\",\"serviceAccount\":\"x\"}]}],[{\"notSourceIps\":"
        "[\"10.0.0.0/8\"]}]],[]]";
    static const char yes[] = "[[[{}],[{\"principals\":[{\"Exact\":\"new/ns/a/sa/b\"},{\"Exact\":\"old/ns/a/sa/b\"},{\"Suffix\":"
                              "\"/sa/c\"},{\"Prefix\":\"x\"}],\"namespaces\":[{\"Presence\":[]}]}]]]";
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, text);
    unit_page(&u, "/config_dump", &r);
    assert_has(&r, no);
    assert_has(&r, yes);
    struct json *all = unit_read(&r);
    const struct json *rows = json_get(all, "policies"), *notes = json_get(find(rows, "no"), "ruleNotes");
    assert_int_equal(json_count(notes), 2);
    assert_text(json_get(json_at(notes, 0), "at"), "mesh:5");
    assert_true(json_truth(json_get(json_at(notes, 0), "unseenFieldsCountAsTrue")));
    assert_false(json_truth(json_get(json_at(notes, 1), "unseenFieldsCountAsTrue")));
    assert_text(json_get(json_at(json_get(find(rows, "yes"), "ruleNotes"), 0), "neverMatchesBecauseOf"), "paths");
    json_free(all);
    growing_deinit(&r.body);
    unit_page(&u, "/policies", &r); /* a table for people: no rules */
    struct json *list = unit_read(&r);
    assert_null(json_get(find(list, "no"), "rules"));
    json_free(list);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void policies(void **state) {
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, world);
    unit_page(&u, "/policies", &r);
    struct json *rows = unit_read(&r);
    assert_int_equal(json_count(rows), 3);
    const struct json *no = find(rows, "no"), *dry = find(rows, "dry"), *strict = find(rows, "default");
    assert_text(json_get(no, "action"), "Deny");
    assert_text(json_get(no, "scope"), "WorkloadSelector");
    assert_text(json_get(no, "at"), "mesh:7");
    assert_text(json_get(dry, "scope"), "Global");
    assert_text(json_get(dry, "note"), "dry-run: changes nothing");
    assert_text(json_get(strict, "kind"), "PeerAuthentication");
    assert_text(json_get(strict, "mode"), "STRICT");
    json_free(rows);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void everything(void **state) {
    static const char *const keys[] = {
        "version",      "node",        "world",   "workloads", "services", "policies", "peerAuthentications",
        "certificates", "connections", "capture", "mesh",      "config"};
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, world);
    unsigned needs = route_find(STR("/config_dump"), DOOR_UNIX)->needs;
    assert_int_equal(question_begin(&u.question, needs, &u.options, u.reply, &u.next_id), 0);
    unit_answer(&u, u.workers[0], "[{\"id\":7}]");
    unit_answer(&u, u.options.identity, "[{\"identity\":\"x\"}]");
    question_give_up(&u.question);
    unit_page(&u, "/config_dump", &r);
    struct json *o = unit_read(&r);
    for (size_t i = 0; i < array_size(keys); i++)
        if (!json_get(o, keys[i]))
            fail_msg("no key %s", keys[i]);
    assert_int_equal(json_count(json_get(o, "connections")), 1);
    assert_int_equal(json_count(json_get(o, "certificates")), 1);
    assert_int_equal(json_count(json_get(o, "incomplete")), 3);
    assert_text(json_at(json_get(o, "incomplete"), 0), "worker 1");
    assert_text(json_get(json_get(o, "config"), "node"), "node-1");
    json_free(o);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void status(void **state) {
    struct unit_view u;
    struct reply r;
    int64_t n = -1;
    unit_view_init(&u, world);
    u.ready = false;
    counter_add(&u.stats[1].flows_open, 5);
    unit_page(&u, "/status", &r);
    struct json *o = unit_read(&r);
    assert_text(json_get(o, "version"), "9.9");
    assert_false(json_truth(json_get(o, "ready")));
    assert_text(json_get(o, "why"), "1 of 2 workloads captured");
    assert_true(json_number(json_get(o, "world"), &n));
    assert_int_equal(n, world_number(u.mesh.world));
    assert_true(json_number(json_get(json_at(json_get(o, "workers"), 1), "flowsOpen"), &n));
    assert_int_equal(n, 5);
    json_free(o);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void no_world(void **state) {
    static const char *const pages[] = {
        "/workloads",     "/services",    "/policies", "/debug/authenticationz", "/debug/authorizationz",
        "/debug/configz", "/config_dump", "/status"};
    for (size_t i = 0; i < array_size(pages); i++) {
        struct unit_view u;
        struct reply r;
        unit_view_init(&u, NULL);
        unit_page(&u, pages[i], &r);
        json_free(unit_read(&r));
        growing_deinit(&r.body);
        unit_view_deinit(&u);
    }
}

static void debug_pages(void **state) {
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, world);
    unit_page(&u, "/debug/authenticationz", &r);
    struct json *o = unit_read(&r);
    assert_int_equal(json_count(json_get(o, "workloads")), 3);
    assert_text(json_get(json_at(json_get(o, "workloads"), 0), "policy"), "app/default");
    json_free(o);
    growing_deinit(&r.body);
    unit_page(&u, "/debug/authorizationz", &r);
    o = unit_read(&r);
    assert_int_equal(json_count(json_get(o, "policies")), 2);
    json_free(o);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(workloads), cmocka_unit_test(services),   cmocka_unit_test(policies),
                                       cmocka_unit_test(rules),     cmocka_unit_test(everything), cmocka_unit_test(status),
                                       cmocka_unit_test(no_world),  cmocka_unit_test(debug_pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
