/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/common.c - what several kinds share: names, labels, selectors, target references, addresses, conditions */
#include <stdio.h>

#include "../kinds.h"

enum {
    LABEL_VALUE_MAX = 63,
    SELECTOR_PAIRS_MAX = 4096,
    TARGET_REFS_MAX = 16,
    DNS_NAME_MAX = 253,
    DNS_LABEL_MAX = 63,
    ADDRESS_MAX = 256
};

static bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_dns_label(struct str s) {
    if (s.n == 0 || s.n > DNS_LABEL_MAX || !is_alnum(s.at[0]) || !is_alnum(s.at[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.at[i]) && s.at[i] != '-')
            return false;
    return true;
}

bool is_dns_name(struct str s) {
    struct str rest = s, part;
    if (s.n == 0 || s.n > DNS_NAME_MAX)
        return false;
    while (str_split(&rest, '.', &part)) {
        /* The API server bounds the whole name, not its parts. */
        if (part.n == 0 || !is_alnum(part.at[0]) || !is_alnum(part.at[part.n - 1]))
            return false;
        for (size_t i = 0; i < part.n; i++)
            if (!is_alnum(part.at[i]) && part.at[i] != '-')
                return false;
    }
    return true;
}

struct str meta_label(const struct object_meta *m, const char *key) {
    return label_value(m->labels, m->n_labels, str_of(key));
}
struct str meta_annotation(const struct object_meta *m, const char *key) {
    return label_value(m->annotations, m->n_annotations, str_of(key));
}
const struct yaml_node *meta_annotation_node(const struct object_meta *m, const char *key) {
    return yaml_get(m->annotations_node, key);
}

enum mesh_label meta_mesh_label(struct decode *d, const struct object_meta *m) {
    static const char key[] = "istio.io/dataplane-mode";
    struct str value = meta_label(m, key);
    if (str_is(value, STR("ambient")))
        return MESH_LABEL_AMBIENT;
    if (str_is(value, STR("none")))
        return MESH_LABEL_NONE;
    if (value.n)
        decode_warnf(d, yaml_get(m->labels_node, key),
                     "label %s has a value without meaning here: write ambient to enrol, none to keep out, or remove the label",
                     key);
    return MESH_LABEL_ABSENT;
}

struct str meta_waypoint(const struct object_meta *m) {
    return meta_label(m, "istio.io/use-waypoint");
}

struct yaml_node *decode_spec(struct decode *d, struct yaml_node *root) {
    struct yaml_node *spec = yaml_get(root, "spec");
    if (!spec) {
        decode_errorf(d, root, "spec is missing: write it, or spec: {} when it shall be empty");
        return NULL;
    }
    return decode_mapping(d, spec, "spec") ? spec : NULL;
}

static bool check_selector_labels(struct decode *d, const struct yaml_node *labels, const char *name) {
    bool good = true;
    if (labels->n_children > SELECTOR_PAIRS_MAX) {
        decode_key_errorf(d, labels, "%s has %zu labels: at most %d are allowed", name, labels->n_children, SELECTOR_PAIRS_MAX);
        return false;
    }
    yaml_for_each(it, labels) {
        bool star = (it->key.n && memchr(it->key.at, '*', it->key.n)) || (it->scalar.n && memchr(it->scalar.at, '*', it->scalar.n));
        if (it->key.n == 0)
            decode_key_errorf(d, it, "%s has an empty key: write the name of a label", name);
        else if (star)
            decode_key_errorf(d, it, "%s has a \"*\": labels are compared exactly, write the whole key and value", name);
        else if (it->scalar.n > LABEL_VALUE_MAX)
            decode_errorf(d, it, "%s has a value of %zu characters: a label has at most %d", name, it->scalar.n, LABEL_VALUE_MAX);
        else
            continue;
        good = false;
    }
    return good;
}

bool decode_selector(struct decode *d, struct yaml_node *spec, const char *key, const char *labels_key, struct selector *ret) {
    const struct yaml_node *n = yaml_get(spec, key), *labels;
    struct selector s = {.present = true};
    char name[64];
    if (!n)
        return true;
    if (!decode_mapping(d, n, key))
        return false;
    s.at = decode_key_at(d, n);
    labels = labels_key ? yaml_get(n, labels_key) : n;
    if (labels_key)
        decode_keys(d, n, key, (const char *const[]){labels_key}, 1);
    snprintf(name, sizeof(name), "%s%s%s", key, labels_key ? "." : "", labels_key ? labels_key : "");
    if (labels && (!decode_mapping(d, labels, name) || !check_selector_labels(d, labels, name)))
        return false;
    if (!decode_labels(d, labels, "label", &s.labels, &s.n))
        return false;
    if (s.n == 0 && n->n_children == (labels_key && labels)) /* another key was told already */
        decode_key_warnf(d, n, "%s has no labels, so it selects every workload of the namespace: write %s, or remove %s to say so",
                         key, labels_key ? labels_key : "labels", key);
    *ret = s;
    return true;
}

static bool target_is_allowed(struct str group, struct str kind) {
    if (str_is(group, STR("gateway.networking.k8s.io")))
        return str_is(kind, STR("Gateway")) || str_is(kind, STR("GatewayClass"));
    if (group.n == 0 || str_is(group, STR("core")))
        return str_is(kind, STR("Service"));
    return str_is(group, STR("networking.istio.io")) && str_is(kind, STR("ServiceEntry"));
}

static bool check_target_ref(struct decode *d, const struct yaml_node *n) {
    static const char *const keys[] = {"group", "kind", "name", "namespace"};
    struct str parts[array_size(keys)] = {0};
    if (!decode_mapping(d, n, "targetRef"))
        return false;
    if (!decode_keys(d, n, "targetRef", keys, array_size(keys)))
        return false;
    for (size_t i = 0; i < array_size(keys); i++) {
        const struct yaml_node *part = yaml_get(n, keys[i]);
        char name[32];
        snprintf(name, sizeof(name), "targetRef.%s", keys[i]);
        if (part && !decode_str(d, part, name, &parts[i]))
            return false;
    }
    if (parts[2].n == 0)
        decode_errorf(d, n, "targetRef has no name: write name: of the object that it refers to");
    else if (parts[3].n)
        decode_errorf(d, yaml_get(n, "namespace"),
                      "targetRef.namespace is not allowed: remove it, the object is looked for in the policy's namespace");
    else if (!target_is_allowed(parts[0], parts[1]))
        decode_errorf(d, n,
                      "targetRef has an unknown kind or group: write Gateway or GatewayClass of gateway.networking.k8s.io, Service "
                      "of \"\", or "
                      "ServiceEntry of networking.istio.io");
    else
        return true;
    return false;
}

bool decode_attachment(struct decode *d, struct yaml_node *spec, struct selector *ret, bool *ret_has_target_refs) {
    const struct yaml_node *ref = yaml_get(spec, "targetRef"), *refs = yaml_get(spec, "targetRefs");
    bool good = decode_selector(d, spec, "selector", "matchLabels", ret);
    unsigned n = !!yaml_get(spec, "selector") + !!ref + !!refs;
    if (n > 1) {
        decode_key_errorf(d, refs ? refs : ref, "only one of selector, targetRef and targetRefs is allowed: remove the others");
        return false;
    }
    if (ref)
        good &= check_target_ref(d, ref);
    if (refs && !decode_sequence(d, refs, "targetRefs"))
        return false;
    if (refs && refs->n_children > TARGET_REFS_MAX) {
        decode_key_errorf(d, refs, "targetRefs has %zu elements: at most %d are allowed", refs->n_children, TARGET_REFS_MAX);
        return false;
    }
    if (refs && refs->n_children == 0)
        decode_key_warnf(d, refs,
                         "targetRefs is an empty list, so the policy is for the whole namespace: remove the key to say so plainly");
    yaml_for_each(it, refs) good &= check_target_ref(d, it);
    *ret_has_target_refs = ref || (refs && refs->n_children);
    return good;
}

bool decode_port(struct decode *d, const struct yaml_node *n, const char *name, uint16_t *ret) {
    uint64_t value;
    if (!decode_u64(d, n, name, 1, 65535, &value))
        return false;
    *ret = (uint16_t)value;
    return true;
}

bool decode_addr(struct decode *d, const struct yaml_node *n, const char *name, struct addr *ret) {
    struct str text;
    if (!decode_str(d, n, name, &text))
        return false;
    if (addr_parse(text, ret))
        return true;
    decode_errorf(d, n, "%s is \"%.*s\", which is no IP address: write one such as 10.0.0.1 or fd00::1", name,
                  (int)min_of(text.n, (size_t)64), text.at);
    return false;
}

bool decode_condition(struct decode *d, const struct yaml_node *status, const char *type, bool *ret_present, bool *ret_true) {
    const struct yaml_node *conditions = yaml_get(status, "conditions");
    *ret_present = *ret_true = false;
    if (yaml_is_null(conditions))
        return true;
    if (!decode_sequence(d, conditions, "status.conditions"))
        return false;
    yaml_for_each(it, conditions) {
        const struct yaml_node *its_type = yaml_get(it, "type"), *its_status = yaml_get(it, "status");
        if (!its_type || !its_status || !str_is(its_type->scalar, str_of(type)))
            continue;
        *ret_present = true;
        *ret_true = str_is(its_status->scalar, STR("True"));
    }
    return true;
}

void workload_canonical(const struct label *labels, size_t n, struct str name, struct workload_spec *to) {
    static const struct str names[] = {STR("service.istio.io/canonical-name"), STR("app.kubernetes.io/name"), STR("app")};
    static const struct str revisions[] = {STR("service.istio.io/canonical-revision"), STR("app.kubernetes.io/version"),
                                           STR("version")};
    to->canonical_name = name;
    to->canonical_revision = STR("latest");
    for (size_t i = array_size(names); i-- > 0;) {
        struct str value = label_value(labels, n, names[i]);
        if (value.n)
            to->canonical_name = value;
    }
    for (size_t i = array_size(revisions); i-- > 0;) {
        struct str value = label_value(labels, n, revisions[i]);
        if (value.n)
            to->canonical_revision = value;
    }
}

static bool is_digits_and_dots(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] != '.' && (s.at[i] < '0' || s.at[i] > '9'))
            return false;
    return true;
}

