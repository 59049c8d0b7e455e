/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the meaning of AuthorizationPolicy at this layer, and that it never falls open. Method: truth tables in which
 * each row is one rule, asked as the only rule of an ALLOW, a DENY, a CUSTOM and an AUDIT policy, the first three also in
 * dry-run; then order, scopes and the CVEs whose defect was in matching. */
#include "mesh.h"

#include "unit.h"

#define PEER "from=cluster.local/ns/foo/sa/bar ip=10.0.0.9"
#define OTHER "from=cluster.local/ns/dev/sa/robot ip=10.9.0.9"
#define PLAIN "ip=10.0.0.9"
#define NOWHERE "from=cluster.local/ns/foo/sa/bar"

struct row {
    const char *rule, *peer;
    bool allows, denies; /* does an ALLOW with this rule let the peer in; does a DENY keep it out */
};

enum { AS_ALLOW, AS_DENY, AS_CUSTOM, AS_AUDIT, AS_DRY_ALLOW, AS_DRY_DENY, AS_DRY_CUSTOM, _AS_MAX };
static const char *const policies[] = {"ALLOW app/p",     "DENY app/p",     "CUSTOM app/p",    "AUDIT app/p",
                                       "ALLOW app/p dry", "DENY app/p dry", "CUSTOM app/p dry"};

/* Identities cannot be asked for in CUSTOM: such a policy is refused whole. */
static bool fits_custom(const char *rule) {
    static const char *const refused[] = {"rincipals",  "amespace",         "erviceAccount",
                                          "rustDomain", "source.principal", "request.auth."};
    for (size_t i = 0; i < array_size(refused); i++)
        if (strstr(rule, refused[i]))
            return false;
    return true;
}

static void count_hit(void *context, const struct authz_watched *hit) { ++*(unsigned *)context; }

/* Does the verdict, and what is said beside it of policies that change nothing, follow from the row? */
static bool row_holds(struct mesh *m, const struct row *row, int as) {
    bool is_deny = as == AS_DENY || as == AS_CUSTOM, watched = as >= AS_AUDIT, would = true;
    bool matches = as == AS_ALLOW || as == AS_DRY_ALLOW ? row->allows : row->denies;
    char ask[256];
    struct authz_query q;
    struct identity source;
    struct verdict v;
    unsigned n_hits = 0;

    snprintf(ask, sizeof(ask), "to=app/web port=80 %s", row->peer);
    mesh_query(m, ask, &q, &source);
    authz_judge(m->world, &q, &v);
    bool told = authz_dry_run(&q, &v, count_hit, &n_hits, &would);
    if (watched)
        return v.allow && v.rule == -1 && !v.allow_policies && told && n_hits == matches &&
               would == (as == AS_AUDIT || (as == AS_DRY_ALLOW) == matches);
    return !told && v.allow == (is_deny ? !matches : matches) && v.reason == (v.allow ? CLOSE_NONE : CLOSE_POLICY_DENIED) &&
           v.rule == (matches ? 0 : -1) && v.allow_policies == (as == AS_ALLOW);
}

static void run_rows(const char *settings, const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (int as = 0; as < _AS_MAX; as++) {
            struct mesh m;
            mesh_init(&m);
            mesh_add(&m, settings);
            mesh_addf(&m, "pod app/web ip=10.1.0.1,2001:db8::1 labels=app:web\npolicy %s\nrule %s", policies[as], rows[i].rule);
            bool refused = (as == AS_CUSTOM || as == AS_DRY_CUSTOM) && !fits_custom(rows[i].rule);
            if (mesh_build(&m) != refused)
                fail_msg("row %zu as %s: %s", i, policies[as], m.diags.n ? m.diags.items[0].text : "built");
            if (!refused && !row_holds(&m, &rows[i], as))
                fail_msg("row %zu (%s; %s) as %s", i, rows[i].rule, rows[i].peer, policies[as]);
            mesh_deinit(&m);
        }
}

#define FOUR(rule, peer_allow, peer_deny, other_allow, other_deny, plain_allow, plain_deny) \
    {rule, PEER, peer_allow, peer_deny}, {rule, OTHER, other_allow, other_deny}, { rule, PLAIN, plain_allow, plain_deny }

