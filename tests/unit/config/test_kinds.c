/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what a manifest says arrives in the specs, field by field, with places. Method: the files under data/good, and
 * small texts for defaults and corners. */
#include "manifest_file.h"

static struct manifest parse_text(struct str text) {
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), text, STR("cluster.local")), 0);
    cleanup_free char *seen = diags_text(&m.diags);
    assert_string_equal(seen, "");
    return m;
}

static struct manifest parse_file(const char *name) {
    cleanup_free char *path = NULL, *text = NULL;
    size_t n;
    assert_true(asprintf(&path, "%s/good/%s", data_dir(), name) > 0);
    assert_int_equal(io_read_file(path, 1 << 20, &text, &n), 0);
    return parse_text((struct str){text, n});
}

static const void *spec(const struct manifest *m, enum object_kind kind, const char *name) {
    for (const struct object *o = m->first; o; o = o->next)
        if (o->kind == kind && str_is(o->name, str_of(name)))
            return o->spec;
    fail_msg("no %s %s", object_kind_name(kind), name);
    return NULL;
}

#define assert_str(s, literal) assert_true(str_is(s, STR(literal)))

static void assert_addr(const struct addr *a, const char *text) {
    struct addr b;
    assert_true(addr_parse(str_of(text), &b));
    assert_true(addr_is(a, &b));
}

static void pod_as_printed(void **state) {
    struct manifest m = parse_file("kubectl.yaml");
    const struct workload_spec *w = spec(&m, OBJECT_POD, "web-7d4b9c5f6d-abcde");
    assert_str(w->kind, "Pod");
    assert_str(w->ns, "shop");
    assert_str(w->uid, "5d2f9a9e-0000-4000-8000-000000000003");
    assert_str(w->node, "node-1");
    assert_str(w->service_account, "web");
    assert_int_equal(w->n_addrs, 2);
    assert_addr(&w->addrs[0], "10.0.0.5");
    assert_addr(&w->addrs[1], "fd00::5");
    assert_int_equal(w->n_labels, 3);
    assert_int_equal(w->mesh, MESH_LABEL_ABSENT);
    assert_true(w->ready && !w->terminating && !w->host_network);
    assert_int_equal(w->n_ports, 1);
    assert_str(w->ports[0].name, "http");
    assert_int_equal(w->ports[0].port, 8080);
    assert_str(w->workload_name, "web");
    assert_str(w->workload_type, "deployment");
    assert_str(w->canonical_name, "web");
    assert_str(w->canonical_revision, "v2");
    assert_int_equal(w->netns_path.n + w->cgroup_path.n, 0);
    assert_str(w->at.file, "x.yaml");
    assert_int_equal(w->at.line, 47);
    assert_null(spec(&m, OBJECT_POD, "done"));
    manifest_deinit(&m);
}

static void pod_defaults(void **state) {
    static const char text[] =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: b, deletionTimestamp: \"2026-01-02T03:04:05Z\", labels: "
        "{istio.io/dataplane-mode: none}}\nspec: {hostNetwork: true, serviceAccount: old}\n"
        "status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: \"True\"}]}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: c}\nspec: {}\n"
        "status: {conditions: [{type: Ready, status: \"False\"}, {type: X, status: \"True\"}]}\n";
    struct manifest m = parse_text(STR(text));
    const struct workload_spec *a = spec(&m, OBJECT_POD, "a"), *b = spec(&m, OBJECT_POD, "b"), *c = spec(&m, OBJECT_POD, "c");
    assert_str(a->ns, "default");
    assert_str(a->uid, "Pod/default/a");
    assert_int_equal(a->service_account.n + a->node.n + a->n_addrs + a->n_ports, 0);
    assert_str(a->canonical_name, "a");
    assert_str(a->canonical_revision, "latest");
    assert_true(a->ready && b->host_network && b->terminating && !b->ready && !c->ready);
    assert_int_equal(b->mesh, MESH_LABEL_NONE);
    assert_str(b->service_account, "old");
    manifest_deinit(&m);
}

