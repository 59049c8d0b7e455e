/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/workloads.c - the inventory: every workload with its identity, its policies and its places in the indexes
 *
 * Sorted by namespace, name and kind, so the same files give the same world whatever order they were read in. Host
 * network workloads are not found by address: theirs is the node's, and says nothing about who speaks. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "build.h"

static int compare_specs(const void *x, const void *y) {
    const struct workload_spec *a = *(const struct workload_spec *const *)x, *c = *(const struct workload_spec *const *)y;
    int r = str_compare(a->ns, c->ns);
    if (!r)
        r = str_compare(a->name, c->name);
    return r ? r : str_compare(a->kind, c->kind);
}

static bool in_mesh(const struct workload_spec *s, const struct ns_info *ns) {
    if (s->host_network)
        return false;
    if (s->mesh != MESH_LABEL_ABSENT)
        return s->mesh == MESH_LABEL_AMBIENT;
    return ns->spec && ns->spec->mesh == MESH_LABEL_AMBIENT;
}

struct str build_waypoint(struct builder *b, struct str own, const struct ns_info *ns) {
    struct str s = own.n ? own : ns && ns->spec ? ns->spec->use_waypoint : STR_NULL;
    return str_is(s, STR("none")) ? STR_NULL : build_str(b, s); /* "none" is how an object opts out */
}

/* "<ns>/<name>" in one piece: one allocation for both. */
static void name_workload(struct builder *b, const struct workload_spec *s, struct workload *w) {
    bool ok = true;
    struct str both = arena_strf(&b->world->arena, &ok, STR_FMT "/" STR_FMT, STR_ARG(s->ns), STR_ARG(s->name));

    if (!ok) {
        b->failed = true;
        return;
    }
    w->ns = (struct str){both.at, s->ns.n};
    w->name = (struct str){both.at + s->ns.n + 1, s->name.n};
    if (s->uid.n)
        w->uid = arena_str(&b->world->arena, s->uid, &ok);
    else
        w->uid =
            arena_strf(&b->world->arena, &ok, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name));
    b->failed |= !ok;
}

static void copy_addrs(struct builder *b, const struct workload_spec *s, struct workload *w) {
    struct addr *addrs = build_alloc(b, sizeof(*addrs), s->n_addrs);

    for (size_t i = 0; addrs && i < s->n_addrs; i++) {
        bool seen = addr_is_none(&s->addrs[i]);
        for (size_t j = 0; j < w->n_addrs && !seen; j++)
            seen = addr_is(&addrs[j], &s->addrs[i]);
        if (!seen)
            addrs[w->n_addrs++] = s->addrs[i];
    }
    w->addrs = addrs;
}

static void copy_ports(struct builder *b, const struct workload_spec *s, struct workload *w) {
    cleanup_free struct named_port *ports = s->n_ports ? calloc(s->n_ports, sizeof(*ports)) : NULL; /* zeroed: interned as bytes */

    b->failed |= s->n_ports && !ports;
    for (size_t i = 0; ports && i < s->n_ports; i++) {
        ports[i].name = build_str(b, s->ports[i].name);
        ports[i].port = s->ports[i].port;
    }
    w->ports = build_blob(b, ports, ports ? s->n_ports * sizeof(*ports) : 0);
    w->n_ports = w->ports ? s->n_ports : 0;
}

static void copy_texts(struct builder *b, const struct workload_spec *s, struct workload *w) {
    const struct world_settings *settings = &b->world->settings;

    w->kind = build_str(b, s->kind);
    w->node = build_str(b, s->node);
    w->network = s->network.n ? build_str(b, s->network) : settings->network;
    w->cluster = s->cluster.n ? build_str(b, s->cluster) : settings->cluster;
    struct workload_about about = {.region = build_str(b, s->region), /* no padding: interned as bytes */
                                   .zone = build_str(b, s->zone),
                                   .subzone = build_str(b, s->subzone),
                                   .netns_path = build_str(b, s->netns_path),
                                   .cgroup_path = build_str(b, s->cgroup_path),
                                   .workload_name = str_is(s->workload_name, s->name) ? STR_NULL : build_str(b, s->workload_name),
                                   .workload_type = build_str(b, s->workload_type),
                                   .canonical_name = build_str(b, s->canonical_name),
                                   .canonical_revision = build_str(b, s->canonical_revision)};
    w->about = build_blob(b, &about, sizeof(about));
}