static void identity_fields(void **state) {
    static const struct row rows[] = {
        /* rule                                                    peer   | other  | no identity */
        FOUR("from principals=cluster.local/ns/foo/sa/bar", 1, 1, 0, 0, 0, 0),
        FOUR("from principals=cluster.local/ns/foo/*", 1, 1, 0, 0, 0, 0),
        FOUR("from principals=*/sa/bar", 1, 1, 0, 0, 0, 0),
        FOUR("from principals=*", 1, 1, 1, 1, 0, 0),
        FOUR("from principals=x/ns/y/sa/z,*/ns/foo/sa/bar", 1, 1, 0, 0, 0, 0),
        FOUR("from principals=cluster.local/ns/foo/sa/ba", 0, 0, 0, 0, 0, 0),
        FOUR("from principals=cluster.local/ns/*/sa/bar", 0, 0, 0, 0, 0, 0),
        FOUR("from principals=spiffe://cluster.local/ns/foo/sa/bar", 0, 0, 0, 0, 0, 0),
        FOUR("from notPrincipals=cluster.local/ns/foo/sa/bar", 0, 0, 1, 1, 0, 1),
        FOUR("from notPrincipals=cluster.local/ns/foo/*", 0, 0, 1, 1, 0, 1),
        FOUR("from notPrincipals=*/sa/bar", 0, 0, 1, 1, 0, 1),
        FOUR("from notPrincipals=*", 0, 0, 0, 0, 0, 1),
        FOUR("from principals=* notPrincipals=*/sa/bar", 0, 0, 1, 1, 0, 0),
        FOUR("from namespaces=foo", 1, 1, 0, 0, 0, 0),
        FOUR("from namespaces=f*", 1, 1, 0, 0, 0, 0),
        FOUR("from namespaces=*oo", 1, 1, 0, 0, 0, 0),
        FOUR("from namespaces=*", 1, 1, 1, 1, 0, 0),
        FOUR("from namespaces=FOO", 0, 0, 0, 0, 0, 0),
        FOUR("from notNamespaces=foo", 0, 0, 1, 1, 0, 1),
        FOUR("from notNamespaces=f*", 0, 0, 1, 1, 0, 1),
        FOUR("from notNamespaces=*oo", 0, 0, 1, 1, 0, 1),
        FOUR("from notNamespaces=*", 0, 0, 0, 0, 0, 1),
        FOUR("from serviceAccounts=foo/bar", 1, 1, 0, 0, 0, 0),
        FOUR("from serviceAccounts=bar", 0, 0, 0, 0, 0, 0),
        FOUR("from serviceAccounts=dev/robot,foo/bar", 1, 1, 1, 1, 0, 0),
        FOUR("from notServiceAccounts=foo/bar", 0, 0, 1, 1, 0, 1),
        FOUR("from notNamespaces=dev | from principals=cluster.local/ns/dev/*", 1, 1, 1, 1, 0, 1),
        FOUR("when source.principal=cluster.local/ns/foo/sa/bar", 1, 1, 0, 0, 0, 0),
        FOUR("when source.principal!=cluster.local/ns/foo/sa/bar", 0, 0, 1, 1, 0, 1),
        FOUR("when source.namespace=f*", 1, 1, 0, 0, 0, 0),
        FOUR("when source.namespace!=*", 0, 0, 0, 0, 0, 1),
        FOUR("when source.namespace=* source.namespace!=dev", 1, 1, 0, 0, 0, 0),
        FOUR("when source.serviceAccount=foo/bar", 1, 1, 0, 0, 0, 0),
        FOUR("when source.serviceAccount!=foo/bar", 0, 0, 1, 1, 0, 1),
        FOUR("", 1, 1, 1, 1, 1, 1),
        /* identity and other conditions in one source: a plaintext peer still fails the identity part of an ALLOW */
        FOUR("from notNamespaces=dev ipBlocks=10.0.0.0/16", 1, 1, 0, 0, 0, 1),
        FOUR("from notIpBlocks=10.9.0.0/16", 1, 1, 0, 0, 1, 1),
        FOUR("to notPorts=81", 1, 1, 1, 1, 1, 1),
    };
    run_rows("", rows, array_size(rows));
}