static void workload_entry(void **state) {
    struct manifest m = parse_file("entries.yaml");
    const struct workload_spec *w = spec(&m, OBJECT_WORKLOAD_ENTRY, "db"), *p = spec(&m, OBJECT_WORKLOAD_ENTRY, "plain");
    assert_str(w->kind, "WorkloadEntry");
    assert_str(w->uid, "WorkloadEntry/shop/db");
    assert_str(w->node, "node-1");
    assert_str(w->netns_path, "/proc/123/ns/net");
    assert_str(w->cgroup_path, "/sys/fs/cgroup/db");
    assert_str(w->use_waypoint, "wp");
    assert_int_equal(w->mesh, MESH_LABEL_AMBIENT);
    assert_int_equal(w->n_addrs, 3); /* the first is in both lists */
    assert_addr(&w->addrs[0], "10.0.1.1");
    assert_addr(&w->addrs[1], "fd00:1::1");
    assert_addr(&w->addrs[2], "10.0.1.2");
    assert_int_equal(w->n_labels, 2); /* spec.labels, not the object's own */
    assert_str(w->labels[0].key, "app");
    assert_int_equal(w->n_ports, 2);
    assert_int_equal(w->ports[1].port, 8080);
    assert_str(w->network, "n1");
    assert_str(w->region, "r1");
    assert_str(w->zone, "z1");
    assert_str(w->subzone, "s1");
    assert_int_equal(w->weight, 7);
    assert_str(w->service_account, "db");
    assert_true(w->ready);
    assert_str(p->uid, "some-uid");
    assert_int_equal(p->service_account.n + p->weight + p->n_labels, 0);
    manifest_deinit(&m);
}

static void services(void **state) {
    struct manifest m = parse_file("kubectl.yaml");
    const struct service_spec *s = spec(&m, OBJECT_SERVICE, "web"), *h = spec(&m, OBJECT_SERVICE, "headless");
    const struct slice_spec *slice = spec(&m, OBJECT_ENDPOINT_SLICE, "web-x1"), *none = spec(&m, OBJECT_ENDPOINT_SLICE, "web-x2");
    assert_int_equal(s->n_hosts, 1);
    assert_str(s->hosts[0], "web.shop.svc.cluster.local");
    assert_int_equal(s->n_vips, 2);
    assert_addr(&s->vips[1], "fd00:96::5");
    assert_int_equal(s->n_ports, 3);
    assert_int_equal(s->ports[0].target_port, 0);
    assert_str(s->ports[0].target_name, "http");
    assert_int_equal(s->ports[1].target_port, 8081);
    assert_int_equal(s->ports[2].target_port, 82);
    assert_true(s->selector.present && s->selector.n == 1 && !s->has_slices && !s->external);
    assert_true(h->n_vips == 0 && h->publish_not_ready);
    assert_null(spec(&m, OBJECT_SERVICE, "outside"));
    assert_str(slice->service, "web");
    assert_int_equal(slice->n_endpoints, 1);
    assert_str(slice->endpoints[0].pod, "web-7d4b9c5f6d-abcde");
    assert_addr(&slice->endpoints[0].addr, "10.0.0.5");
    assert_true(slice->endpoints[0].ready && slice->endpoints[0].n_ports == 1 && slice->endpoints[0].ports[0].port == 8080);
    assert_int_equal(none->n_endpoints, 0);
    manifest_deinit(&m);
}

static void service_entries(void **state) {
    struct manifest m = parse_file("entries.yaml");
    const struct service_spec *s = spec(&m, OBJECT_SERVICE_ENTRY, "db"), *t = spec(&m, OBJECT_SERVICE_ENTRY, "selected");
    assert_int_equal(s->n_hosts, 2);
    assert_int_equal(s->n_vips, 2);
    assert_int_equal(s->n_ports, 2);
    assert_int_equal(s->ports[0].target_port, 15432);
    assert_int_equal(s->ports[1].target_port, 80);
    assert_true(!s->external && s->has_slices && s->n_endpoints == 2 && s->subject_alt_names.n == 1);
    assert_addr(&s->endpoints[0].addr, "10.0.1.1");
    assert_int_equal(s->endpoints[0].ports[0].port, 5433);
    assert_true(t->external && !t->has_slices && t->selector.present);
    manifest_deinit(&m);
}