static void set_identity(struct builder *b, const struct workload_spec *s, struct workload *w) {
    static const struct identity none = {0};
    struct str sa = s->service_account.n ? s->service_account : STR("default");
    struct identity made;

    if (w->index && str_is(w[-1].ns, s->ns) && str_is(identity_sa(w[-1].identity), sa)) { /* sorted: mostly its neighbour's */
        w->identity = w[-1].identity;
        return;
    }
    memset(&made, 0, sizeof(made)); /* interned as bytes */
    w->identity = &none;
    if (identity_make(b->world->settings.trust_domain, s->ns, sa, &made))
        w->identity = build_blob(b, &made, sizeof(made));
    else
        diag_addf(b->diags, DIAG_ERROR, &s->at,
                  STR_FMT " " STR_FMT "/" STR_FMT ": namespace \"" STR_FMT "\" and service account \"" STR_FMT
                          "\" make no SPIFFE identity; use letters, digits, '.', '_' and '-'",
                  STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(s->ns), STR_ARG(sa));
}

/* A port may be STRICT on a workload that is DISABLE otherwise. */
static bool takes_tunnels(const struct policy_table *t) {
    bool any = t->mode != MTLS_DISABLE;

    for (size_t i = 0; t->ports_by && i < t->ports_by->n_ports; i++)
        any |= t->ports_by->ports[i].mode == MTLS_PERMISSIVE || t->ports_by->ports[i].mode == MTLS_STRICT;
    return any;
}

static void fill(struct builder *b, const struct workload_spec *s, struct workload *w) {
    struct ns_info *ns = build_ns(b, s->ns);

    if (!ns)
        return;
    ns->n_workloads++;
    name_workload(b, s, w);
    copy_texts(b, s, w);
    copy_addrs(b, s, w);
    copy_ports(b, s, w);
    set_identity(b, s, w);
    w->at = build_origin(b, &s->at);
    w->labels = build_labels(b, s->labels, s->n_labels);
    w->n_labels = w->labels ? s->n_labels : 0;
    w->enrolled = in_mesh(s, ns);
    w->host_network = s->host_network;
    w->ready = s->ready;
    w->terminating = s->terminating;
    w->local = w->node.n && str_is(w->node, b->world->settings.node);
    w->use_waypoint = build_waypoint(b, s->use_waypoint, ns);
    w->weight = s->weight ? s->weight : 1;
    if (b->failed)
        return;
    w->policies = build_policy_table(b, ns, w->labels, w->n_labels);
    if (!w->policies)
        return;
    w->mode = w->policies->mode;
    w->hbone = w->enrolled && takes_tunnels(w->policies);
    if (b->input->n_namespaces && !ns->spec)
        diag_addf(b->diags, DIAG_WARNING, &s->at, "namespace " STR_FMT " of " STR_FMT " " STR_FMT " is not declared",
                  STR_ARG(s->ns), STR_ARG(s->kind), STR_ARG(s->name));
}

static uint64_t network_number(struct builder *b, struct str network) {
    if (str_is(network, b->world->settings.network))
        return NETWORK_OWN;
    struct map_node *node = map_find(&b->world->networks, network.at, network.n);
    if (node)
        return map_entry(node, struct network_slot, node)->number;
    struct network_slot *slot = build_alloc(b, sizeof(*slot), 1);
    if (!slot)
        return NETWORK_UNKNOWN;
    slot->number = 1 + b->world->networks.n_nodes;
    check(map_insert(&b->world->networks, &slot->node, network.at, network.n) == 0);
    return slot->number;
}

static bool serves(const struct workload *w) { return w->ready && !w->terminating; }