static void addresses_and_ports(void **state) {
    static const struct row rows[] = {
        {"from ipBlocks=10.0.0.9", PEER, 1, 1},
        {"from ipBlocks=10.0.0.0/24", PEER, 1, 1},
        {"from ipBlocks=10.0.1.0/24", PEER, 0, 0},
        {"from ipBlocks=::ffff:10.0.0.0/120", PEER, 1, 1},
        {"from ipBlocks=::/0", PEER, 0, 0},
        {"from notIpBlocks=10.0.0.0/24", PEER, 0, 0},
        {"from notIpBlocks=10.0.0.0/24", OTHER, 1, 1},
        {"from ipBlocks=2001:db8::/32", "ip=2001:db8::7", 1, 1},
        /* not known where from: fails in ALLOW, holds in DENY */
        {"from ipBlocks=10.0.0.0/24", NOWHERE, 0, 1},
        {"from notIpBlocks=10.0.0.0/24", NOWHERE, 0, 1},
        {"from principals=* ipBlocks=10.0.0.0/24", NOWHERE, 0, 1},
        {"from namespaces=dev ipBlocks=10.0.0.0/24", NOWHERE, 0, 0},
        {"when source.ip=10.0.0.9", PEER, 1, 1},
        {"when source.ip!=10.0.0.9", PEER, 0, 0},
        {"when source.ip=10.0.0.9", NOWHERE, 0, 1},
        {"when source.ip!=10.0.0.9", NOWHERE, 0, 1},
        {"when destination.ip=10.1.0.1", PEER, 1, 1},
        {"when destination.ip=2001:db8::1", PEER, 0, 0},
        {"when destination.ip=2001:db8::1", PEER " dst=2001:db8::1", 1, 1},
        {"when destination.ip!=10.1.0.1", PEER, 0, 0},
        {"when destination.port=80", PEER, 1, 1},
        {"when destination.port=81", PEER, 0, 0},
        {"when destination.port!=80", PEER, 0, 0},
        {"to ports=80", PEER, 1, 1},
        {"to ports=8080,80", PEER, 1, 1},
        {"to ports=080", PEER, 1, 1},
        {"to ports=8080", PEER, 0, 0},
        {"to ports=0", PEER, 0, 0},
        {"to notPorts=80", PEER, 0, 0},
        {"to ports=80 notPorts=80", PEER, 0, 0},
        {"to ports=81 | to ports=80", PEER, 1, 1},
        {"to ports=80 | from namespaces=foo | when source.ip=10.0.0.9", PEER, 1, 1},
        {"to ports=81 | from namespaces=foo | when source.ip=10.0.0.9", PEER, 0, 0},
        {"to ports=80 | from namespaces=fob | when source.ip=10.0.0.9", PEER, 0, 0},
        {"to ports=80 | from namespaces=foo | when source.ip=10.0.0.8", PEER, 0, 0},
        {"when source.ip=10.0.0.9 destination.port=81", PEER, 0, 0},
    };
    run_rows("", rows, array_size(rows));
}

/* What this layer cannot see: never matches in ALLOW, counts as true in DENY. */
static void fields_beyond_this_layer(void **state) {
    static const struct row rows[] = {
        {"to methods=GET", PEER, 0, 1},
        {"to notMethods=GET", PEER, 0, 1},
        {"to paths=/x ports=80", PEER, 0, 1},
        {"to paths=/x ports=81", PEER, 0, 0},
        {"to hosts=a | to ports=80", PEER, 0, 1}, /* the whole ALLOW rule is out */
        {"from namespaces=foo | to methods=POST", PEER, 0, 1},
        {"from namespaces=dev | to methods=POST", PEER, 0, 0},
        {"from requestPrincipals=*", PEER, 0, 1},
        {"from notRequestPrincipals=*", PLAIN, 0, 1},
        {"from remoteIpBlocks=10.0.0.0/8", PEER, 0, 1},
        {"from trustDomains=cluster.local", PEER, 0, 1},
        {"from notTrustDomains=cluster.local", PEER, 0, 1},
        {"from trustDomains=other namespaces=foo", PEER, 0, 1},
        {"from trustDomains=other namespaces=dev", PEER, 0, 0},
        {"when source.trustDomain=other", PEER, 0, 1},
        {"when request.headers[x]=y", PEER, 0, 1},
        {"when request.auth.claims[a][b]=y", PEER, 0, 1},
        {"when connection.sni=y", PLAIN, 0, 1},
        {"when remote.ip=1.2.3.4", PEER, 0, 1},
        {"when experimental.envoy.filters.x[y]=z", PEER, 0, 1},
        {"when request.auth.principal=x source.namespace=dev", PEER, 0, 0},
    };
    run_rows("", rows, array_size(rows));
}

