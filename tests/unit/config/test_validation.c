/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every validation rule of Istio, and those that it has not but ought to, is told at its place with what to write
 * instead. Method: a table of one manifest a row beside a small mesh, with all that is said about it; numbers are those of
 * Istio's rules as we keep them (targets, selectors, CUSTOM, lists, conditions, mTLS, tokens), W its warnings. */
#include "scratch.h"

static const char mesh_text[] =
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n---\napiVersion: "
    "v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, "
    "namespace: shop, uid: u1, labels: {app: web}}\nspec: {containers: [{name: web, ports: [{containerPort: 80}]}], nodeName: "
    "n}\nstatus: {podIP: 10.0.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}\n";
#define AP "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec: "
#define PA "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: "
#define RA "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: p, namespace: shop}\nspec: "

struct row {
    const char *what, *manifest, *said;
};

/* Loads the mesh with the manifest and compares what is said about the latter. */
static bool says(const struct row *row, const char *manifest) {
    struct scratch s;
    struct diag_list all = DIAG_LIST_NULL, own = DIAG_LIST_NULL;
    cleanup(mesh_loader_freep) struct mesh_loader *l = NULL;
    cleanup(world_freep) struct world *w = NULL;
    scratch_init(&s);
    struct mesh_options o = scratch_options(&s);
    scratch_put(&s, "mesh.yaml", mesh_text);
    scratch_put(&s, "m.yaml", manifest);
    assert_int_equal(mesh_loader_new(&o, &l), 0);
    int r = mesh_load(l, 1, &all, &w);
    for (size_t i = 0; i < all.n; i++)
        if (str_has_suffix(str_of(all.items[i].file), STR("/m.yaml"))) {
            struct origin at = {STR(""), all.items[i].line, all.items[i].column};
            diag_addf(&own, all.items[i].severity, &at, "%s", all.items[i].text);
        }
    assert_int_equal(r, own.n_errors ? 1 : 0);
    cleanup_free char *seen = scratch_diags(&s, &own);
    char plain[4096] = "";
    for (const char *at = seen, *end; *at; at = end) { /* without the file's name */
        end = strchr(at, '\n') + 1;
        strncat(plain, at + 1, (size_t)(end - at - 1));
    }
    bool same = !strcmp(plain, row->said);
    if (!same)
        print_error("%s: expected\n%sseen\n%s", row->what, row->said, plain);
    diag_list_deinit(&all);
    diag_list_deinit(&own);
    scratch_deinit(&s);
    return same;
}