/* Two live workloads cannot have one address: whose policy would hold? A dying one gives way to its successor. */
static void settle_address(struct builder *b, struct addr_slot *slot, const struct workload *w) {
    const struct workload *first = &b->world->workloads[slot->index];
    char text[ADDR_TEXT];
    struct str addr = addr_format(&slot->key.addr, text);
    bool take = serves(w) ? !serves(first) : !serves(first) && first->terminating && !w->terminating;

    if (serves(first) && serves(w)) {
        diag_addf(b->diags, DIAG_ERROR, &w->at,
                  STR_FMT " " STR_FMT "/" STR_FMT " has the address " STR_FMT " of " STR_FMT " " STR_FMT "/" STR_FMT " (" STR_FMT
                          ":%u); give one of them another address, or remove it",
                  STR_ARG(w->kind), STR_ARG(w->ns), STR_ARG(w->name), STR_ARG(addr), STR_ARG(first->kind), STR_ARG(first->ns),
                  STR_ARG(first->name), STR_ARG(first->at.file), first->at.line);
        return;
    }
    const struct workload *kept = take ? w : first, *lost = take ? first : w;
    diag_addf(b->diags, DIAG_WARNING, &lost->at,
              "the address " STR_FMT " of " STR_FMT " " STR_FMT "/" STR_FMT " also belongs to " STR_FMT " " STR_FMT "/" STR_FMT
              " (" STR_FMT ":%u), which gets its traffic; remove the one that is gone",
              STR_ARG(addr), STR_ARG(lost->kind), STR_ARG(lost->ns), STR_ARG(lost->name), STR_ARG(kept->kind), STR_ARG(kept->ns),
              STR_ARG(kept->name), STR_ARG(kept->at.file), kept->at.line);
    slot->index = kept->index;
}

static void index_addresses(struct builder *b, const struct workload *w) {
    for (size_t i = 0; i < w->n_addrs && !w->host_network; i++) {
        struct addr_key key = {.addr = w->addrs[i], .network = network_number(b, w->network)};
        struct map_node *node = map_find(&b->world->by_addr, &key, sizeof(key));
        if (node) {
            settle_address(b, map_entry(node, struct addr_slot, node), w);
            continue;
        }
        struct addr_slot *slot = build_alloc(b, sizeof(*slot), 1);
        if (!slot)
            return;
        slot->key = key;
        slot->index = w->index;
        check(map_insert(&b->world->by_addr, &slot->node, &slot->key, sizeof(slot->key)) == 0);
    }
}

static void index_names(struct builder *b, const struct workload *w) {
    struct workload_keys *keys = &b->world->workload_keys[w->index];

    if (map_insert(&b->world->by_uid, &keys->by_uid, w->uid.at, w->uid.n) == 0)
        return;
    struct map_node *node = map_find(&b->world->by_uid, w->uid.at, w->uid.n);
    const struct workload *first = &b->world->workloads[map_entry(node, struct workload_keys, by_uid) - b->world->workload_keys];
    diag_addf(b->diags, DIAG_ERROR, &w->at,
              STR_FMT " " STR_FMT "/" STR_FMT " has the uid of " STR_FMT " " STR_FMT "/" STR_FMT " (" STR_FMT ":%u): " STR_FMT
                      "; a uid belongs to one workload only",
              STR_ARG(w->kind), STR_ARG(w->ns), STR_ARG(w->name), STR_ARG(first->kind), STR_ARG(first->ns), STR_ARG(first->name),
              STR_ARG(first->at.file), first->at.line, STR_ARG(w->uid));
}

static int compare_places(const void *x, const void *y) {
    const struct workload *a = *(const struct workload *const *)x, *c = *(const struct workload *const *)y;
    int r = str_compare(identity_uri(a->identity), identity_uri(c->identity));
    return r ? r : str_compare(a->node, c->node);
}

/* Which nodes may speak for an identity. Host network workloads are never given one. */
static void index_identities(struct builder *b) {
    struct world *w = b->world;
    const struct workload **placed = build_scratch(b, sizeof(void *), w->n_workloads);
    size_t n = 0;

    for (size_t i = 0; placed && i < w->n_workloads; i++)
        if (w->workloads[i].node.n && !w->workloads[i].host_network && !identity_is_none(w->workloads[i].identity))
            placed[n++] = &w->workloads[i];
    if (n)
        qsort(placed, n, sizeof(void *), compare_places);
    for (size_t i = 0, next; i < n; i = next) {
        const struct identity *id = placed[i]->identity;
        for (next = i + 1; next < n && placed[next]->identity == id; next++)
            ;
        struct identity_slot *slot = build_alloc(b, sizeof(*slot), 1);
        struct str *nodes = build_alloc(b, sizeof(*nodes), next - i);
        if (!slot || !nodes)
            return;
        for (size_t j = i; j < next; j++)
            if (!slot->n_nodes || !str_is(nodes[slot->n_nodes - 1], placed[j]->node))
                nodes[slot->n_nodes++] = placed[j]->node;
        slot->nodes = nodes;
        check(map_insert(&w->identities, &slot->node, id->text, id->n) == 0);
    }
}

