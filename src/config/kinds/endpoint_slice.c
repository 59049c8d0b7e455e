/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/endpoint_slice.c - some of the endpoints of a Service, to be joined with it (join.c) */
#include "../kinds.h"

static bool decode_ports(struct decode *d, const struct yaml_node *n, struct service_port_spec **ret, size_t *ret_n) {
    if (yaml_is_null(n))
        return true;
    if (!decode_sequence(d, n, "ports"))
        return false;
    struct service_port_spec *ports = decode_array(d, struct service_port_spec, n->n_children);
    size_t n_ports = 0;
    yaml_for_each(it, n) {
        const struct yaml_node *protocol = yaml_get(it, "protocol"), *number = yaml_get(it, "port"), *name = yaml_get(it, "name");
        struct service_port_spec port = {0};
        if (d->failed)
            return false;
        if (yaml_is_null(number) ||
            (protocol && !str_is(protocol->scalar, STR("TCP")))) /* no number is "all ports": nothing to map */
            continue;
        if (!decode_port(d, number, "port", &port.port) ||
            (!yaml_is_null(name) && !decode_str(d, name, "name of a port", &port.name)))
            return false;
        port.target_port = port.port;
        ports[n_ports++] = port;
    }
    *ret = ports;
    *ret_n = n_ports;
    return true;
}

/* The zones whose clients this endpoint is meant for, as the cluster's controller shares them out. */
static bool decode_hints(struct decode *d, const struct yaml_node *n, struct service_endpoint_spec *e) {
    const struct yaml_node *hints = yaml_get(n, "hints"), *zones = yaml_get(hints, "forZones");
    if (yaml_is_null(hints) || yaml_is_null(zones))
        return true;
    if (!decode_sequence(d, zones, "hints.forZones"))
        return false;
    e->for_zones = decode_array(d, struct str, zones->n_children);
    yaml_for_each(it, zones) {
        const struct yaml_node *name = yaml_get(it, "name");
        if (d->failed)
            return false;
        if (!name) {
            decode_errorf(d, it, "an element of hints.forZones has no name: write name: and the zone");
            return false;
        }
        if (!decode_str(d, name, "name of a zone", &e->for_zones[e->n_for_zones]))
            return false;
        e->n_for_zones += e->for_zones[e->n_for_zones].n > 0;
    }
    return true;
}

static bool decode_endpoint(struct decode *d, const struct yaml_node *n, struct service_endpoint_spec *e) {
    const struct yaml_node *conditions = yaml_get(n, "conditions"), *ready = yaml_get(conditions, "ready");
    const struct yaml_node *addresses = yaml_get(n, "addresses"), *target = yaml_get(n, "targetRef");
    const struct yaml_node *kind = yaml_get(target, "kind"), *name = yaml_get(target, "name");
    const struct yaml_node *node = yaml_get(n, "nodeName"), *zone = yaml_get(n, "zone");
    if (!decode_mapping(d, n, "an element of endpoints"))
        return false;
    e->ready = true; /* absent means ready */
    if (!yaml_is_null(ready) && !decode_bool(d, ready, "conditions.ready", &e->ready))
        return false;
    if (!addresses) {
        decode_errorf(d, n, "an endpoint has no addresses: write addresses: [10.0.0.1]");
        return false;
    }
    if (!decode_sequence(d, addresses, "addresses"))
        return false;
    if (!yaml_is_null(node) && !decode_str(d, node, "nodeName", &e->node))
        return false;
    if (!yaml_is_null(zone) && !decode_str(d, zone, "zone", &e->zone))
        return false;
    if (!decode_hints(d, n, e))
        return false;
    /* Consumers use the first address only, says Kubernetes; more than one is deprecated. */
    if (addresses->first && !decode_addr(d, addresses->first, "addresses", &e->addr))
        return false;
    return !name || !kind || !str_is(kind->scalar, STR("Pod")) || decode_str(d, name, "targetRef.name", &e->pod);
}

const void *decode_endpoint_slice(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    const struct yaml_node *endpoints = yaml_get(root, "endpoints"), *type = yaml_get(root, "addressType");
    struct slice_spec *s = decode_array(d, struct slice_spec, 1);
    struct service_port_spec *ports = NULL;
    size_t n_ports = 0;
    if (!s)
        return NULL;
    s->service = meta_label(m, "kubernetes.io/service-name");
    if (s->service.n == 0) {
        decode_key_warnf(d, m->node, "label kubernetes.io/service-name is missing: the slice belongs to no Service and is ignored");
        return NULL;
    }
    if (type && str_is(type->scalar, STR("FQDN"))) {
        decode_warnf(d, type, "addressType FQDN: names are not looked up, the slice is ignored");
        return NULL;
    }
    if (!decode_ports(d, yaml_get(root, "ports"), &ports, &n_ports))
        return NULL;
    if (yaml_is_null(endpoints)) /* a Service whose Pods are all gone */
        return s;
    if (!decode_sequence(d, endpoints, "endpoints"))
        return NULL;
    s->endpoints = decode_array(d, struct service_endpoint_spec, endpoints->n_children);
    yaml_for_each(it, endpoints) {
        if (d->failed)
            return NULL;
        struct service_endpoint_spec *e = &s->endpoints[s->n_endpoints];
        e->ports = ports;
        e->n_ports = n_ports;
        if (!decode_endpoint(d, it, e))
            return NULL;
        s->n_endpoints += !addr_is_none(&e->addr) || e->pod.n;
    }
    return s;
}
