/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/service.c - a Service: its virtual addresses, TCP ports and selector
 *
 * A Service of type ExternalName has no address of its own; for us it is no more than a name and is left out. */
#include "../kinds.h"

static bool decode_vips(struct decode *d, const struct yaml_node *spec, struct service_spec *s) {
    const struct yaml_node *one = yaml_get(spec, "clusterIP"), *many = yaml_get(spec, "clusterIPs");
    bool list = !yaml_is_null(many);
    if (list && !decode_sequence(d, many, "spec.clusterIPs"))
        return false;
    s->vips = decode_array(d, struct addr, list ? many->n_children : 1);
    if (d->failed)
        return false;
    if (!list)
        return yaml_is_null(one) || one->scalar.n == 0 || str_is(one->scalar, STR("None")) ||
               decode_addr(d, one, "spec.clusterIP", &s->vips[s->n_vips++]);
    yaml_for_each(it, many) if (!str_is(it->scalar, STR("None")) &&
                                !decode_addr(d, it, "spec.clusterIPs", &s->vips[s->n_vips++])) return false;
    return true;
}

static bool decode_target(struct decode *d, const struct yaml_node *n, struct service_port_spec *port) {
    uint64_t number;
    if (n->kind == YAML_SCALAR && scalar_type_of(n) == SCALAR_STRING) {
        struct str name;
        if (!decode_str(d, n, "targetPort", &name))
            return false;
        if (str_u64(name, 65535, &number)) {
            decode_errorf(d, n, "targetPort is a number in quotes: write it without quotes, or the name of a port");
            return false;
        }
        port->target_name = name;
        return true;
    }
    if (!decode_u64(d, n, "targetPort", 0, 65535, &number))
        return false;
    port->target_port = number ? (uint16_t)number : port->port; /* 0 is "the same" for Kubernetes */
    return true;
}

static bool decode_service_port(struct decode *d, const struct yaml_node *n, struct service_port_spec *ret, bool *ret_tcp) {
    const struct yaml_node *protocol = yaml_get(n, "protocol"), *number = yaml_get(n, "port"), *name = yaml_get(n, "name");
    const struct yaml_node *target = yaml_get(n, "targetPort");
    struct service_port_spec port = {0};
    if (!decode_mapping(d, n, "an element of spec.ports"))
        return false;
    *ret_tcp = !protocol || str_is(protocol->scalar, STR("TCP"));
    if (!*ret_tcp)
        return true;
    if (!number) {
        decode_errorf(d, n, "an element of spec.ports has no port: write the number that clients dial");
        return false;
    }
    if (!decode_port(d, number, "port", &port.port) || (name && !decode_str(d, name, "name of a port", &port.name)))
        return false;
    port.target_port = port.port;
    if (target) {
        port.target_port = 0;
        if (!decode_target(d, target, &port))
            return false;
    }
    *ret = port;
    return true;
}

static bool decode_ports(struct decode *d, const struct yaml_node *ports, struct service_spec *s) {
    if (yaml_is_null(ports)) /* a headless one may have none */
        return true;
    if (!decode_sequence(d, ports, "spec.ports"))
        return false;
    s->ports = decode_array(d, struct service_port_spec, ports->n_children);
    yaml_for_each(it, ports) {
        bool tcp;
        if (d->failed || !decode_service_port(d, it, &s->ports[s->n_ports], &tcp))
            return false;
        s->n_ports += tcp;
    }
    return true;
}

/* False: the word is none of ours, which was told. */
static bool read_distribution(struct decode *d, const struct yaml_node *n, const char *name, struct str word,
                              enum traffic_distribution *ret) {
    static const struct {
        const char *word;
        enum traffic_distribution means;
    } rows[] = {{"PreferClose", TRAFFIC_PREFER_CLOSE},
                {"PreferSameZone", TRAFFIC_PREFER_CLOSE},
                {"PreferSameNode", TRAFFIC_PREFER_NODE},
                {"PreferSameNetwork", TRAFFIC_ANY}, /* no other network is ever used */
                {"Any", TRAFFIC_ANY}};
    for (size_t i = 0; i < array_size(rows); i++)
        if (str_fold_is(word, str_of(rows[i].word))) {
            *ret = rows[i].means;
            return true;
        }
    /* Kubernetes lets implementations have words of their own: what we do not know prefers nothing. */
    decode_warnf(d, n,
                 "%s has the unknown value \"%.*s\", which prefers nothing: write PreferSameZone, PreferSameNode or PreferClose",
                 name, (int)min_of(word.n, (size_t)64), word.at);
    return false;
}

