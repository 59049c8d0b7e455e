/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every rule that cannot do what its author thinks is told, at its place, with what to write instead; what is not
 * valid gives no world. Method: a table of policies and a piece of the text that must be said about each. */
#include "mesh.h"
#include "unit.h"

struct row {
    const char *policy;
    enum diag_severity severity;
    uint32_t line; /* the pod and the namespaces are lines 1 to 3; 0: nothing is said at all */
    const char *part;
};

static void run_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "pod app/web ip=10.1.0.1 labels=app:web\nns app\nns foo");
        mesh_add(&m, rows[i].policy);
        int r = mesh_build(&m);
        bool said = mesh_says(&m, rows[i].severity, rows[i].line, rows[i].part);
        if (rows[i].line ? !said || r != (rows[i].severity == DIAG_ERROR) : r || m.diags.n)
            fail_msg("row %zu (%s): built %d, said: %s", i, rows[i].policy, r, m.diags.n ? m.diags.items[0].text : "nothing");
        mesh_deinit(&m);
    }
}

static void rules(void **state) {
    static const struct row rows[] = {
        {"policy ALLOW app/p\nrule from principals=cluster.local/ns/foo/sa/bar | to ports=80", DIAG_WARNING, 0, ""},
        {"policy DENY app/p\nrule", DIAG_WARNING, 0, ""},
        {"policy ALLOW app/p", DIAG_WARNING, 0, ""},
        {"policy DENY app/p", DIAG_ERROR, 4, "write rules: [{}] to match everything"},
        {"policy CUSTOM app/p", DIAG_ERROR, 4, "without rules never matches"},
        {"policy ALLOW app/p\nrule from principals=", DIAG_ERROR, 5, "no field set"},
        {"policy ALLOW app/p\nrule from", DIAG_ERROR, 5, "this source has no field set"},
        {"policy ALLOW app/p\nrule to", DIAG_ERROR, 5, "this operation has no field set"},
        {"policy ALLOW app/p\nrule from principals= namespaces=foo", DIAG_WARNING, 5, "principals is an empty list"},
        {"policy ALLOW app/p\nrule from serviceAccounts=a namespaces=foo", DIAG_ERROR, 5, "serviceAccounts cannot stand with"},
        {"policy ALLOW app/p\nrule from notServiceAccounts=a principals=*", DIAG_ERROR, 5, "serviceAccounts cannot stand with"},
        {"policy ALLOW app/p\nrule from notNamespaces=foo", DIAG_WARNING, 5, "add principals: [\"*\"]"},
        {"policy ALLOW app/p\nrule when source.principal!=cluster.local/*", DIAG_WARNING, 5, "add principals: [\"*\"]"},
        {"policy ALLOW app/p\nrule from notNamespaces=foo principals=*", DIAG_WARNING, 0, ""},
        {"policy ALLOW app/p\nrule from notIpBlocks=10.0.0.0/8", DIAG_WARNING, 0, ""},
        {"policy DENY app/p\nrule from notNamespaces=foo", DIAG_WARNING, 0, ""},
        {"policy CUSTOM app/p\nrule from namespaces=foo", DIAG_ERROR, 5, "namespaces cannot be used in a CUSTOM policy"},
        {"policy CUSTOM app/p\nrule when source.principal=*", DIAG_ERROR, 5, "cannot be used in a CUSTOM policy"},
        {"policy CUSTOM app/p\nrule when request.auth.claims[x]=y", DIAG_ERROR, 5, "cannot be used in a CUSTOM policy"},
        {"policy CUSTOM app/p\nrule from requestPrincipals=x", DIAG_ERROR, 5, "cannot be used in a CUSTOM policy"},
        {"policy CUSTOM app/p\nrule from ipBlocks=10.0.0.0/8", DIAG_WARNING, 0, ""},
    };
    run_rows(rows, array_size(rows));
}