static void distribution(void **state) {
    static const struct {
        const char *name;
        enum traffic_distribution means;
        bool said, no_hints;
    } rows[] = {{"close", TRAFFIC_PREFER_CLOSE, true, false}, {"zone", TRAFFIC_PREFER_CLOSE, true, false},
                {"node", TRAFFIC_PREFER_NODE, true, false},   {"local", TRAFFIC_NODE_ONLY, true, false},
                {"any", TRAFFIC_ANY, false, false},           {"both", TRAFFIC_PREFER_CLOSE, true, false}, /* the field first */
                {"auto", TRAFFIC_ANY, false, false},          {"disabled", TRAFFIC_ANY, false, true}};
    struct manifest m = parse_file("distribution.yaml");
    for (size_t i = 0; i < array_size(rows); i++) {
        const struct service_spec *v = spec(&m, OBJECT_SERVICE, rows[i].name);
        assert_int_equal(v->distribution, rows[i].means);
        assert_int_equal(v->has_distribution, rows[i].said);
        assert_int_equal(v->ignore_hints, rows[i].no_hints);
    }
    assert_int_equal(((const struct namespace_spec *)spec(&m, OBJECT_NAMESPACE, "shop"))->distribution, TRAFFIC_PREFER_CLOSE);
    const struct service_spec *s = spec(&m, OBJECT_SERVICE_ENTRY, "entry");
    const struct service_endpoint_spec *e = s->endpoints;
    assert_true(s->distribution == TRAFFIC_PREFER_CLOSE && e->weight == 2);
    assert_str(e->region, "r1");
    assert_str(e->zone, "z1");
    assert_str(e->subzone, "s1");
    assert_str(e->network, "n1");
    e = ((const struct slice_spec *)spec(&m, OBJECT_ENDPOINT_SLICE, "close-x1"))->endpoints;
    assert_str(e[0].node, "node-2");
    assert_str(e[0].zone, "z2");
    assert_int_equal(e[0].n_for_zones, 2);
    assert_str(e[0].for_zones[1], "z2");
    assert_int_equal(e[1].n_for_zones, 0);
    assert_true(e[1].node.n == 0 && e[1].zone.n == 0 && e[1].weight == 0);
    manifest_deinit(&m);
}

