/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: each page is served where it may be and nowhere else; bad questions get a text that says what to write. Method:
 * the table of pages against the doors; pages made without a thread. */
#include "view_unit.h"

static const char world[] =
    "pod app/web ip=10.1.0.1 sa=web labels=app:web\n"
    "policy ALLOW app/some selector=app:web\nrule from principals=cluster.local/ns/app/sa/friend | to ports=80\n"
    "auth app/default STRICT\n";

static void doors(void **state) {
    static const struct {
        const char *path;
        unsigned doors;
        bool post;
    } rows[] = {
        {"/", 3, false},
        {"/status", 3, false},
        {"/config_dump", 3, false},
        {"/connections", 3, false},
        {"/denials", 3, false},
        {"/recent", 3, false},
        {"/debug/configz", 3, false},
        {"/metrics", 7, false},
        {"/stats/prometheus", 7, false},
        {"/healthz/ready", 11, false},
        {"/logging", 3, true},
        {"/quitquitquit", 3, true},
        {"/nothing", 0, false},
        {"/status/", 0, false},
        {"", 0, false},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (unsigned d = 0; d < _DOOR_MAX; d++) {
            const struct route *r = route_find(str_of(rows[i].path), d);
            assert_int_equal(r != NULL, rows[i].doors >> d & 1);
            if (r)
                assert_int_equal(r->post, rows[i].post);
        }
    struct growing list = GROWING_NULL;
    route_list(DOOR_READY, &list);
    assert_string_equal(list.at, "/healthz/ready\n");
    growing_deinit(&list);
}

static void expect(const char *mesh, const char *target, unsigned status, const char *part) {
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, mesh);
    unit_page(&u, target, &r);
    if (r.status != status || !strstr(r.body.at, part))
        fail_msg("%s: %u %s", target, r.status, r.body.at);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

#define FRIEND "spiffe://cluster.local/ns/app/sa/friend"

static void pairs(void **state) {
#define ONE "none,10.0.0.1,10.1.0.1,app/web,80"
#define OTHER_IS_NAMED FRIEND ",::1,10.9.9.9,app/web,80"
    expect(world, "/authz/pairs?pairs=" ONE, 200, "[{\"verdict\":\"deny\"");
    expect(world, "/authz/pairs?pairs=" ONE ";" OTHER_IS_NAMED, 200, "},{\"verdict\":\"allow\"");
    expect(world, "/authz/pairs?pairs=" ONE ";none,10.0.0.1,10.9.9.9,app/nobody,80;none,10.0.0.1,10.9.9.9,,80", 200,
           "},null,null]");
    expect(world, "/authz/pairs", 200, "[]");
    expect(NULL, "/authz/pairs?pairs=" ONE, 503, "no valid configuration");
    static const char *const wrong[] = {"x",
                                        "none,10.0.0.1,10.1.0.1,app/web",
                                        "none,10.0.0.1,10.1.0.1,app/web,0",
                                        "none,10.0.0.1,10.1.0.1,app/web,80,1",
                                        "none,10.0.0.1,web,app/web,80",
                                        "none,x,10.1.0.1,app/web,80",
                                        "spiffe://x,10.0.0.1,10.1.0.1,app/web,80",
                                        ONE ";"
                                            ",",
                                        ",,,,"};
    for (size_t i = 0; i < array_size(wrong); i++) {
        char target[256];
        snprintf(target, sizeof(target), "/authz/pairs?pairs=%s", wrong[i]);
        expect(world, target, 400, "pairs: source,");
    }
}

static void authz(void **state) {
    expect(world, "/authz?source=" FRIEND "&to=app/web&port=80", 200, "\"verdict\": \"allow\"");
    expect(world, "/authz?source=" FRIEND "&to=10.1.0.1&port=81", 200, "\"verdict\": \"deny\"");
    expect(world, "/authz?source=none&to=app/web&port=80", 200, "\"policy\": \"app/default\"");
    expect(world, "/authz?source=none&to=app/web&port=80&sourceIp=::ffff:10.0.0.1", 200, "\"sourceIp\": \"10.0.0.1\"");
    expect(world, "/authz?to=app/web&port=80", 400, "source:");
    expect(world, "/authz?source=cluster.local/ns/app/sa/x&to=app/web&port=80", 400, "source:");
    expect(world, "/authz?source=none&port=80", 400, "to:");
    expect(world, "/authz?source=none&to=app/web", 400, "port:");
    expect(world, "/authz?source=none&to=app/web&port=0", 400, "port:");
    expect(world, "/authz?source=none&to=app/web&port=65536", 400, "port:");
    expect(world, "/authz?source=none&to=app/web&port=80&sourceIp=10.0.0", 400, "sourceIp:");
    expect(world, "/authz?source=none&to=app/wab&port=80", 404, "did you mean app/web?");
    expect(world, "/authz?source=none&to=web&port=80", 404, "did you mean app/web?");
    expect(world, "/authz?source=none&to=10.9.9.9&port=80", 404, "no such workload");
    expect(NULL, "/authz?source=none&to=app/web&port=80", 503, "no valid configuration yet");
}

static void tls(void **state) {
    expect(world, "/tls?to=app/web", 200, "\"mode\": \"STRICT\"");
    expect(world, "/tls?to=app/web&port=80", 200, "\"at\": \"mesh:4\"");
    expect(world, "/tls?to=app/web&port=x", 400, "port:");
    expect(world, "/tls", 400, "to:");
    expect(NULL, "/tls?to=app/web", 503, "no valid configuration yet");
}

static void readiness(void **state) {
    struct unit_view u;
    struct reply r;
    expect(NULL, "/healthz/ready", 200, "ready\n");
    unit_view_init(&u, NULL);
    u.ready = false;
    unit_page(&u, "/healthz/ready", &r);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body.at, "not ready: 1 of 2 workloads captured\n");
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void no_answer(void **state) {
    expect(world, "/certs", 503, "identity thread did not answer");
    expect(world, "/capture", 503, "main thread did not answer");
    expect(world, "/connections", 200, "[]");
    expect(world, "/tunnels", 200, "[]");
}

static void logging(void **state) {
    enum log_level before = log_get_level();
    expect(NULL, "/logging?level=error", 200, "log level is error");
    assert_int_equal(log_get_level(), LOG_ERROR);
    expect(NULL, "/logging", 200, "log level is error");
    expect(NULL, "/logging?level=loud", 400, "write error, warn, info or debug");
    expect(NULL, "/logging?level=", 400, "write error");
    assert_int_equal(log_get_level(), LOG_ERROR);
    struct unit_view u;
    struct reply r;
    unit_view_init(&u, NULL);
    u.view.first_level = before;
    unit_page(&u, "/logging?reset", &r);
    assert_int_equal(log_get_level(), before);
    growing_deinit(&r.body);
    unit_view_deinit(&u);
}

static void quitting(void **state) {
    struct unit_view u;
    struct reply r;
    enum log_level before = log_get_level();
    log_set_level(LOG_ERROR);
    unit_view_init(&u, NULL);
    for (unsigned i = 0; i < 3; i++) { /* main's mailbox holds two */
        unit_page(&u, "/quitquitquit", &r);
        assert_int_equal(r.status, i < 2 ? 200 : 503);
        growing_deinit(&r.body);
    }
    struct mail *m = mailbox_take(u.options.main);
    assert_ptr_equal(m->type, &mail_quit_type);
    mail_free(m);
    unit_view_deinit(&u);
    log_set_level(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(doors),   cmocka_unit_test(authz),     cmocka_unit_test(pairs),
                                       cmocka_unit_test(tls),     cmocka_unit_test(readiness), cmocka_unit_test(no_answer),
                                       cmocka_unit_test(logging), cmocka_unit_test(quitting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