static bool decode_address(struct decode *d, const struct yaml_node *spec, struct entry_body *b) {
    const struct yaml_node *n = yaml_get(spec, "address");
    if (!n || !decode_str(d, n, "address", &b->address))
        return !n;
    if (addr_parse(b->address, &b->addr))
        return true;
    bool is_unix = str_has_prefix(b->address, STR("unix://"));
    if (is_unix && str_has_prefix(b->address, STR("unix:///")) && b->address.n <= ADDRESS_MAX) {
        if (yaml_get(spec, "ports")) {
            decode_key_errorf(d, yaml_get(spec, "ports"), "ports have no meaning with a unix:// address: remove them");
            return false;
        }
        return true;
    }
    if (!is_unix && is_dns_name(b->address) && !is_digits_and_dots(b->address))
        return true;
    decode_errorf(d, n, "address is \"%.*s\": write an IP address, a DNS name or unix:///path",
                  (int)min_of(b->address.n, (size_t)64), b->address.at);
    return false;
}

static bool decode_named_ports(struct decode *d, const struct yaml_node *n, struct entry_body *b) {
    bool good = true;
    if (!n)
        return true;
    if (!decode_mapping(d, n, "ports"))
        return false;
    b->ports = decode_array(d, struct named_port, n->n_children);
    yaml_for_each(it, n) {
        struct named_port port = {.name = decode_copy(d, it->key)};
        char called[80];
        if (d->failed)
            return false;
        snprintf(called, sizeof(called), "port \"%.*s\"", (int)min_of(it->key.n, (size_t)64), it->key.at);
        if (decode_port(d, it, called, &port.port))
            b->ports[b->n_ports++] = port;
        else
            good = false;
    }
    return good;
}