static void authorization_policies(void **state) {
    struct manifest m = parse_file("policies.yaml");
    const struct policy_spec *p = spec(&m, OBJECT_AUTHORIZATION_POLICY, "everything");
    assert_true(p->dry_run && p->action == POLICY_DENY && p->selector.present && p->selector.n == 2 && !p->has_target_refs);
    assert_int_equal(p->at.line, 5);
    assert_int_equal(p->n_rules, 2);
    assert_int_equal(p->rules[0].n_from + p->rules[0].n_to + p->rules[0].n_when, 0);
    const struct rule_spec *r = &p->rules[1];
    assert_int_equal(r->at.line, 14);
    assert_int_equal(r->n_from, 2);
    const struct text_list *lists[] = {&r->from[0].principals,
                                       &r->from[0].not_principals,
                                       &r->from[0].request_principals,
                                       &r->from[0].not_request_principals,
                                       &r->from[0].namespaces,
                                       &r->from[0].not_namespaces,
                                       &r->from[0].ip_blocks,
                                       &r->from[0].not_ip_blocks,
                                       &r->from[0].remote_ip_blocks,
                                       &r->from[0].not_remote_ip_blocks,
                                       &r->from[0].trust_domains,
                                       &r->from[0].not_trust_domains,
                                       &r->from[1].service_accounts,
                                       &r->from[1].not_service_accounts,
                                       &r->to[0].hosts,
                                       &r->to[0].not_hosts,
                                       &r->to[0].ports,
                                       &r->to[0].not_ports,
                                       &r->to[0].methods,
                                       &r->to[0].not_methods,
                                       &r->to[0].paths,
                                       &r->to[0].not_paths,
                                       &r->when[0].values,
                                       &r->when[0].not_values};
    static const size_t n[] = {4, 1, 1, 1, 1, 1, 3, 1, 1, 1, 4, 1, 2, 1, 1, 1, 3, 1, 1, 1, 3, 1, 1, 1};
    for (size_t i = 0; i < array_size(lists); i++)
        assert_true(lists[i]->present && lists[i]->n == n[i]);
    assert_false(r->from[1].principals.present);
    assert_str(r->from[0].principals.items[0].text, "cluster.local/ns/shop/sa/web");
    assert_int_equal(r->from[0].principals.items[0].at.line, 16);
    assert_int_equal(r->from[0].principals.items[0].at.column, 22);
    assert_int_equal(r->n_when, 5);
    assert_str(r->when[2].key, "request.headers[x-y]");
    const struct policy_spec *nothing = spec(&m, OBJECT_AUTHORIZATION_POLICY, "nothing");
    assert_true(nothing->action == POLICY_ALLOW && nothing->n_rules == 0 && !nothing->selector.present && !nothing->dry_run);
    assert_true(((const struct policy_spec *)spec(&m, OBJECT_AUTHORIZATION_POLICY, "for-a-waypoint"))->has_target_refs);
    assert_int_equal(((const struct policy_spec *)spec(&m, OBJECT_AUTHORIZATION_POLICY, "custom"))->action, POLICY_CUSTOM);
    manifest_deinit(&m);
}

static void peer_authentications(void **state) {
    struct manifest m = parse_file("policies.yaml");
    const struct peer_auth_spec *p = spec(&m, OBJECT_PEER_AUTHENTICATION, "web"),
                                *d = spec(&m, OBJECT_PEER_AUTHENTICATION, "default");
    assert_true(p->mode == MTLS_STRICT && p->has_created && p->created_s == 1767323045 && p->selector.n == 1);
    assert_true(p->mode_at.line > 0 && p->n_ports == 2);
    assert_true(p->ports[0].port == 8080 && p->ports[0].mode == MTLS_DISABLE && p->ports[1].mode == MTLS_UNSET);
    assert_true(d->mode == MTLS_UNSET && !d->has_created && d->mode_at.file.n == 0 && d->n_ports == 0);
    manifest_deinit(&m);
}

static void lists_and_other_kinds(void **state) {
    struct manifest m = parse_file("kubectl.yaml");
    assert_non_null(m.skipped);
    assert_str(m.skipped->kind, "Deployment");
    assert_null(m.skipped->next);
    const struct node_spec *node = spec(&m, OBJECT_NODE, "node-1");
    assert_str(node->region, "r1");
    assert_str(node->zone, "z1");
    const struct namespace_spec *ns = spec(&m, OBJECT_NAMESPACE, "shop");
    assert_int_equal(ns->mesh, MESH_LABEL_AMBIENT);
    manifest_deinit(&m);
    /* A typed list, whose items need not repeat what they are; Services of another group are none. */
    m = parse_text(STR("apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n---\n"
                       "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n---\n"
                       "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: y}\n"));
    assert_int_equal(m.n_objects, 2);
    assert_int_equal(m.skipped->n, 2);
    assert_str(m.skipped->api_version, "serving.knative.dev/v1");
    manifest_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pod_as_printed),         cmocka_unit_test(pod_defaults),
                                       cmocka_unit_test(workload_entry),         cmocka_unit_test(services),
                                       cmocka_unit_test(service_entries),        cmocka_unit_test(distribution),
                                       cmocka_unit_test(authorization_policies), cmocka_unit_test(peer_authentications),
                                       cmocka_unit_test(lists_and_other_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
