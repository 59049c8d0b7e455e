/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/pod.c - a Pod as kubectl prints it: what facts of it a proxy needs, the rest unread
 *
 * A Pod's author chooses its annotations, so none of them may say which netns or cgroup it is: those are found by the
 * node, from the kernel. */
#include "../kinds.h"

static bool decode_ports(struct decode *d, const struct yaml_node *containers, struct workload_spec *w) {
    size_t n_max = 0;
    yaml_for_each(c, containers) {
        const struct yaml_node *ports = yaml_get(c, "ports");
        n_max += ports ? ports->n_children : 0;
    }
    w->ports = decode_array(d, struct named_port, n_max);
    yaml_for_each(c, containers) {
        const struct yaml_node *ports = yaml_get(c, "ports");
        if (yaml_is_null(ports))
            continue;
        if (!decode_sequence(d, ports, "ports of a container"))
            return false;
        yaml_for_each(p, ports) {
            const struct yaml_node *protocol = yaml_get(p, "protocol"), *name = yaml_get(p, "name"),
                                   *number = yaml_get(p, "containerPort");
            struct named_port port = {0};
            if (protocol && !str_is(protocol->scalar, STR("TCP"))) /* only TCP is carried */
                continue;
            if (!number) {
                decode_errorf(d, p, "a container's port has no containerPort: write the number");
                return false;
            }
            if (!decode_port(d, number, "containerPort", &port.port) ||
                (name && !decode_str(d, name, "name of a port", &port.name)))
                return false;
            if (d->failed)
                return false;
            w->ports[w->n_ports++] = port;
        }
    }
    return true;
}

static bool decode_addresses(struct decode *d, const struct yaml_node *status, struct workload_spec *w) {
    const struct yaml_node *ip = yaml_get(status, "podIP"), *ips = yaml_get(status, "podIPs");
    bool many = !yaml_is_null(ips);
    if (many && !decode_sequence(d, ips, "status.podIPs"))
        return false;
    w->addrs = decode_array(d, struct addr, many ? ips->n_children : 1);
    if (d->failed)
        return false;
    if (!many && !yaml_is_null(ip) && ip->scalar.n)
        return decode_addr(d, ip, "status.podIP", &w->addrs[w->n_addrs++]);
    yaml_for_each(it, ips) {
        const struct yaml_node *one = yaml_get(it, "ip");
        if (!one) {
            decode_errorf(d, it, "an element of status.podIPs has no ip: write - ip: 10.0.0.1");
            return false;
        }
        if (!decode_addr(d, one, "status.podIPs[].ip", &w->addrs[w->n_addrs++]))
            return false;
    }
    return true;
}

/* Names the controller of a Pod; of a ReplicaSet's, the Deployment, whose name the template's hash follows. */
static void read_owner(const struct object_meta *m, struct workload_spec *w) {
    const struct yaml_node *owners = yaml_get(m->node, "ownerReferences");
    struct str hash = meta_label(m, "pod-template-hash");
    w->workload_name = m->name;
    w->workload_type = STR("pod");
    yaml_for_each(o, owners) {
        const struct yaml_node *kind = yaml_get(o, "kind"), *name = yaml_get(o, "name"), *controller = yaml_get(o, "controller");
        if (!kind || !name || !controller || !str_is(controller->scalar, STR("true")))
            continue;
        struct str owner = name->scalar;
        if (str_is(kind->scalar, STR("Job"))) {
            w->workload_type = STR("job");
        } else if (str_is(kind->scalar, STR("ReplicaSet"))) {
            w->workload_type = STR("deployment");
            if (hash.n && owner.n > hash.n + 1 && str_has_suffix(owner, hash) && owner.at[owner.n - hash.n - 1] == '-')
                owner.n -= hash.n + 1;
        }
        w->workload_name = owner;
        return;
    }
}

static bool warn_annotations(struct decode *d, const struct object_meta *m) {
    yaml_for_each(it, m->annotations_node) if (str_has_prefix(it->key, STR("ringwall.io/"))) decode_key_warnf(
        d, it, "annotation " STR_FMT " has no effect on a Pod, whose author may not choose it: use a WorkloadEntry",
        (int)min_of(it->key.n, (size_t)64), it->key.at);
    return true;
}

const void *decode_pod(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *status = yaml_get(root, "status"), *phase = yaml_get(status, "phase"), *n;
    bool has_conditions, is_ready;
    struct workload_spec *w = decode_array(d, struct workload_spec, 1);
    if (!spec || !w || (!yaml_is_null(status) && !decode_mapping(d, status, "status")))
        return NULL;
    if (phase && (str_is(phase->scalar, STR("Succeeded")) || str_is(phase->scalar, STR("Failed"))))
        return NULL;
    warn_annotations(d, m);
    *w = (struct workload_spec){.kind = STR("Pod"),
                                .ns = m->ns,
                                .name = m->name,
                                .uid = m->uid,
                                .at = m->at,
                                .labels = m->labels,
                                .n_labels = m->n_labels,
                                .mesh = meta_mesh_label(d, m),
                                .use_waypoint = meta_waypoint(m),
                                .terminating = m->deleted,
                                .network = meta_label(m, "topology.istio.io/network")};
    n = yaml_get(spec, "nodeName");
    bool good = yaml_is_null(n) || decode_str(d, n, "spec.nodeName", &w->node);
    n = yaml_get(spec, "serviceAccountName");
    if (!n)
        n = yaml_get(spec, "serviceAccount"); /* the older name, still printed beside it */
    good &= yaml_is_null(n) || decode_str(d, n, "spec.serviceAccountName", &w->service_account);
    n = yaml_get(spec, "hostNetwork");
    good &= !n || decode_bool(d, n, "spec.hostNetwork", &w->host_network);
    n = yaml_get(spec, "containers");
    if (!yaml_is_null(n))
        good &= decode_sequence(d, n, "spec.containers") && decode_ports(d, n, w);
    good &= decode_addresses(d, status, w) && decode_condition(d, status, "Ready", &has_conditions, &is_ready);
    if (!good)
        return NULL;
    /* The kubelet always writes conditions: without any, a person wrote this Pod and means it to be there. */
    w->ready = !w->terminating && (is_ready || yaml_is_null(yaml_get(status, "conditions")));
    bool ok = true;
    if (w->uid.n == 0)
        w->uid = arena_strf(d->arena, &ok, "Pod/" STR_FMT "/" STR_FMT, STR_ARG(m->ns), STR_ARG(m->name));
    read_owner(m, w);
    w->workload_name = decode_copy(d, w->workload_name);
    workload_canonical(w->labels, w->n_labels, w->workload_name, w);
    d->failed |= !ok;
    return w;
}
