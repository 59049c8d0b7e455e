/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the walk names every policy that applies, in order, and the clause that failed; one line sums a verdict up.
 * Method: one mesh, some questions, the whole text that comes out. */
#include "mesh.h"
#include "unit.h"

static void write_step(void *context, const struct authz_step *step) {
    text_addf(context, "%s %s " STR_FMT "/" STR_FMT " %d:%u %s: %s\n", step->kind[0] == 'P' ? "auth" : "policy",
              step->kind[0] == 'P' ? "-" : policy_action_name(step->action), STR_ARG(step->ns), STR_ARG(step->name), step->rule,
              step->at.line, step->matched ? "matched" : "no", step->why);
}

static void check_walk(struct mesh *m, const char *ask, const char *walk, const char *line) {
    char bytes[8192];
    struct text t = TEXT_OVER(bytes);
    struct authz_query q;
    struct identity source;
    struct verdict v, judged;

    mesh_query(m, ask, &q, &source);
    authz_explain(m->world, &q, write_step, &t, &v);
    assert_string_equal(bytes, walk);
    authz_judge(m->world, &q, &judged);
    assert_memory_equal(&v, &judged, sizeof(v));
    t = TEXT_OVER(bytes);
    verdict_format(&v, &t);
    assert_string_equal(bytes, line);
}

static void walks(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1 labels=app:web\n"
                  "pod app/db ip=10.1.0.2\n"
                  "auth app/strict STRICT selector=app:web port=81:PERMISSIVE\n"
                  "policy DENY app/deny selector=app:web\n"
                  "rule from namespaces=dev,t*,*p,x,y | from ipBlocks=10.9.0.0/16 | to notPorts=9\n"
                  "policy ALLOW app/allow selector=app:web\n"
                  "rule from serviceAccounts=foo/bar | when source.ip!=10.0.0.1 destination.port=80\n"
                  "rule to methods=GET\n"
                  "policy ALLOW app/none selector=app:web\n"
                  "policy AUDIT app/audit selector=app:web\n"
                  "rule\n"
                  "policy DENY app/dry selector=app:web dry\n"
                  "rule from principals=*\n");
    check_walk(&m, "to=app/web from=cluster.local/ns/foo/sa/bar ip=10.0.0.9",
               "auth - app/strict -1:3 no: STRICT for port 80: the peer has an identity\n"
               "policy DENY app/deny 0:5 no: from: namespaces [dev, t*, *p, x, and 1 more] does not match: the peer is "
               "cluster.local/ns/foo/sa/bar; nor does the other entry\n"
               "policy ALLOW app/allow 0:7 matched: from: serviceAccounts [foo/bar], when: not source.ip [10.0.0.1], when: "
               "destination.port [80]\n"
               "policy ALLOW app/allow 1:8 no: methods cannot be seen at this layer, so this rule never matches\n"
               "policy ALLOW app/none -1:9 no: no rules, so it never matches\n"
               "policy AUDIT app/audit 0:11 matched: an empty rule matches everything (AUDIT: changes nothing)\n"
               "policy DENY app/dry 0:13 matched: from: principals [*] (dry-run: changes nothing)\n",
               "allowed by AuthorizationPolicy app/allow rule 0 at mesh:7");
    check_walk(
        &m, "to=app/web port=80 ip=10.0.0.1",
        "auth - app/strict -1:3 matched: STRICT for port 80: the peer has no identity, which STRICT refuses\n"
        "policy DENY app/deny 0:5 no: from: namespaces [dev, t*, *p, x, and 1 more] does not match: the peer has no identity; "
        "nor does the other entry\n"
        "policy ALLOW app/allow 0:7 no: from: serviceAccounts [foo/bar] does not match: the peer has no identity\n"
        "policy ALLOW app/allow 1:8 no: methods cannot be seen at this layer, so this rule never matches\n"
        "policy ALLOW app/none -1:9 no: no rules, so it never matches\n"
        "policy AUDIT app/audit 0:11 matched: an empty rule matches everything (AUDIT: changes nothing)\n"
        "policy DENY app/dry 0:13 no: from: principals [*] does not match: the peer has no identity (dry-run: changes nothing)\n",
        "denied by PeerAuthentication app/strict at mesh:3: STRICT refuses plaintext");
    check_walk(
        &m, "to=app/web port=81 ip=10.9.0.1",
        "auth - app/strict -1:3 no: PERMISSIVE for port 81: plaintext is accepted\n"
        "policy DENY app/deny 0:5 matched: to: notPorts [9], from: ipBlocks [10.9.0.0/16]\n"
        "policy ALLOW app/allow 0:7 no: from: serviceAccounts [foo/bar] does not match: the peer has no identity\n"
        "policy ALLOW app/allow 1:8 no: methods cannot be seen at this layer, so this rule never matches\n"
        "policy ALLOW app/none -1:9 no: no rules, so it never matches\n"
        "policy AUDIT app/audit 0:11 matched: an empty rule matches everything (AUDIT: changes nothing)\n"
        "policy DENY app/dry 0:13 no: from: principals [*] does not match: the peer has no identity (dry-run: changes nothing)\n",
        "denied by AuthorizationPolicy app/deny rule 0 at mesh:5");
    check_walk(&m, "to=app/web port=9 from=cluster.local/ns/foo/sa/bar",
               "auth - app/strict -1:3 no: STRICT for port 9: the peer has an identity\n"
               "policy DENY app/deny 0:5 no: to: notPorts [9] rules it out: the port is 9\n"
               "policy ALLOW app/allow 0:7 no: when: not source.ip [10.0.0.1] does not match: the source address is not known\n"
               "policy ALLOW app/allow 1:8 no: methods cannot be seen at this layer, so this rule never matches\n"
               "policy ALLOW app/none -1:9 no: no rules, so it never matches\n"
               "policy AUDIT app/audit 0:11 matched: an empty rule matches everything (AUDIT: changes nothing)\n"
               "policy DENY app/dry 0:13 matched: from: principals [*] (dry-run: changes nothing)\n",
               "denied: ALLOW policies exist, and none of them matches; the first is app/allow at mesh:7");
    check_walk(&m, "to=app/db", "auth - / -1:0 no: PERMISSIVE for port 80 (the default): plaintext is accepted\n",
               "allowed: nothing denies it, and no ALLOW policy applies");
    mesh_deinit(&m);
}

static void l7_in_deny_is_told(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1\npolicy DENY app/p\nrule to methods=GET\npolicy DENY app/q\nrule when "
                  "destination.ip!=10.1.0.0/16");
    check_walk(
        &m, "to=app/web ip=::1",
        "auth - / -1:0 no: PERMISSIVE for port 80 (the default): plaintext is accepted\n"
        "policy DENY app/p 0:3 matched: to: anything, with the fields that cannot be seen at this layer taken as true\n"
        "policy DENY app/q 0:5 no: when: not destination.ip [10.1.0.0/16] rules it out: the destination address is 10.1.0.1\n",
        "denied by AuthorizationPolicy app/p rule 0 at mesh:3");
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(walks), cmocka_unit_test(l7_in_deny_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