bool meta_distribution(struct decode *d, const struct object_meta *m, enum traffic_distribution *ret) {
    static const char key[] = "networking.istio.io/traffic-distribution";
    const struct yaml_node *n = meta_annotation_node(m, key);
    return n && read_distribution(d, n, "annotation networking.istio.io/traffic-distribution", meta_annotation(m, key), ret);
}

/* Auto and no word at all are one: hints are used when every endpoint has them. */
static void read_topology_mode(struct decode *d, const struct object_meta *m, struct service_spec *s) {
    static const char *const keys[] = {"service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"};
    for (size_t i = 0; i < array_size(keys); i++) {
        const struct yaml_node *n = meta_annotation_node(m, keys[i]);
        struct str word = meta_annotation(m, keys[i]);
        if (!n)
            continue;
        s->ignore_hints = !str_fold_is(word, STR("Auto"));
        if (s->ignore_hints && !str_fold_is(word, STR("Disabled")))
            decode_warnf(d, n, "annotation %s has the unknown value \"%.*s\", and hints are not used: write Auto or Disabled",
                         keys[i], (int)min_of(word.n, (size_t)64), word.at);
        return;
    }
}

bool decode_distribution(struct decode *d, const struct object_meta *m, const struct yaml_node *spec, struct service_spec *s) {
    static const char *const policies[] = {"Cluster", "Local"};
    const struct yaml_node *n = yaml_get(spec, "trafficDistribution"), *policy = yaml_get(spec, "internalTrafficPolicy");
    struct str word;
    unsigned local = 0;

    if (!yaml_is_null(n)) {
        if (!decode_str(d, n, "spec.trafficDistribution", &word))
            return false;
        s->has_distribution = read_distribution(d, n, "spec.trafficDistribution", word, &s->distribution);
    }
    if (!s->has_distribution)
        s->has_distribution = meta_distribution(d, m, &s->distribution);
    if (!yaml_is_null(policy) && !decode_enum(d, policy, "spec.internalTrafficPolicy", policies, array_size(policies), &local))
        return false;
    if (local) {
        s->has_distribution = true;
        s->distribution = TRAFFIC_NODE_ONLY;
    }
    read_topology_mode(d, m, s);
    return true;
}

const void *decode_service(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *type = yaml_get(spec, "type"), *not_ready = yaml_get(spec, "publishNotReadyAddresses");
    const struct yaml_node *selector = yaml_get(spec, "selector");
    struct service_spec *s = decode_array(d, struct service_spec, 1);
    bool ok = true;
    if (!spec || !s || (type && str_is(type->scalar, STR("ExternalName"))))
        return NULL;
    *s = (struct service_spec){.kind = STR("Service"), .ns = m->ns, .name = m->name, .at = m->at, .use_waypoint = meta_waypoint(m)};
    s->hosts = decode_array(d, struct str, 1);
    if (d->failed)
        return NULL;
    s->hosts[0] = arena_strf(d->arena, &ok, STR_FMT "." STR_FMT ".svc." STR_FMT, STR_ARG(m->name), STR_ARG(m->ns),
                             STR_ARG(m->cluster_domain));
    s->n_hosts = 1;
    d->failed |= !ok;
    bool good = decode_vips(d, spec, s) && decode_ports(d, yaml_get(spec, "ports"), s);
    good &= !not_ready || decode_bool(d, not_ready, "spec.publishNotReadyAddresses", &s->publish_not_ready);
    good &= decode_distribution(d, m, spec, s);
    if (!yaml_is_null(selector) && selector->n_children)
        good &= decode_selector(d, spec, "selector", NULL, &s->selector);
    return good ? s : NULL;
}