static void trust_domain_aliases(void **state) {
    static const struct row rows[] = {
        {"from principals=new/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 1, 1},
        {"from principals=new/ns/foo/sa/bar", "from=old/ns/foo/sa/bar", 1, 1},
        {"from principals=old/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 1, 1},
        {"from principals=cluster.local/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 1, 1},
        {"from principals=cluster.local/ns/foo/sa/bar", "from=older/ns/foo/sa/bar", 1, 1},
        /* the placeholder is not a domain of that name */
        {"from principals=cluster.local/ns/foo/sa/bar", "from=cluster.local/ns/foo/sa/bar", 0, 0},
        {"from principals=foreign/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 0, 0},
        {"from principals=foreign/ns/foo/sa/bar", "from=foreign/ns/foo/sa/bar", 1, 1},
        {"from principals=old/ns/foo/*", "from=new/ns/foo/sa/bar", 1, 1},
        {"from principals=cluster.local/*", "from=older/ns/foo/sa/bar", 1, 1},
        {"from principals=*/ns/foo/sa/bar", "from=foreign/ns/foo/sa/bar", 1, 1},
        {"from principals=*older/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 1, 1},
        {"from principals=*older/ns/foo/sa/bar", "from=evenolder/ns/foo/sa/bar", 1, 1},
        {"from principals=*none/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 0, 0},
        {"from notPrincipals=old/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 0, 0},
        {"when source.principal=old/ns/foo/sa/bar", "from=new/ns/foo/sa/bar", 1, 1},
        /* namespaces and service accounts ask no trust domain */
        {"from namespaces=foo", "from=foreign/ns/foo/sa/bar", 1, 1},
        {"from serviceAccounts=foo/bar", "from=foreign/ns/foo/sa/bar", 1, 1},
    };
    run_rows("domain new\nalias old\nalias older\nalias new", rows, array_size(rows));
}

static void check_verdict(struct mesh *m, const char *ask, bool allow, const char *policy, int rule, uint32_t line) {
    struct verdict v = mesh_ask(m, ask);
    char name[64] = "";

    if (v.name.n)
        snprintf(name, sizeof(name), STR_FMT "/" STR_FMT, STR_ARG(v.ns), STR_ARG(v.name));
    assert_int_equal(v.allow, allow);
    assert_string_equal(name, policy);
    assert_int_equal(v.rule, rule);
    assert_int_equal(v.at.line, line);
    assert_int_equal(v.kind != NULL, v.name.n > 0);
}

static void order_of_decision(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1 labels=app:web\n"
                  "pod app/db ip=10.1.0.2 labels=app:db\n"
                  "pod open/x ip=10.1.0.3\n"
                  "policy ALLOW app/b-allow\n"
                  "rule from namespaces=nobody\n"
                  "rule from namespaces=foo\n"
                  "policy DENY app/c-deny selector=app:web\n"
                  "rule to ports=81\n"
                  "policy CUSTOM app/d-custom selector=app:web\n"
                  "rule to ports=82\n"
                  "policy ALLOW app/e-none selector=app:db\n"
                  "policy AUDIT app/f-audit\n"
                  "rule\n"
                  "policy DENY app/g-dry dry\n"
                  "rule\n"
                  "policy DENY app/h-l7 refs\n"
                  "rule\n"
                  "policy ALLOW istio-system/a-mesh\n"
                  "rule to ports=7\n"
                  "policy DENY istio-system/z-mesh selector=app:db\n"
                  "rule to ports=9\n");
    check_verdict(&m, "to=app/web port=80 " PEER, true, "app/b-allow", 1, 6);
    check_verdict(&m, "to=app/web port=80 " OTHER, false, "", -1, 0);
    check_verdict(&m, "to=app/web port=81 " PEER, false, "app/c-deny", 0, 8);
    check_verdict(&m, "to=app/web port=82 " PEER, false, "app/d-custom", 0, 10);
    check_verdict(&m, "to=app/db port=81 " PEER, true, "app/b-allow", 1, 6);
    check_verdict(&m, "to=app/db port=7 " OTHER, true, "istio-system/a-mesh", 0, 19);
    check_verdict(&m, "to=app/db port=9 " PEER, false, "istio-system/z-mesh", 0, 21);
    check_verdict(&m, "to=open/x port=9 " PEER, false, "", -1, 0); /* the mesh's ALLOW applies there too */
    check_verdict(&m, "to=open/x port=7 " PLAIN, true, "istio-system/a-mesh", 0, 19);
    mesh_deinit(&m);
}

static void no_policy_and_special_policies(void **state) {
    static const struct {
        const char *text;
        bool plain, peer;
    } rows[] = {
        {"", true, true},
        {"policy ALLOW app/p", false, false},                         /* spec: {} denies all */
        {"policy ALLOW app/p\nrule", true, true},                     /* rules: [{}] allows all */
        {"policy ALLOW app/p\npolicy ALLOW app/q\nrule", true, true}, /* any match allows */
        {"policy DENY app/p\nrule\npolicy ALLOW app/q\nrule", false, false},
        {"policy AUDIT app/p\nrule", true, true},
        {"policy DENY app/p dry\nrule", true, true},
        {"policy ALLOW app/p dry", true, true},
        {"policy DENY app/p refs\nrule", true, true},
        {"policy ALLOW app/p refs", true, true},
        {"policy CUSTOM app/p\nrule to methods=GET", false, false},
        {"policy DENY elsewhere/p\nrule", true, true},
        {"policy DENY istio-system/p\nrule", false, false},
        {"auth app/p STRICT", false, true},
        {"auth app/p STRICT\npolicy ALLOW app/q\nrule", false, true},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "pod app/web ip=10.1.0.1");
        mesh_add(&m, rows[i].text);
        assert_int_equal(mesh_build(&m), 0);
        assert_int_equal(mesh_ask(&m, "to=app/web " PLAIN).allow, rows[i].plain);
        assert_int_equal(mesh_ask(&m, "to=app/web " PEER).allow, rows[i].peer);
        mesh_deinit(&m);
    }
}

static void strict_speaks_first(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1\npolicy DENY app/p\nrule\nauth app/strict STRICT");
    struct verdict v = mesh_ask(&m, "to=app/web " PLAIN);
    assert_false(v.allow);
    assert_int_equal(v.reason, CLOSE_MTLS_REQUIRED);
    assert_string_equal(v.kind, "PeerAuthentication");
    assert_true(str_is(v.name, STR("strict")) && v.at.line == 4 && v.rule == -1 && v.mtls == MTLS_STRICT);
    v = mesh_ask(&m, "to=app/web " PEER);
    assert_int_equal(v.reason, CLOSE_POLICY_DENIED);
    mesh_deinit(&m);
}

/* CVE-2020-16844: DENY with wildcard suffixes never matched. */
static void cve_2020_16844_suffix_in_deny(void **state) {
    static const struct row rows[] = {
        {"from principals=*bar", PEER, 1, 1}, {"from principals=*/foo/sa/bar", PEER, 1, 1}, {"from namespaces=*o", PEER, 1, 1},
        {"from namespaces=*fo", PEER, 0, 0},  {"from notPrincipals=*bar", OTHER, 1, 1},
    };
    run_rows("", rows, array_size(rows));
}

/* CVE-2026-39350: dots of a service account taken as wildcards. */
static void cve_2026_39350_dots_are_dots(void **state) {
    static const struct row rows[] = {
        {"from serviceAccounts=foo/b.r", PEER, 0, 0},
        {"from serviceAccounts=foo/b.r", "from=cluster.local/ns/foo/sa/b.r", 1, 1},
        {"from namespaces=f.o", PEER, 0, 0},
        {"from principals=cluster.local/ns/foo/sa/b.*", PEER, 0, 0},
        {"from principals=cluster.local/ns/foo/sa/b.*", "from=cluster.local/ns/foo/sa/b.r", 1, 1},
    };
    run_rows("", rows, array_size(rows));
}

/* ISTIO-SECURITY-2021-004: not-lists admitted peers without an identity. */
static void istio_2021_004_not_lists_need_an_identity(void **state) {
    static const struct row rows[] = {
        {"from notNamespaces=dev", PLAIN, 0, 1},
        {"from notPrincipals=cluster.local/ns/dev/*", PLAIN, 0, 1},
        {"from notServiceAccounts=dev/robot", PLAIN, 0, 1},
        {"from notNamespaces=dev notIpBlocks=10.9.0.0/16", PLAIN, 0, 1},
    };
    run_rows("", rows, array_size(rows));
}

/* CVE-2021-36213: an L7 deny must not weaken what stands beside it. */
static void cve_2021_36213_l7_deny_keeps_default_deny(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1\npolicy ALLOW app/a\nrule from namespaces=foo\npolicy DENY app/d\nrule from "
                  "namespaces=dev | to paths=/x");
    assert_true(mesh_ask(&m, "to=app/web " PEER).allow);
    assert_false(mesh_ask(&m, "to=app/web " OTHER).allow);
    assert_false(mesh_ask(&m, "to=app/web " PLAIN).allow);
    mesh_deinit(&m);
}

/* CVE-2020-15104: how far a star reaches is what is written: a plain prefix or suffix of the whole text. */
static void cve_2020_15104_star_scope(void **state) {
    static const struct row rows[] = {
        {"from principals=cluster.local/ns/foo/*", "from=cluster.local/ns/foobar/sa/x", 0, 0},
        {"from principals=cluster.local/ns/foo*", "from=cluster.local/ns/foobar/sa/x", 1, 1},
        {"from principals=cluster.loc*", "from=cluster.local.evil/ns/foo/sa/bar", 1, 1},
        {"from principals=cluster.local/*", "from=cluster.local.evil/ns/foo/sa/bar", 0, 0},
        {"from namespaces=foo", "from=cluster.local/ns/foo.bar/sa/x", 0, 0},
    };
    run_rows("", rows, array_size(rows));
}

/* istio 51556: selector policies reached pods of other namespaces. */
static void istio_51556_selectors_stay_in_their_namespace(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1 labels=app:web\npod other/web ip=10.1.0.2 labels=app:web\n"
                  "pod other/db ip=10.1.0.3 labels=app:db,x:y\npolicy DENY app/p selector=app:web\nrule\n"
                  "policy DENY istio-system/q selector=x:y,app:db\nrule");
    assert_false(mesh_ask(&m, "to=app/web " PEER).allow);
    assert_true(mesh_ask(&m, "to=other/web " PEER).allow);
    assert_false(mesh_ask(&m, "to=other/db " PEER).allow);
    mesh_deinit(&m);
}

/* Normalised once, then matched: IPv4-mapped is IPv4, for peers and for blocks. */
static void one_address_has_one_spelling(void **state) {
    static const struct row rows[] = {
        {"from ipBlocks=10.0.0.0/24", "ip=::ffff:10.0.0.9", 1, 1},
        {"from notIpBlocks=10.0.0.0/24", "ip=::ffff:10.0.0.9", 0, 0},
        {"from ipBlocks=::ffff:a00:9", PEER, 1, 1},
    };
    run_rows("", rows, array_size(rows));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_fields),
        cmocka_unit_test(addresses_and_ports),
        cmocka_unit_test(fields_beyond_this_layer),
        cmocka_unit_test(trust_domain_aliases),
        cmocka_unit_test(order_of_decision),
        cmocka_unit_test(no_policy_and_special_policies),
        cmocka_unit_test(strict_speaks_first),
        cmocka_unit_test(cve_2020_16844_suffix_in_deny),
        cmocka_unit_test(cve_2026_39350_dots_are_dots),
        cmocka_unit_test(istio_2021_004_not_lists_need_an_identity),
        cmocka_unit_test(cve_2021_36213_l7_deny_keeps_default_deny),
        cmocka_unit_test(cve_2020_15104_star_scope),
        cmocka_unit_test(istio_51556_selectors_stay_in_their_namespace),
        cmocka_unit_test(one_address_has_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