void build_workloads(struct builder *b) {
    size_t n = b->input->n_workloads;
    const struct workload_spec **sorted = build_scratch(b, sizeof(void *), n);
    struct world *w = b->world;

    w->workloads = build_alloc(b, sizeof(*w->workloads), n);
    w->workload_keys = build_alloc(b, sizeof(*w->workload_keys), n);
    if (!n || !sorted || !w->workloads || !w->workload_keys)
        return;
    memcpy(sorted, b->input->workloads, n * sizeof(void *));
    qsort(sorted, n, sizeof(void *), compare_specs);
    w->n_workloads = n;
    for (size_t i = 0; i < n && !b->failed; i++) {
        w->workloads[i].index = (uint32_t)i;
        fill(b, sorted[i], &w->workloads[i]);
    }
    if (b->failed)
        return;
    for (size_t i = 0; i < n && !b->failed; i++) {
        if (i && !compare_specs(&sorted[i - 1], &sorted[i])) {
            const struct workload_spec *s = sorted[i], *before = sorted[i - 1];
            diag_addf(b->diags, DIAG_ERROR, &s->at,
                      STR_FMT " " STR_FMT "/" STR_FMT " is given twice: also at " STR_FMT ":%u; remove or rename one",
                      STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(before->at.file), before->at.line);
            continue;
        }
        index_addresses(b, &w->workloads[i]);
        index_names(b, &w->workloads[i]);
    }
    index_identities(b);
}

bool world_addr_key(const struct world *w, struct str network, const struct addr *a, struct addr_key *ret) {
    struct addr_key key = {.addr = *a, .network = NETWORK_OWN};

    if (network.n && !str_is(network, w->settings.network)) {
        struct map_node *node = map_find(&w->networks, network.at, network.n);
        if (!node)
            return false;
        key.network = map_entry(node, struct network_slot, node)->number;
    }
    *ret = key;
    return true;
}

size_t world_n_workloads(const struct world *w) { return w->n_workloads; }

const struct workload *world_workload_at(const struct world *w, size_t i) {
    check(i < w->n_workloads);
    return &w->workloads[i];
}

const struct workload *world_workload_by_addr(const struct world *w, struct str network, const struct addr *a) {
    struct addr_key key;
    struct map_node *node = world_addr_key(w, network, a, &key) ? map_find(&w->by_addr, &key, sizeof(key)) : NULL;
    return node ? &w->workloads[map_entry(node, struct addr_slot, node)->index] : NULL;
}

const struct workload *world_workload_by_uid(const struct world *w, struct str uid) {
    struct map_node *node = uid.n ? map_find(&w->by_uid, uid.at, uid.n) : NULL;
    return node ? &w->workloads[map_entry(node, struct workload_keys, by_uid) - w->workload_keys] : NULL;
}

const struct workload *world_workload_by_name(const struct world *w, struct str ns, struct str name) {
    size_t low = 0, high = w->n_workloads;

    /* The first of that name: a Pod and a WorkloadEntry may share one, kinds sort the Pod first, and it is the one found. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int r = str_compare(w->workloads[middle].ns, ns);
        if (!r)
            r = str_compare(w->workloads[middle].name, name);
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const struct workload *found = low < w->n_workloads ? &w->workloads[low] : NULL;
    return found && str_is(found->ns, ns) && str_is(found->name, name) ? found : NULL;
}

bool world_node_has_own(const struct world *w, struct str node, const struct identity *identity) {
    struct map_node *found = node.n && !identity_is_none(identity) ? map_find(&w->identities, identity->text, identity->n) : NULL;
    if (!found)
        return false;
    const struct identity_slot *slot = map_entry(found, struct identity_slot, node);
    size_t low = 0, high = slot->n_nodes;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int r = str_compare(slot->nodes[middle], node);
        if (!r)
            return true;
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
