/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/service_entry.c - a service that the files describe themselves: hosts, addresses, ports, endpoints */
#include "../kinds.h"

static const char *const locations[] = {"MESH_EXTERNAL", "MESH_INTERNAL"};
static const char *const resolutions[] = {"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"};
enum { RESOLUTION_NONE };

static bool is_host(struct str s) {
    if (str_has_prefix(s, STR("*.")))
        s = (struct str){s.at + 2, s.n - 2};
    char lower[256];
    if (s.n == 0 || s.n >= sizeof(lower))
        return false;
    for (size_t i = 0; i < s.n; i++)
        lower[i] = s.at[i] >= 'A' && s.at[i] <= 'Z' ? (char)(s.at[i] | 0x20) : s.at[i];
    return is_dns_name((struct str){lower, s.n});
}

static bool decode_hosts(struct decode *d, const struct yaml_node *spec, struct service_spec *s) {
    const struct yaml_node *n = yaml_get(spec, "hosts");
    struct text_list list = {0};
    if (!n || n->n_children == 0) {
        if (n && !decode_sequence(d, n, "hosts"))
            return false;
        decode_errorf(d, n ? n : spec, "hosts is missing or empty: write at least one host name");
        return false;
    }
    if (!decode_text_list(d, n, "hosts", &list))
        return false;
    s->hosts = decode_array(d, struct str, list.n);
    for (size_t i = 0; i < list.n && !d->failed; i++) {
        if (!is_host(list.items[i].text)) {
            diag_addf(d->diags, DIAG_ERROR, &list.items[i].at,
                      STR_FMT ": hosts has \"%.*s\", which is no host name: write a DNS name, or one that begins with \"*.\"",
                      STR_ARG(d->what), (int)min_of(list.items[i].text.n, (size_t)64), list.items[i].text.at);
            return false;
        }
        s->hosts[s->n_hosts++] = list.items[i].text;
    }
    return !d->failed;
}

static bool decode_vips(struct decode *d, const struct yaml_node *n, struct service_spec *s) {
    struct text_list list = {0};
    if (!decode_text_list(d, n, "addresses", &list))
        return false;
    s->vips = decode_array(d, struct addr, list.n);
    s->blocks = decode_array(d, struct cidr, list.n);
    for (size_t i = 0; i < list.n && !d->failed; i++) {
        struct cidr block;
        bool host_bits;
        if (!cidr_parse(list.items[i].text, &block, &host_bits)) {
            diag_addf(d->diags, DIAG_ERROR, &list.items[i].at,
                      STR_FMT
                      ": addresses has \"%.*s\", which is neither an IP address nor a block of them: write it like 240.0.0.1 or "
                      "240.0.0.0/24",
                      STR_ARG(d->what), (int)min_of(list.items[i].text.n, (size_t)64), list.items[i].text.at);
            return false;
        }
        if (host_bits) {
            char text[CIDR_TEXT];
            diag_addf(d->diags, DIAG_WARNING, &list.items[i].at,
                      STR_FMT ": addresses has \"%.*s\", which has bits behind its prefix and means " STR_FMT ": write that",
                      STR_ARG(d->what), (int)min_of(list.items[i].text.n, (size_t)64), list.items[i].text.at,
                      STR_ARG(cidr_format(&block, text)));
        }
        if (block.bits == 128)
            s->vips[s->n_vips++] = block.addr;
        else
            s->blocks[s->n_blocks++] = block;
    }
    return !d->failed;
}

static bool decode_entry_port(struct decode *d, const struct yaml_node *n, struct service_spec *s) {
    static const char *const keys[] = {"number", "protocol", "name", "targetPort"};
    struct service_port_spec port = {0};
    struct str protocol = STR_NULL;
    if (!decode_mapping(d, n, "an element of ports"))
        return false;
    decode_keys(d, n, "an element of ports", keys, array_size(keys));
    const struct yaml_node *number = yaml_get(n, "number"), *name = yaml_get(n, "name"), *target = yaml_get(n, "targetPort");
    const struct yaml_node *its_protocol = yaml_get(n, "protocol");
    if (!number || !name) {
        decode_errorf(d, n, "an element of ports has no %s: write number and name", number ? "name" : "number");
        return false;
    }
    if (!decode_port(d, number, "number", &port.port) || !decode_str(d, name, "name of a port", &port.name) ||
        (its_protocol && !decode_str(d, its_protocol, "protocol", &protocol)))
        return false;
    port.target_port = port.port;
    if (target && !decode_port(d, target, "targetPort", &port.target_port))
        return false;
    for (size_t i = 0; i < s->n_ports; i++) {
        bool same_name = str_is(s->ports[i].name, port.name);
        if (!same_name && s->ports[i].port != port.port)
            continue;
        decode_errorf(d, same_name ? name : number, "two elements of ports have the same %s: make each unique",
                      same_name ? "name" : "number");
        return false;
    }
    if (str_fold_is(protocol, STR("UDP"))) /* only TCP is carried */
        return true;
    s->ports[s->n_ports++] = port;
    return true;
}