static void every_rule(void **state) {
    static const struct row rows[] = {
        {"1 two of selector and targetRefs",
         AP "{selector: {matchLabels: {app: web}}, targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}], "
            "rules: [{}]}\n",
         "4:45: error: AuthorizationPolicy shop/p: only one of selector, targetRef and targetRefs is allowed: remove the others\n"},
        {"1 targetRef and targetRefs",
         AP "{targetRef: {kind: Service, group: '', name: g}, targetRefs: [{kind: Service, group: '', name: g}], rules: [{}]}\n",
         "4:56: error: AuthorizationPolicy shop/p: only one of selector, targetRef and targetRefs is allowed: remove the others\n"},
        {"2 selector with an empty key", AP "{selector: {matchLabels: {'': web}}, rules: [{}]}\n",
         "4:33: error: empty key: write a name before the colon\n"},
        {"2 selector with a star", AP "{selector: {matchLabels: {app: 'w*'}}, rules: [{}]}\n",
         "4:33: error: AuthorizationPolicy shop/p: selector.matchLabels has a \"*\": labels are compared exactly, write the whole "
         "key and value\n"},
        {"3 targetRef without name", AP "{targetRefs: [{kind: Service, group: ''}], rules: [{}]}\n",
         "4:21: error: AuthorizationPolicy shop/p: targetRef has no name: write name: of the object that it refers to\n"},
        {"3 targetRef with namespace", AP "{targetRefs: [{kind: Service, group: '', name: a, namespace: b}], rules: [{}]}\n",
         "4:68: error: AuthorizationPolicy shop/p: targetRef.namespace is not allowed: remove it, the object is looked for in the "
         "policy's namespace\n"},
        {"3 targetRef of another kind", AP "{targetRefs: [{kind: Pod, group: '', name: a}], rules: [{}]}\n",
         "4:21: error: AuthorizationPolicy shop/p: targetRef has an unknown kind or group: write Gateway or GatewayClass of "
         "gateway.networking.k8s.io, Service of \"\", or ServiceEntry of networking.istio.io\n"},
        {"4 CUSTOM without rules", AP "{action: CUSTOM, provider: {name: x}}\n",
         "4:7: error: AuthorizationPolicy shop/p: action CUSTOM has no rules and would never match: write rules, [{}] matches "
         "everything\n"},
        {"4 CUSTOM without provider", AP "{action: CUSTOM, rules: [{}]}\n",
         "4:7: error: AuthorizationPolicy shop/p: action CUSTOM needs a provider: write provider: {name: ...}\n"},
        {"4 CUSTOM with principals",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {principals: [a/ns/b/sa/c]}}]}]}\n",
         "4:71: error: AuthorizationPolicy shop/p: principals is not allowed with action CUSTOM: remove it, or use ALLOW or "
         "DENY\n"},
        {"4 CUSTOM with notNamespaces",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {notNamespaces: [a]}}]}]}\n",
         "4:71: error: AuthorizationPolicy shop/p: notNamespaces is not allowed with action CUSTOM: remove it, or use ALLOW or "
         "DENY\n"},
        {"4 CUSTOM with serviceAccounts",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {serviceAccounts: [a/b]}}]}]}\n",
         "4:71: error: AuthorizationPolicy shop/p: serviceAccounts is not allowed with action CUSTOM: remove it, or use ALLOW or "
         "DENY\n"},
        {"4 CUSTOM with requestPrincipals",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}\n",
         "4:71: error: AuthorizationPolicy shop/p: requestPrincipals is not allowed with action CUSTOM: remove it, or use ALLOW or "
         "DENY\n"},
        {"4 CUSTOM with when source.namespace",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{when: [{key: source.namespace, values: [a]}]}]}\n",
         "4:67: error: AuthorizationPolicy shop/p: key source.namespace is not allowed with action CUSTOM: remove it, or use ALLOW "
         "or DENY\n"},
        {"4 CUSTOM with when request.auth",
         AP "{action: CUSTOM, provider: {name: x}, rules: [{when: [{key: 'request.auth.claims[a]', values: [a]}]}]}\n",
         "4:67: error: AuthorizationPolicy shop/p: key request.auth.claims[a] is not allowed with action CUSTOM: remove it, or use "
         "ALLOW or DENY\n"},
        {"5 provider with another action", AP "{action: ALLOW, provider: {name: x}, rules: [{}]}\n",
         "4:23: error: AuthorizationPolicy shop/p: provider is only allowed with action CUSTOM: remove it\n"},
        {"6 DENY without rules", AP "{action: DENY}\n",
         "4:7: error: AuthorizationPolicy shop/p: action DENY has no rules and would never match: write rules, [{}] matches "
         "everything\n"},
        {"7 null rule", AP "{rules: [null]}\n",
         "4:16: error: AuthorizationPolicy shop/p: a rule is empty: write {} to match everything, or remove it\n"},
        {"8 empty from", AP "{rules: [{from: []}]}\n",
         "4:17: error: AuthorizationPolicy shop/p: from is an empty list: write an element, or remove from to match everything\n"},
        {"8 empty to", AP "{rules: [{to: []}]}\n",
         "4:17: error: AuthorizationPolicy shop/p: to is an empty list: write an element, or remove to to match everything\n"},
        {"8 null source", AP "{rules: [{from: [{source: null}]}]}\n",
         "4:33: error: AuthorizationPolicy shop/p: source is empty: write its keys indented below it, or {} to set none\n"},
        {"8 null element", AP "{rules: [{from: [null]}]}\n",
         "4:24: error: AuthorizationPolicy shop/p: an element of from is empty: write its keys indented below it, or {} to set "
         "none\n"},
        {"8 null operation", AP "{rules: [{to: [{operation: null}]}]}\n",
         "4:34: error: AuthorizationPolicy shop/p: operation is empty: write its keys indented below it, or {} to set none\n"},
        {"9 source without a field", AP "{rules: [{from: [{source: {}}]}]}\n",
         "4:33: error: AuthorizationPolicy shop/p: source sets no field: write a condition, or remove the element to match "
         "everything\n"},
        {"9 operation without a field", AP "{rules: [{to: [{operation: {}}]}]}\n",
         "4:34: error: AuthorizationPolicy shop/p: operation sets no field: write a condition, or remove the element to match "
         "everything\n"},
        {"10 serviceAccounts with principals",
         AP "{rules: [{from: [{source: {serviceAccounts: [a/b], principals: [a/ns/b/sa/c]}}]}]}\n",
         "4:33: error: AuthorizationPolicy shop/p: serviceAccounts cannot stand together with principals or namespaces in one "
         "source: write two sources\n"},
        {"10 serviceAccounts with namespaces", AP "{rules: [{from: [{source: {serviceAccounts: [a/b], namespaces: [a]}}]}]}\n",
         "4:33: error: AuthorizationPolicy shop/p: serviceAccounts cannot stand together with principals or namespaces in one "
         "source: write two sources\n"},
        {"11 bad IP", AP "{rules: [{from: [{source: {ipBlocks: [10.0.0.256]}}]}]}\n",
         "4:45: error: AuthorizationPolicy shop/p: ipBlocks has \"10.0.0.256\": write an IP address or a block of them, such as "
         "10.0.0.1, 10.0.0.0/8 or fd00::/64\n"},
        {"11 bad CIDR", AP "{rules: [{from: [{source: {notIpBlocks: [10.0.0.0/33]}}]}]}\n",
         "4:48: error: AuthorizationPolicy shop/p: notIpBlocks has \"10.0.0.0/33\": write an IP address or a block of them, such "
         "as 10.0.0.1, 10.0.0.0/8 or fd00::/64\n"},
        {"11 bad remote IP", AP "{rules: [{from: [{source: {remoteIpBlocks: [x]}}]}]}\n",
         "4:51: error: AuthorizationPolicy shop/p: remoteIpBlocks has \"x\": write an IP address or a block of them, such as "
         "10.0.0.1, 10.0.0.0/8 or fd00::/64\n"},
        {"12 empty string", AP "{rules: [{from: [{source: {namespaces: ['']}}]}]}\n",
         "4:47: error: AuthorizationPolicy shop/p: namespaces has an empty string: write a value, or remove it from the list\n"},
        {"12 empty port", AP "{rules: [{to: [{operation: {ports: ['']}}]}]}\n",
         "4:43: error: AuthorizationPolicy shop/p: ports has an empty string: write a value, or remove it from the list\n"},
        {"13 account with a star", AP "{rules: [{from: [{source: {serviceAccounts: ['a/*']}}]}]}\n",
         "4:52: error: AuthorizationPolicy shop/p: serviceAccounts has \"a/*\": service accounts are compared exactly: write the "
         "account without \"*\", or use principals\n"},
        {"13 account with two slashes", AP "{rules: [{from: [{source: {serviceAccounts: [a/b/c]}}]}]}\n",
         "4:52: error: AuthorizationPolicy shop/p: serviceAccounts has \"a/b/c\": write namespace/account, or the account alone "
         "for the policy's own namespace\n"},
        {"13 account with an empty part", AP "{rules: [{from: [{source: {serviceAccounts: [a/]}}]}]}\n",
         "4:52: error: AuthorizationPolicy shop/p: serviceAccounts has \"a/\": a part is empty: write namespace/account, or the "
         "account alone\n"},
        {"14 trust domain with a slash", AP "{rules: [{from: [{source: {trustDomains: [a/b]}}]}]}\n",
         "4:49: error: AuthorizationPolicy shop/p: trustDomains has \"a/b\": a trust domain has no \"/\": write the domain "
         "alone\n"},
        {"14 trust domain with two stars", AP "{rules: [{from: [{source: {trustDomains: ['*a*']}}]}]}\n",
         "4:49: error: AuthorizationPolicy shop/p: trustDomains has \"*a*\": only one \"*\" is allowed, first or last\n"},
        {"14 trust domain with a star inside", AP "{rules: [{from: [{source: {trustDomains: ['a*b']}}]}]}\n",
         "4:49: error: AuthorizationPolicy shop/p: trustDomains has \"a*b\": only one \"*\" is allowed, first or last\n"},
        {"15 port no number", AP "{rules: [{to: [{operation: {ports: [http]}}]}]}\n",
         "4:43: error: AuthorizationPolicy shop/p: ports has \"http\": write a port number from 0 to 65535\n"},
        {"15 port too large", AP "{rules: [{to: [{operation: {ports: ['65536']}}]}]}\n",
         "4:43: error: AuthorizationPolicy shop/p: ports has \"65536\": write a port number from 0 to 65535\n"},
        {"16 path template", AP "{rules: [{to: [{operation: {paths: ['/a/{*}/{**}/b{*}']}}]}]}\n",
         "4:43: error: AuthorizationPolicy shop/p: paths has \"/a/{*}/{**}/b{*}\": in a path template a part is plain text, {*} or "
         "{**}\n"},
        {"17 when without key", AP "{rules: [{when: [{values: [a]}]}]}\n",
         "4:24: error: AuthorizationPolicy shop/p: a condition has no key: write key: source.ip or another\n"},
        {"17 when without values", AP "{rules: [{when: [{key: source.ip}]}]}\n",
         "4:24: error: AuthorizationPolicy shop/p: a condition has neither values nor notValues: write one of them\n"},
        {"17 unknown key", AP "{rules: [{when: [{key: source.ipp, values: [a]}]}]}\n",
         "4:30: error: AuthorizationPolicy shop/p: unknown key \"source.ipp\" of a condition: did you mean source.ip?\n"},
        {"17 bad IP for its key", AP "{rules: [{when: [{key: source.ip, values: [a]}]}]}\n",
         "4:50: error: AuthorizationPolicy shop/p: values has \"a\": write an IP address or a block of them, such as 10.0.0.1, "
         "10.0.0.0/8 or fd00::/64\n"},
        {"17 bad port for its key", AP "{rules: [{when: [{key: destination.port, values: ['70000']}]}]}\n",
         "4:57: error: AuthorizationPolicy shop/p: values has \"70000\": write a port number from 0 to 65535\n"},
        {"17 map key", AP "{rules: [{when: [{key: 'request.headers[a', values: [a]}]}]}\n",
         "4:30: error: AuthorizationPolicy shop/p: key is \"request.headers[a\": write request.headers[name]\n"},
        {"18 ports without selector", PA "{portLevelMtls: {80: {mode: STRICT}}}\n",
         "4:8: error: PeerAuthentication shop/p: portLevelMtls needs a selector: ports belong to workloads, write "
         "selector.matchLabels\n"},
        {"18 empty ports", PA "{selector: {matchLabels: {app: web}}, portLevelMtls: {}}\n",
         "4:45: error: PeerAuthentication shop/p: portLevelMtls is empty: write a port and its mode, or remove the key\n"},
        {"18 port 0", PA "{selector: {matchLabels: {app: web}}, portLevelMtls: {0: {mode: STRICT}}}\n",
         "4:61: error: PeerAuthentication shop/p: portLevelMtls has \"0\": write a port number from 1 to 65535\n"},
        {"18 port too large", PA "{selector: {matchLabels: {app: web}}, portLevelMtls: {65536: {mode: STRICT}}}\n",
         "4:61: error: PeerAuthentication shop/p: portLevelMtls has \"65536\": write a port number from 1 to 65535\n"},
        {"18 unknown mode", PA "{mtls: {mode: STRCT}}\n",
         "4:21: error: PeerAuthentication shop/p: mode is \"STRCT\": did you mean STRICT? Write UNSET, DISABLE, PERMISSIVE or "
         "STRICT\n"},
        {"19 empty audience", RA "{jwtRules: [{issuer: a, audiences: ['']}]}\n",
         "4:43: error: RequestAuthentication shop/p: audiences has an empty string: write a value, or remove it from the list\n"},
        {"19 neither issuer nor jwksUri", RA "{jwtRules: [{audiences: [a]}]}\n",
         "4:19: error: RequestAuthentication shop/p: an element of jwtRules has neither issuer nor jwksUri: write the issuer\n"},
        {"19 jwksUri", RA "{jwtRules: [{issuer: a, jwksUri: 'ftp://a'}]}\n",
         "4:40: error: RequestAuthentication shop/p: jwksUri is no address of the web: write https://host/path\n"},
        {"19 unparsable jwks", RA "{jwtRules: [{issuer: a, jwks: '{'}]}\n",
         "4:37: error: RequestAuthentication shop/p: jwks is no key set: write JSON as {\"keys\": [...]}\n"},
        {"19 empty header", RA "{jwtRules: [{issuer: a, fromHeaders: [{name: ''}]}]}\n",
         "4:52: error: RequestAuthentication shop/p: an element of fromHeaders has no valid name: write the name of a header, of "
         "letters, digits and \"-\"\n"},
        {"19 empty param", RA "{jwtRules: [{issuer: a, fromParams: ['']}]}\n",
         "4:44: error: RequestAuthentication shop/p: fromParams has an empty string: write a value, or remove it from the list\n"},
        {"19 empty cookie", RA "{jwtRules: [{issuer: a, fromCookies: ['']}]}\n",
         "4:45: error: RequestAuthentication shop/p: fromCookies has an empty string: write a value, or remove it from the list\n"},
        {"19 output header", RA "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: 'a b', claim: c}]}]}\n",
         "4:63: error: RequestAuthentication shop/p: an element of outputClaimToHeaders has no valid header: write the name of a "
         "header, of letters, digits and \"-\"\n"},
        {"19 timeout", RA "{jwtRules: [{issuer: a, timeout: soon}]}\n",
         "4:40: error: RequestAuthentication shop/p: timeout is no duration: write it as 5s\n"},
        {"W1 selector without labels", AP "{selector: {}, rules: [{}]}\n",
         "4:8: warning: AuthorizationPolicy shop/p: selector has no labels, so it selects every workload of the namespace: write "
         "matchLabels, or remove selector to say so\n"},
        {"W2 DENY with HTTP fields only", AP "{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}\n",
         "4:30: warning: this DENY rule has HTTP conditions only: it denies every TCP connection to its workloads; add ports, or "
         "attach the policy to a waypoint with targetRefs\n4:57: warning: paths is an HTTP field, and TCP is all that is seen "
         "here: it counts as true, so this DENY rule matches more than it says; remove the field, or attach the policy to a "
         "waypoint with targetRefs\n"},
        {"W3 private key in jwks",
         RA
         "{jwtRules: [{issuer: a, jwks: '{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\", \"d\": \"AQAB\"}]}'}]}\n",
         "1:1: warning: kind RequestAuthentication has no effect at L4: 1 accepted and ignored\n4:37: warning: "
         "RequestAuthentication shop/p: jwks has private key material: publish the public half only, and replace the key\n"},
        {"more: spiffe prefix", AP "{rules: [{from: [{source: {principals: ['spiffe://cluster.local/ns/a/sa/b']}}]}]}\n",
         "4:47: warning: principals: \"spiffe://cluster.local/ns/a/sa/b\" never matches: principals are written without "
         "\"spiffe://\"; write \"cluster.local/ns/a/sa/b\"\n"},
        {"more: not five segments", AP "{rules: [{from: [{source: {principals: [cluster.local/a/b]}}]}]}\n",
         "4:47: warning: principals: \"cluster.local/a/b\" never matches: write <trust domain>/ns/<namespace>/sa/<service "
         "account>, or use a star at one end\n"},
        {"more: unknown namespace", AP "{rules: [{from: [{source: {namespaces: [nowhere]}}]}]}\n",
         "4:47: warning: namespaces: namespace nowhere is not declared, so nobody comes from there; check its name\n"},
        {"more: selects nothing", AP "{selector: {matchLabels: {app: none}}, rules: [{}]}\n",
         "4:8: warning: the selector of AuthorizationPolicy shop/p matches no workload; check its labels against the workloads' in "
         "this namespace\n"},
        {"more: port that none exposes",
         AP "{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {ports: ['81']}}]}]}\n",
         "3:18: warning: none of the ports in AuthorizationPolicy shop/p is one that its workloads expose; write the workloads' "
         "own ports, not a service's\n"},
        {"more: HTTP field in ALLOW", AP "{rules: [{to: [{operation: {methods: [GET]}}]}]}\n",
         "4:45: warning: methods is an HTTP field, and TCP is all that is seen here: this ALLOW rule never matches; remove the "
         "field, or attach the policy to a waypoint with targetRefs\n"},
        {"more: star in the middle", AP "{rules: [{from: [{source: {namespaces: ['a*b']}}]}]}\n",
         "4:47: warning: namespaces: \"a*b\" never matches: a star counts only as the first or the last character; write a prefix* "
         "or a *suffix\n"},
        {"more: only negatives", AP "{rules: [{from: [{source: {notNamespaces: [shop]}}]}]}\n",
         "4:33: warning: only identities to be left out are named: peers without an identity (plaintext) are not admitted by this "
         "rule; add principals: [\"*\"] to say so\n"},
        {"more: host bits", AP "{rules: [{from: [{source: {ipBlocks: [10.0.0.1/8]}}]}]}\n",
         "4:45: warning: ipBlocks: \"10.0.0.1/8\" has bits behind its prefix and means 10.0.0.0/8; write that\n"},
        {"more: trustDomains at L4", AP "{rules: [{from: [{source: {trustDomains: [a]}}]}]}\n",
         "4:49: warning: trustDomains is not supported yet: this ALLOW rule never matches; remove the field, or attach the policy "
         "to a waypoint with targetRefs\n"},
        {"more: unknown key, near", AP "{rulez: [{}]}\n",
         "4:8: error: AuthorizationPolicy shop/p: unknown key \"rulez\" in spec: did you mean \"rules\"?\n"},
        {"more: unknown key in a source", AP "{rules: [{from: [{source: {principal: [a]}}]}]}\n",
         "4:34: error: AuthorizationPolicy shop/p: unknown key \"principal\" in source: did you mean \"principals\"?\n"},
        {"more: unknown key in an operation", AP "{rules: [{to: [{operation: {port: ['80']}}]}]}\n",
         "4:35: error: AuthorizationPolicy shop/p: unknown key \"port\" in operation: did you mean \"ports\"?\n"},
        {"more: unknown key in when", AP "{rules: [{when: [{key: source.ip, value: [a]}]}]}\n",
         "4:24: error: AuthorizationPolicy shop/p: a condition has neither values nor notValues: write one of them\n4:41: error: "
         "AuthorizationPolicy shop/p: unknown key \"value\" in an element of when: did you mean \"values\"?\n"},
        {"more: unknown key, far", AP "{frobnicate: 1}\n",
         "4:8: error: AuthorizationPolicy shop/p: unknown key \"frobnicate\" in spec: remove it, or write one of selector, rules, "
         "action, provider, targetRef or targetRefs\n"},
        {"more: action misspelt", AP "{action: ALOW, rules: [{}]}\n",
         "4:16: error: AuthorizationPolicy shop/p: action is \"ALOW\": did you mean ALLOW? Write ALLOW, DENY, AUDIT or CUSTOM\n"},
        {"more: mtls key misspelt", PA "{mtsl: {mode: STRICT}}\n",
         "4:8: error: PeerAuthentication shop/p: unknown key \"mtsl\" in spec: did you mean \"mtls\"?\n"},
        {"more: kind misspelt", "apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\nmetadata: {name: p}\n",
         "2:7: error: unknown kind \"AuthorisationPolicy\": did you mean AuthorizationPolicy?\n"},
        {"more: group misspelt", "apiVersion: security.istio.ioo/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n",
         "1:13: error: unknown group \"security.istio.ioo\" of kind AuthorizationPolicy: did you mean apiVersion: "
         "security.istio.io/v1?\n"},
        {"more: group left out", "apiVersion: v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n",
         "1:13: error: kind AuthorizationPolicy is of group security.istio.io: write apiVersion: security.istio.io/v1\n"},
        {"more: half of the group", "apiVersion: istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\n",
         "1:13: error: kind PeerAuthentication is of group security.istio.io: write apiVersion: security.istio.io/v1\n"},
        {"more: another half", "apiVersion: networking.istio/v1\nkind: WorkloadEntry\nmetadata: {name: p}\n",
         "1:13: error: kind WorkloadEntry is of group networking.istio.io: write apiVersion: networking.istio.io/v1\n"},
        {"more: somebody else's kind of that name", "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\n",
         "1:1: warning: kind AuthorizationPolicy (policy.linkerd.io/v1alpha1) is none that we read: 1 skipped\n"},
        {"more: account that no file has", AP "{rules: [{from: [{source: {serviceAccounts: [shop/nobody]}}]}]}\n",
         "4:52: warning: serviceAccounts: \"shop/nobody\" names service account nobody, of which namespace shop has none in these "
         "files: check its name\n"},
        {"more: principal whose account no file has",
         AP "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/nobody]}}]}]}\n",
         "4:47: warning: principals: \"cluster.local/ns/shop/sa/nobody\" names service account nobody, of which namespace shop has "
         "none in these files: check its name\n"},
        {"more: account that is there", AP "{rules: [{from: [{source: {serviceAccounts: [default, shop/default]}}]}]}\n", ""},
    };
    size_t n_failed = 0;
    for (size_t i = 0; i < array_size(rows); i++)
        n_failed += !says(&rows[i], rows[i].manifest);
    assert_int_equal(n_failed, 0);
}