static bool decode_locality(struct decode *d, const struct yaml_node *n, struct entry_body *b) {
    struct str text, part, *parts[] = {&b->region, &b->zone, &b->subzone};
    size_t n_parts = 0;
    if (!n)
        return true;
    if (!decode_str(d, n, "locality", &text))
        return false;
    while (str_split(&text, '/', &part)) {
        if (n_parts == array_size(parts) || part.n == 0 || memchr(part.at, '*', part.n)) {
            decode_errorf(d, n,
                          "locality must be region, region/zone or region/zone/subzone, without empty parts and without \"*\"");
            return false;
        }
        *parts[n_parts++] = part;
    }
    return true;
}

bool decode_entry_body(struct decode *d, const struct yaml_node *spec, const char *name, struct entry_body *ret) {
    static const char *const keys[] = {"address", "ports", "labels", "network", "locality", "weight", "serviceAccount"};
    const struct yaml_node *n;
    uint64_t weight = 0;
    struct entry_body b = {0};
    decode_keys(d, spec, name, keys, array_size(keys));
    bool good = decode_address(d, spec, &b);
    good &= decode_named_ports(d, yaml_get(spec, "ports"), &b);
    good &= decode_locality(d, yaml_get(spec, "locality"), &b);
    n = yaml_get(spec, "labels");
    if (n)
        good &= decode_mapping(d, n, "labels") && decode_labels(d, n, "label", &b.labels, &b.n_labels);
    n = yaml_get(spec, "network");
    if (n)
        good &= decode_str(d, n, "network", &b.network);
    n = yaml_get(spec, "weight");
    if (n)
        good &= decode_u64(d, n, "weight", 0, UINT32_MAX, &weight);
    b.weight = (uint32_t)weight;
    n = yaml_get(spec, "serviceAccount");
    if (n && decode_str(d, n, "serviceAccount", &b.service_account)) {
        if (!is_dns_name(b.service_account)) {
            decode_errorf(d, n,
                          "serviceAccount is no valid name: write the account's name only, without namespace and without \"/\"");
            good = false;
        }
    } else if (n) {
        good = false;
    }
    if (good)
        *ret = b;
    return good;
}
