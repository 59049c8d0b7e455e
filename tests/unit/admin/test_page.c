/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the dashboard needs nothing from elsewhere and runs nothing inline. Method: its three files as they are served. */
#include "view_unit.h"

static void get(const char *target, const char *type, struct reply *r) {
    struct unit_view u;
    unit_view_init(&u, NULL);
    unit_page(&u, target, r);
    assert_int_equal(r->status, 200);
    assert_string_equal(r->type, type);
    unit_view_deinit(&u);
}

static void html(void **state) {
    struct reply r;
    get("/", "text/html; charset=utf-8", &r);
    assert_non_null(strstr(r.body.at, "src=\"/page.js\""));
    assert_non_null(strstr(r.body.at, "href=\"/page.css\""));
    assert_null(strstr(r.body.at, "http:"));
    assert_null(strstr(r.body.at, "https:"));
    assert_null(strstr(r.body.at, "style=")); /* the policy of the page forbids it */
    assert_null(strstr(r.body.at, "onclick"));
    growing_deinit(&r.body);
}

static void script(void **state) {
    struct reply r;
    get("/page.js", "text/javascript; charset=utf-8", &r);
    assert_null(strstr(r.body.at, "innerHTML")); /* names from a peer are text, never markup */
    assert_null(strstr(r.body.at, "eval("));
    assert_null(strstr(r.body.at, "http:"));
    growing_deinit(&r.body);
}

static void style(void **state) {
    struct reply r;
    get("/page.css", "text/css; charset=utf-8", &r);
    assert_null(strstr(r.body.at, "url("));
    assert_null(strstr(r.body.at, "@import"));
    growing_deinit(&r.body);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(html), cmocka_unit_test(script), cmocka_unit_test(style)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