static void every_limit(void **state) {
    static const struct {
        struct row row;
        const char *repeated;
        unsigned n;
        const char *behind;
    } rows[] = {
        {{"13 seventeen accounts", AP "{rules: [{from: [{source: {serviceAccounts: [",
          "4:34: error: AuthorizationPolicy shop/p: serviceAccounts has 17 values: at most 16 are allowed\n"},
         "a, ",
         17,
         "]}}]}]}\n"},
        {{"13 long account", AP "{rules: [{from: [{source: {serviceAccounts: [a/",
          "4:52: error: AuthorizationPolicy shop/p: serviceAccounts has "
          "\"a/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\": a service account has at most 320 "
          "characters\n"},
         "x",
         320,
         "]}}]}]}\n"},
        {{"limit: rules", AP "{rules: [",
          "4:8: error: AuthorizationPolicy shop/p: rules has 513 elements: at most 512 are allowed, write a second policy\n"},
         "{}, ",
         513,
         "]}\n"},
        {{"limit: from", AP "{rules: [{from: [",
          "4:17: error: AuthorizationPolicy shop/p: from has 513 elements: at most 512 are allowed\n"},
         "{source: {namespaces: [shop]}}, ",
         513,
         "]}]}\n"},
        {{"limit: targetRefs", AP "{targetRefs: [",
          "4:8: error: AuthorizationPolicy shop/p: targetRefs has 17 elements: at most 16 are allowed\n"},
         "{kind: Service, group: '', name: a}, ",
         17,
         "], rules: [{}]}\n"},
    };
    size_t n_failed = 0;
    for (size_t i = 0; i < array_size(rows); i++) {
        struct growing g = GROWING_NULL;
        growing_addf(&g, "%s", rows[i].row.manifest);
        for (unsigned k = 0; k < rows[i].n; k++)
            growing_addf(&g, "%s", rows[i].repeated);
        growing_addf(&g, "%s", rows[i].behind);
        assert_false(g.failed);
        n_failed += !says(&rows[i].row, g.at);
        growing_deinit(&g);
    }
    assert_int_equal(n_failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_rule), cmocka_unit_test(every_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
