/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/workload_entry.c - a workload outside Kubernetes; on its own node its netns and cgroup are annotations
 *
 * An unknown ringwall.io annotation is an error: a slip in ringwall.io/cgroup would leave the workload uncaptured. */
#include "../kinds.h"

static const char *const annotations[] = {"ringwall.io/node", "ringwall.io/netns", "ringwall.io/cgroup", "ringwall.io/addresses"};

static bool check_annotations(struct decode *d, const struct object_meta *m) {
    bool good = true;
    yaml_for_each(it, m->annotations_node) {
        bool known = !str_has_prefix(it->key, STR("ringwall.io/"));
        for (size_t i = 0; i < array_size(annotations); i++)
            known |= str_is(it->key, str_of(annotations[i]));
        if (known)
            continue;
        const char *near = nearest_word(it->key, annotations, array_size(annotations));
        char all[160] = "";
        struct text list = TEXT_OVER(all);
        words_format(&list, annotations, array_size(annotations));
        if (near)
            decode_key_errorf(d, it, "unknown annotation \"%.*s\": did you mean %s?", (int)min_of(it->key.n, (size_t)64),
                              it->key.at, near);
        else
            decode_key_errorf(d, it, "unknown annotation \"%.*s\": write one of %s", (int)min_of(it->key.n, (size_t)64), it->key.at,
                              all);
        good = false;
    }
    return good;
}

static bool read_path(struct decode *d, const struct object_meta *m, const char *key, struct str *ret) {
    struct str path = meta_annotation(m, key), rest, part;
    bool good = path.n == 0 || (path.at[0] == '/' && path.n < 4096);
    for (size_t i = 0; i < path.n; i++)
        good &= (unsigned char)path.at[i] >= 0x20 && path.at[i] != 0x7f;
    rest = path;
    while (good && path.n && str_split(&rest, '/', &part))
        good = !str_is(part, STR(".."));
    if (!good) {
        decode_errorf(d, meta_annotation_node(m, key), "annotation %s must be an absolute path without \"..\"", key);
        return false;
    }
    *ret = path;
    return true;
}

/* Addresses of the annotation, separated by commas or blanks, after spec.address; each once. */
static bool read_addresses(struct decode *d, const struct object_meta *m, const struct addr *first, struct workload_spec *w) {
    static const char key[] = "ringwall.io/addresses";
    struct str list = meta_annotation(m, key);
    w->addrs = decode_array(d, struct addr, list.n / 2 + 2);
    if (d->failed)
        return false;
    if (!addr_is_none(first))
        w->addrs[w->n_addrs++] = *first;
    for (size_t at = 0; at < list.n;) {
        size_t n = 0;
        struct addr a;
        while (at + n < list.n && !memchr(", \t\n", list.at[at + n], 4))
            n++;
        struct str text = {list.at + at, n};
        at += n + 1;
        if (n == 0)
            continue;
        if (!addr_parse(text, &a)) {
            decode_errorf(d, meta_annotation_node(m, key),
                          "annotation %s has \"%.*s\", which is no IP address: write addresses separated by commas", key,
                          (int)min_of(text.n, (size_t)64), text.at);
            return false;
        }
        bool known = false;
        for (size_t i = 0; i < w->n_addrs; i++)
            known |= addr_is(&w->addrs[i], &a);
        if (!known)
            w->addrs[w->n_addrs++] = a;
    }
    return true;
}

static void warn_placement(struct decode *d, const struct object_meta *m, const struct entry_body *b,
                           const struct workload_spec *w) {
    if (w->n_addrs == 0)
        decode_key_warnf(d, m->node,
                         "no IP address is known, names and sockets are not looked up: write spec.address as an IP address, or "
                         "annotation ringwall.io/addresses%s",
                         b->address.n ? " beside it" : "");
    if (!!w->netns_path.n != !!w->cgroup_path.n)
        decode_warnf(d, meta_annotation_node(m, w->netns_path.n ? "ringwall.io/netns" : "ringwall.io/cgroup"),
                     "only one of ringwall.io/netns and ringwall.io/cgroup is given: write both, or its connections are refused");
    if (w->node.n && !w->netns_path.n && !w->cgroup_path.n && w->mesh == MESH_LABEL_AMBIENT)
        decode_warnf(
            d, meta_annotation_node(m, "ringwall.io/node"),
            "annotation ringwall.io/node without ringwall.io/netns and ringwall.io/cgroup: its node does not capture it, and "
            "the mesh cannot reach it: write both");
    if ((w->netns_path.n || w->cgroup_path.n) && w->node.n == 0)
        decode_key_warnf(d, m->annotations_node, "annotation ringwall.io/node is missing: no node takes this workload for its own");
}

const void *decode_workload_entry(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *status = yaml_get(root, "status");
    struct entry_body b = {0};
    struct workload_spec *w = decode_array(d, struct workload_spec, 1);
    bool has_health, is_healthy;
    if (!spec || !w || (!yaml_is_null(status) && !decode_mapping(d, status, "status")))
        return NULL;
    bool good = decode_entry_body(d, spec, "spec", &b);
    *w = (struct workload_spec){.kind = STR("WorkloadEntry"),
                                .ns = m->ns,
                                .name = m->name,
                                .uid = m->uid,
                                .at = m->at,
                                .service_account = b.service_account,
                                .node = meta_annotation(m, "ringwall.io/node"),
                                .network = b.network,
                                .labels = b.labels,
                                .n_labels = b.n_labels,
                                .mesh = meta_mesh_label(d, m),
                                .use_waypoint = meta_waypoint(m),
                                .terminating = m->deleted,
                                .ports = b.ports,
                                .n_ports = b.n_ports,
                                .weight = b.weight,
                                .region = b.region,
                                .zone = b.zone,
                                .subzone = b.subzone,
                                .workload_name = m->name,
                                .workload_type = STR("workloadentry")};
    good &= check_annotations(d, m);
    good &= read_path(d, m, "ringwall.io/netns", &w->netns_path) && read_path(d, m, "ringwall.io/cgroup", &w->cgroup_path);
    good = good && read_addresses(d, m, &b.addr, w) && decode_condition(d, status, "Healthy", &has_health, &is_healthy);
    if (!good)
        return NULL;
    if (!b.address.n && !b.network.n && !w->n_addrs) {
        decode_errorf(d, spec, "spec has no address: write the workload's IP address");
        return NULL;
    }
    warn_placement(d, m, &b, w);
    w->ready = !w->terminating && (!has_health || is_healthy);
    bool ok = true;
    if (w->uid.n == 0)
        w->uid = arena_strf(d->arena, &ok, "WorkloadEntry/" STR_FMT "/" STR_FMT, STR_ARG(m->ns), STR_ARG(m->name));
    d->failed |= !ok;
    workload_canonical(w->labels, w->n_labels, m->name, w);
    return w;
}