static bool decode_ports(struct decode *d, const struct yaml_node *n, struct service_spec *s) {
    enum { PORTS_MAX = 256 }; /* as the CRD says; each is compared with each */
    if (!n)
        return true;
    if (!decode_sequence(d, n, "ports"))
        return false;
    if (n->n_children > PORTS_MAX) {
        decode_key_errorf(d, n, "ports has %zu elements: at most %d are allowed", n->n_children, PORTS_MAX);
        return false;
    }
    s->ports = decode_array(d, struct service_port_spec, n->n_children);
    bool good = true;
    yaml_for_each(it, n) good = !d->failed && decode_entry_port(d, it, s) && good;
    return good;
}

static bool decode_endpoint(struct decode *d, const struct yaml_node *n, struct service_spec *s) {
    struct entry_body b = {0};
    if (!decode_mapping(d, n, "an element of endpoints") || !decode_entry_body(d, n, "an element of endpoints", &b))
        return false;
    if (!b.address.n && !b.network.n) {
        decode_errorf(d, n, "an element of endpoints has no address: write an IP address");
        return false;
    }
    if (addr_is_none(&b.addr)) {
        decode_warnf(d, n, "the address of an endpoint is no IP address and names are not looked up: the endpoint is not used");
        return true;
    }
    struct service_endpoint_spec *e = &s->endpoints[s->n_endpoints++];
    *e = (struct service_endpoint_spec){.addr = b.addr,
                                        .ready = true,
                                        .weight = b.weight,
                                        .network = b.network,
                                        .region = b.region,
                                        .zone = b.zone,
                                        .subzone = b.subzone,
                                        .ports = decode_array(d, struct service_port_spec, b.n_ports)};
    for (size_t i = 0; i < b.n_ports && !d->failed; i++)
        e->ports[e->n_ports++] =
            (struct service_port_spec){.name = b.ports[i].name, .port = b.ports[i].port, .target_port = b.ports[i].port};
    return !d->failed;
}

static bool decode_endpoints(struct decode *d, struct yaml_node *spec, unsigned resolution, struct service_spec *s) {
    const struct yaml_node *n = yaml_get(spec, "endpoints"), *selector = yaml_get(spec, "workloadSelector");
    if (!n)
        return true;
    if (!decode_sequence(d, n, "endpoints"))
        return false;
    if (n->n_children && selector) {
        decode_key_errorf(d, n, "endpoints and workloadSelector are both given: keep one of them");
        return false;
    }
    if (n->n_children && resolution == RESOLUTION_NONE) {
        decode_key_errorf(d, n, "endpoints are given, but resolution is NONE: write resolution: STATIC");
        return false;
    }
    s->endpoints = decode_array(d, struct service_endpoint_spec, n->n_children);
    bool good = !d->failed;
    yaml_for_each(it, n) good = !d->failed && decode_endpoint(d, it, s) && good;
    s->has_slices = n->n_children > 0;
    return good;
}

const void *decode_service_entry(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    static const char *const keys[] = {"hosts",     "addresses", "ports",           "location",        "resolution",
                                       "endpoints", "exportTo",  "subjectAltNames", "workloadSelector"};
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *location = yaml_get(spec, "location"), *resolution = yaml_get(spec, "resolution");
    unsigned location_word = 0, resolution_word = RESOLUTION_NONE;
    struct text_list export_to;
    struct service_spec *s = decode_array(d, struct service_spec, 1);
    if (!spec || !s)
        return NULL;
    if (!decode_keys(d, spec, "spec", keys, array_size(keys)))
        return NULL; /* a key that is missing may be the misspelt one */
    *s = (struct service_spec){
        .kind = STR("ServiceEntry"), .ns = m->ns, .name = m->name, .at = m->at, .use_waypoint = meta_waypoint(m)};
    bool good = decode_hosts(d, spec, s);
    good &= decode_vips(d, yaml_get(spec, "addresses"), s);
    good &= decode_ports(d, yaml_get(spec, "ports"), s);
    good &= !location || decode_enum(d, location, "location", locations, array_size(locations), &location_word);
    good &= !resolution || decode_enum(d, resolution, "resolution", resolutions, array_size(resolutions), &resolution_word);
    good &= decode_endpoints(d, spec, resolution_word, s);
    good &= decode_text_list(d, yaml_get(spec, "subjectAltNames"), "subjectAltNames", &s->subject_alt_names);
    good &= decode_text_list(d, yaml_get(spec, "exportTo"), "exportTo", &export_to);
    good &= decode_selector(d, spec, "workloadSelector", "labels", &s->selector);
    good &= decode_distribution(d, m, NULL, s);
    s->external = location_word == 0;
    return good ? s : NULL;
}
