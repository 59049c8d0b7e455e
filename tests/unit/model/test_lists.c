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
        {"principals=cluster.local/ns/ghost/sa/bar", WARNS, "namespace ghost is not declared"},
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

/* A namespace is there when it is declared, or when a workload is in it; another domain has its own. */
static void namespaces_that_are_not_there(void **state) {
    static const struct {
        const char *mesh, *rule, *says; /* NULL: nothing */
    } rows[] = {
        {"pod app/web ip=10.1.0.1", "namespaces=app", NULL},
        {"pod app/web ip=10.1.0.1", "namespaces=ghost",
         "no workload is in namespace ghost, so nobody comes from there; check its name"},
        {"pod app/web ip=10.1.0.1", "namespaces=apps", "no workload is in namespace apps; did you mean app?"},
        {"pod payments/web ip=10.1.0.1", "serviceAccounts=paymnets/x",
         "no workload is in namespace paymnets; did you mean payments?"},
        {"ns app\nns payments\npod app/web ip=10.1.0.1", "namespaces=payment",
         "namespace payment is not declared; did you mean payments?"},
        {"ns app\npod undeclared/web ip=10.1.0.1", "namespaces=undeclared", NULL},
        {"ns app", "principals=cluster.local/ns/ap/sa/x", "namespace ap is not declared; did you mean app?"},
        {"ns app", "principals=elsewhere.example/ns/ghost/sa/x", NULL},
        {"", "namespaces=ghost", NULL}, /* nothing is known at all */
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, rows[i].mesh);
        mesh_addf(&m, "policy DENY istio-system/p\nrule from %s", rows[i].rule);
        assert_int_equal(mesh_build(&m), 0);
        const char *said = NULL;
        for (size_t k = 0; k < m.diags.n; k++)
            if (strstr(m.diags.items[k].text, ": n")) /* of the rule, not of the mesh */
                said = m.diags.items[k].text;
        if (rows[i].says ? !said || !strstr(said, rows[i].says) : said != NULL)
            fail_msg("row %zu said: %s", i, said ? said : "nothing");
        mesh_deinit(&m);
    }
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
                                       cmocka_unit_test(namespaces_that_are_not_there), cmocka_unit_test(long_account)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