static void fields_beyond_this_layer(void **state) {
    static const struct row rows[] = {
        {"policy ALLOW app/p\nrule to methods=GET", DIAG_WARNING, 5, "methods is an HTTP field"},
        {"policy ALLOW app/p\nrule to methods=GET", DIAG_WARNING, 5, "this ALLOW rule never matches"},
        {"policy DENY app/p\nrule to ports=80 hosts=x", DIAG_WARNING, 5, "this DENY rule matches more than it says"},
        {"policy DENY app/p\nrule to hosts=x", DIAG_WARNING, 5, "it denies every TCP connection"},
        {"policy ALLOW app/p\nrule from trustDomains=x", DIAG_WARNING, 5, "trustDomains is not supported yet"},
        {"policy ALLOW app/p\nrule when request.headers[x]=y", DIAG_WARNING, 5, "request.headers[x] is an HTTP field"},
        {"policy AUDIT app/p\nrule to paths=/", DIAG_WARNING, 5, "this AUDIT rule matches more"},
        {"policy ALLOW app/p\nrule from remoteIpBlocks=nonsense", DIAG_ERROR, 5, "neither an IP address nor a block"},
        {"policy ALLOW app/p\nrule to paths=''", DIAG_ERROR, 5, "paths has an empty string"},
    };
    run_rows(rows, array_size(rows));
}

static void when_keys(void **state) {
    static const struct row rows[] = {
        {"policy ALLOW app/p\nrule when source.ip=10.0.0.1", DIAG_WARNING, 0, ""},
        {"policy ALLOW app/p\nrule when source.ips=10.0.0.1", DIAG_ERROR, 5, "did you mean source.ip?"},
        {"policy ALLOW app/p\nrule when destination.prot=80", DIAG_ERROR, 5, "did you mean destination.port?"},
        {"policy ALLOW app/p\nrule when something.else.entirely=80", DIAG_ERROR, 5, "write source.ip, source.namespace"},
        {"policy ALLOW app/p\nrule when =80", DIAG_ERROR, 5, "needs a key"},
        {"policy ALLOW app/p\nrule when destination.namespace=foo", DIAG_ERROR, 5, "put the policy into that namespace"},
        {"policy ALLOW app/p\nrule when destination.labels[a]=foo", DIAG_ERROR, 5, "use the policy's selector"},
        {"policy ALLOW app/p\nrule when destination.name=foo", DIAG_ERROR, 5, "use the policy's selector"},
        {"policy ALLOW app/p\nrule when destination.user=foo", DIAG_ERROR, 5, "use the policy's selector"},
        {"policy ALLOW app/p\nrule when request.headers=foo", DIAG_ERROR, 5, "unknown key"},
        {"policy ALLOW app/p\nrule when request.headers[]=foo", DIAG_ERROR, 5, "unknown key"},
        {"policy ALLOW app/p\nrule when request.headers[a=foo", DIAG_ERROR, 5, "unknown key"},
        {"policy ALLOW app/p\nrule when experimental.envoy.filters.=foo", DIAG_ERROR, 5, "unknown key"},
        {"policy ALLOW app/p\nrule when source.ip=", DIAG_ERROR, 5, "source.ip needs values or notValues"},
        {"policy ALLOW app/p\nrule when source.ip=foo", DIAG_ERROR, 5, "neither an IP address nor a block"},
        {"policy ALLOW app/p\nrule when destination.port=http", DIAG_ERROR, 5, "is not a port"},
    };
    run_rows(rows, array_size(rows));
}

static void too_much(void **state) {
    struct mesh m;
    mesh_init(&m);
    mesh_add(&m, "policy ALLOW app/p");
    for (int i = 0; i < 513; i++)
        mesh_add(&m, "rule");
    assert_int_equal(mesh_build(&m), 1);
    assert_true(mesh_says(&m, DIAG_ERROR, 1, "513 rules, at most 512"));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules), cmocka_unit_test(fields_beyond_this_layer),
                                       cmocka_unit_test(when_keys), cmocka_unit_test(too_much)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
