/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: each string of a policy is checked by the kind of its list. Method: one list a row, with what must be said. */
#include "mesh.h"
#include "unit.h"

enum said { NOTHING, WARNS, REFUSES };

static void strings(void **state) {
    static const struct {
        const char *list;
        enum said said;
        const char *part;
    } rows[] = {
        {"principals=*", NOTHING, ""},
        {"principals=cluster.local/ns/foo/sa/bar", NOTHING, ""},
        {"principals=*/sa/bar,x*", NOTHING, ""},
        {"principals=spiffe://td/ns/foo/sa/bar", WARNS, "write \"td/ns/foo/sa/bar\""},
        {"notPrincipals=spiffe://td/ns/foo/sa/bar", WARNS, "notPrincipals: \"spiffe://td/ns/foo/sa/bar\" never matches"},
        {"principals=td/ns/foo/sa", WARNS, "<trust domain>/ns/<namespace>/sa/<service account>"},
        {"principals=foo/bar", WARNS, "<trust domain>/ns/<namespace>/sa/<service account>"},
        {"principals=td/sa/foo/ns/bar", WARNS, "never matches"},
        {"principals=TD/ns/foo/sa/bar", WARNS, "never matches"},
        {"principals=td/ns/*/sa/bar", WARNS, "a star counts only as the first or the last"},
        {"principals=*/ns/foo/*", WARNS, "a star counts only as the first or the last"},
        {"principals=td/ns/ghost/sa/bar", WARNS, "namespace ghost is not declared"},
        {"principals=''", REFUSES, "write \"*\" for any value"},
        {"namespaces=foo,f*,*o,*", NOTHING, ""},
        {"namespaces=ghost", WARNS, "namespace ghost is not declared"},
        {"namespaces=f*o", WARNS, "a star counts only"},
        {"namespaces=foo,''", REFUSES, "namespaces has an empty string"},
        {"serviceAccounts=foo/bar,bar", NOTHING, ""},
        {"serviceAccounts=ghost/bar", WARNS, "namespace ghost is not declared"},
        {"serviceAccounts=foo/*", REFUSES, "has a star"},
        {"serviceAccounts=foo/bar/baz", REFUSES, "is not a service account"},
        {"serviceAccounts=/bar", REFUSES, "is not a service account"},
        {"serviceAccounts=foo/", REFUSES, "is not a service account"},
        {"serviceAccounts=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", REFUSES, "has 17 values, at most 16"},
        {"ipBlocks=10.0.0.1,10.0.0.0/8,2001:db8::/32,::1", NOTHING, ""},
        {"ipBlocks=10.1.2.3/8", WARNS, "means 10.0.0.0/8; write that"},
        {"ipBlocks=2001:db8::1/32", WARNS, "means 2001:db8::/32; write that"},
        {"ipBlocks=10.0.0.0/33", REFUSES, "neither an IP address nor a block"},
        {"notIpBlocks=host", REFUSES, "neither an IP address nor a block"},
        {"trustDomains=a/b", REFUSES, "has a slash"},
        {"trustDomains=a*b", REFUSES, "may have one star"},
        {"trustDomains=*a*", REFUSES, "may have one star"},
        {"trustDomains=*a", WARNS, "not supported yet"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "ns app\nns foo\npod app/web ip=10.1.0.1\npolicy DENY app/p");
        mesh_addf(&m, "rule from %s", rows[i].list);
        int r = mesh_build(&m);
        bool good = rows[i].said == NOTHING
                        ? !r && !m.diags.n
                        : r == (rows[i].said == REFUSES) &&
                              mesh_says(&m, rows[i].said == REFUSES ? DIAG_ERROR : DIAG_WARNING, 5, rows[i].part);
        if (!good)
            fail_msg("row %zu (%s): built %d, said: %s", i, rows[i].list, r, m.diags.n ? m.diags.items[0].text : "nothing");
        mesh_deinit(&m);
    }
}

static void ports(void **state) {
    static const struct {
        const char *port;
        bool good;
    } rows[] = {{"0", true},   {"80", true},    {"65535", true},  {"65536", false},
                {"-1", false}, {"http", false}, {"80-90", false}, {"''", false}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "pod app/web ip=10.1.0.1\npolicy DENY app/p");
        mesh_addf(&m, "rule to ports=%s", rows[i].port);
        assert_int_equal(mesh_build(&m), rows[i].good ? 0 : 1);
        mesh_deinit(&m);
    }
}

/* Without any Namespace object nothing can be said about names. */
static void unknown_namespaces_need_known_ones(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1\npolicy DENY app/p\nrule from namespaces=ghost");
    assert_int_equal(m.diags.n, 0);
    mesh_deinit(&m);
}

static void long_account(void **state) {
    char account[400];
    struct mesh m;

    memset(account, 'a', sizeof(account));
    account[321] = 0;
    mesh_init(&m);
    mesh_add(&m, "policy DENY app/p");
    mesh_addf(&m, "rule from serviceAccounts=%s", account);
    assert_int_equal(mesh_build(&m), 1);
    assert_true(mesh_says(&m, DIAG_ERROR, 2, "longer than 320"));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings), cmocka_unit_test(ports),
                                       cmocka_unit_test(unknown_namespaces_need_known_ones), cmocka_unit_test(long_account)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
