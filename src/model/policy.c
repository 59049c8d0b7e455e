/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/policy.c - which policies apply to whom
 *
 * Three groups: the mesh's (root namespace, no selector), the namespace's, and those whose selector picked the workload.
 * The first two are one array each for all; the third and the table are shared by all workloads of a namespace with the
 * same labels. A verdict never looks at a policy that does not apply. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "build.h"

enum { SELECTOR_LABELS_MAX = 4096, SELECTOR_VALUE_BYTES_MAX = 63 };

const char *policy_action_name(enum policy_action a) {
    switch (a) {
    case POLICY_ALLOW:
        return "ALLOW";
    case POLICY_DENY:
        return "DENY";
    case POLICY_AUDIT:
        return "AUDIT";
    case POLICY_CUSTOM:
        return "CUSTOM";
    }
    unreachable_because("every action is listed");
}

void build_check_selector(struct builder *b, const struct selector *s, const struct origin *object) {
    const struct origin *at = s->at.file.n ? &s->at : object;

    if (s->n > SELECTOR_LABELS_MAX)
        diag_addf(b->diags, DIAG_ERROR, at, "the selector has %zu labels, at most %d are allowed", s->n, (int)SELECTOR_LABELS_MAX);
    for (size_t i = 0; i < s->n; i++) {
        struct str key = s->labels[i].key, value = s->labels[i].value;
        if (!key.n)
            diag_addf(b->diags, DIAG_ERROR, at, "the selector has an empty label name; write name: value");
        if ((key.n && memchr(key.at, '*', key.n)) || (value.n && memchr(value.at, '*', value.n)))
            diag_addf(b->diags, DIAG_ERROR, at,
                      "selector " STR_FMT ": a star is not a wildcard here; write the label's exact value", STR_ARG(key));
        if (value.n > SELECTOR_VALUE_BYTES_MAX)
            diag_addf(b->diags, DIAG_ERROR, at, "selector " STR_FMT ": the value is longer than 63 characters, which no label is",
                      STR_ARG(key));
    }
}

static int compare_specs(const void *x, const void *y) {
    const struct policy_spec *a = *(const struct policy_spec *const *)x, *c = *(const struct policy_spec *const *)y;
    int r = str_compare(a->ns, c->ns);
    return r ? r : str_compare(a->name, c->name);
}

static void check_spec(struct builder *b, const struct policy_spec *s) {
    char bytes[512];
    struct text t = TEXT_OVER(bytes);

    build_check_selector(b, &s->selector, &s->at);
    if (s->has_target_refs && s->selector.present)
        diag_addf(b->diags, DIAG_ERROR, &s->at, "a policy has either a selector or targetRefs; remove one of them");
    else if (s->has_target_refs)
        diag_addf(b->diags, DIAG_WARNING, &s->at,
                  "AuthorizationPolicy " STR_FMT "/" STR_FMT
                  " has targetRefs, so it is for waypoints and gateways; it has no effect here",
                  STR_ARG(s->ns), STR_ARG(s->name));
    if (build_is_root_ns(b, s->ns) || !build_ns_unknown(b, s->ns)) /* the root namespace is for the whole mesh */
        return;
    build_say_ns_unknown(b, s->ns, &t);
    diag_addf(b->diags, DIAG_WARNING, &s->at, "this AuthorizationPolicy selects nothing: %s", bytes);
}

static void compile(struct builder *b, const struct policy_spec *s, struct policy *p) {
    p->ns = build_str(b, s->ns);
    p->name = build_str(b, s->name);
    p->at = build_origin(b, &s->at);
    p->action = s->action;
    p->denies = s->action != POLICY_ALLOW;
    p->dry_run = s->dry_run;
    p->for_l7 = s->has_target_refs;
    p->enforced = !s->dry_run && !s->has_target_refs && s->action != POLICY_AUDIT;
    p->has_ports = build_policy_has_ports(s);
    p->labels = build_labels(b, s->selector.labels, s->selector.n);
    p->n_labels = p->labels ? s->selector.n : 0;
    p->has_selector = p->n_labels > 0;
    p->is_mesh = build_is_root_ns(b, s->ns);
    build_policy_rules(b, s, p);
}

static void add_wide(struct builder *b, struct ns_info *ns, struct policy *p) {
    if (ns->n_wide == ns->cap_wide) {
        size_t cap = ns->cap_wide ? ns->cap_wide * 2 : 4;
        struct policy **wide = build_scratch(b, sizeof(*wide), cap);
        if (!wide)
            return;
        if (ns->n_wide)
            memcpy(wide, ns->wide, ns->n_wide * sizeof(*wide));
        ns->wide = wide;
        ns->cap_wide = cap;
    }
    ns->wide[ns->n_wide++] = p;
}

void build_policies(struct builder *b) {
    size_t n = b->input->n_policies;
    struct policy *all = build_alloc(b, sizeof(*all), n);
    const struct policy_spec **sorted = build_scratch(b, sizeof(void *), n);

    if (!n || !all || !sorted)
        return;
    memcpy(sorted, b->input->policies, n * sizeof(void *));
    qsort(sorted, n, sizeof(void *), compare_specs);
    b->world->policies = all;
    b->world->n_policies = n;
    b->policy_specs = sorted;
    for (size_t i = 0; i < n; i++) {
        const struct policy_spec *s = sorted[i];
        if (i && !compare_specs(&sorted[i - 1], &sorted[i]))
            diag_addf(b->diags, DIAG_ERROR, &s->at,
                      "AuthorizationPolicy " STR_FMT "/" STR_FMT " is given twice: also at " STR_FMT ":%u; remove or rename one",
                      STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(sorted[i - 1]->at.file), sorted[i - 1]->at.line);
        check_spec(b, s);
        compile(b, s, &all[i]);
        all[i].index = (uint32_t)i;
        if (!all[i].for_l7)
            selector_index_count(b, &b->policy_index, all[i].is_mesh ? NULL : all[i].ns.at, all[i].labels, all[i].n_labels);
    }
    for (size_t i = 0; i < n && !b->failed; i++) {
        struct ns_info *ns = build_ns(b, all[i].ns);
        if (all[i].for_l7 || !ns)
            continue;
        if (all[i].has_selector)
            selector_index_add(b, &b->policy_index, all[i].is_mesh ? NULL : all[i].ns.at, all[i].labels, all[i].n_labels,
                               all[i].index);
        else
            add_wide(b, ns, &all[i]);
    }
}

static unsigned rank(const struct policy *p) {
    if (!p->enforced)
        return 3;
    return p->action == POLICY_DENY ? 0 : p->action == POLICY_CUSTOM ? 1 : 2;
}

static int compare_in_group(const void *x, const void *y) {
    const struct policy *a = *(const struct policy *const *)x, *c = *(const struct policy *const *)y;
    int r = (int)rank(a) - (int)rank(c);
    return r ? r : (a->index > c->index) - (a->index < c->index);
}

/* Groups with the same members are one group. */
static const struct policy_group *make_group(struct builder *b, struct policy **members, size_t n) {
    struct policy_group g; /* set whole, for it is interned as bytes */

    memset(&g, 0, sizeof(g));
    if (n)
        qsort(members, n, sizeof(void *), compare_in_group);
    for (size_t i = 0; i < n; i++) {
        unsigned r = rank(members[i]);
        g.n_deny += r < 2;
        g.n_allow += r == 2;
        g.n_watched += r == 3;
        g.has_ports |= members[i]->has_ports;
    }
    g.items = build_blob(b, members, n * sizeof(void *));
    return build_blob(b, &g, sizeof(g));
}

struct table_slot { /* by {namespace, labels}, both interned */
    struct map_node node;
    struct {
        const struct ns_info *ns;
        const struct label *labels;
        uint64_t n_labels;
    } key;
    const struct policy_table *table;
    size_t n_workloads;
};

struct picked {
    struct builder *b;
    struct policy **items;
    size_t n, cap;
};

static void pick(void *context, uint32_t object) {
    struct picked *k = context;
    struct policy *p = &k->b->world->policies[object];

    if (k->n == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 16;
        struct policy **items = realloc(k->items, cap * sizeof(*items));
        if (!items) {
            k->b->failed = true;
            return;
        }
        k->items = items;
        k->cap = cap;
    }
    k->items[k->n++] = p;
}

static void layer_mode(struct policy_table *t, const struct peer_auth *p) {
    if (!p || p->mode == MTLS_UNSET)
        return;
    t->mode = p->mode;
    t->mode_by = p;
}

/* Interned too: workloads with labels of their own, but no policy of their own, share one table. */
static const struct policy_table *make_table(struct builder *b, struct ns_info *ns, const struct label *labels, size_t n_labels) {
    struct picked k = {.b = b};
    struct ns_info *root = build_ns(b, b->world->settings.root_namespace);
    struct policy_table t; /* set whole, for it is interned as bytes */

    if (!root)
        return NULL;
    memset(&t, 0, sizeof(t));
    selector_index_find(&b->policy_index, ns->name.at, labels, n_labels, pick, &k);
    selector_index_find(&b->policy_index, NULL, labels, n_labels, pick, &k);
    if (!root->group)
        root->group = make_group(b, root->wide, root->n_wide);
    if (!ns->group)
        ns->group = make_group(b, ns->wide, ns->n_wide);
    t.groups[0] = root->group;
    t.groups[1] = ns == root ? make_group(b, NULL, 0) : ns->group;
    t.groups[2] = make_group(b, k.items, k.n);
    free(k.items);
    if (b->failed)
        return NULL;
    for (unsigned g = 0; g < POLICY_GROUPS; g++) {
        t.has_allow |= t.groups[g]->n_allow > 0;
        t.has_watched |= t.groups[g]->n_watched > 0;
    }

    const struct peer_auth *own = build_peer_auth_for(b, ns, labels, n_labels);
    t.mode = MTLS_PERMISSIVE;
    layer_mode(&t, root->peer_auth);
    if (ns != root)
        layer_mode(&t, ns->peer_auth);
    layer_mode(&t, own);
    t.ports_by = own && own->n_ports ? own : NULL;
    return build_blob(b, &t, sizeof(t));
}

const struct policy_table *build_policy_table(struct builder *b, struct ns_info *ns, const struct label *labels, size_t n_labels) {
    struct table_slot probe = {.key = {.ns = ns, .labels = labels, .n_labels = n_labels}}, *slot;
    struct map_node *node = map_find(&b->tables, &probe.key, sizeof(probe.key));

    if (node) {
        slot = map_entry(node, struct table_slot, node);
    } else {
        slot = build_scratch(b, sizeof(*slot), 1);
        if (!slot)
            return NULL;
        slot->key = probe.key;
        slot->table = make_table(b, ns, labels, n_labels);
        if (!slot->table)
            return NULL;
        check(map_insert(&b->tables, &slot->node, &slot->key, sizeof(slot->key)) == 0);
    }
    slot->n_workloads++;
    return slot->table;
}

const struct policy_table *build_table_at(const struct map_node *node) { return map_entry(node, struct table_slot, node)->table; }

static void count_bound(struct builder *b) {
    size_t cursor = 0;
    struct map_node *node = NULL;

    while ((node = map_next(&b->tables, &cursor, node))) {
        const struct table_slot *slot = map_entry(node, struct table_slot, node);
        const struct policy_group *g = slot->table->groups[2];
        for (uint32_t i = 0; i < g->n_deny + g->n_allow + g->n_watched; i++)
            b->world->policies[g->items[i]->index].n_bound += slot->n_workloads;
    }
    for (size_t i = 0; i < b->world->n_policies; i++) {
        struct policy *p = &b->world->policies[i];
        struct ns_info *ns = build_ns(b, p->ns);
        if (!p->has_selector && !p->for_l7 && ns)
            p->n_bound = p->is_mesh ? b->world->n_workloads : ns->n_workloads;
    }
}

/* How far one word is from another, of words equally far the one with the same beginning first; WORD_FAR: too far. */
enum { WORD_FAR = 6 };
static size_t word_distance(struct str asked, struct str have) {
    size_t d = str_distance(asked, have);
    bool begins = asked.n && have.n && asked.at[0] == have.at[0];

    return d >= asked.n || d >= WORD_FAR / 2 ? (size_t)WORD_FAR : 2 * d - begins;
}

/* A label that is nearly the one asked for, on some workload that the selector might mean. */
static bool near_label(struct builder *b, const struct policy *p, const struct label *l, struct label *ret) {
    size_t best = WORD_FAR;

    for (size_t i = 0; i < b->world->n_workloads; i++) {
        const struct workload *w = &b->world->workloads[i];
        for (size_t k = 0; (p->is_mesh || str_is(w->ns, p->ns)) && k < w->n_labels; k++) {
            const struct label *have = &w->labels[k];
            bool same_key = have->key.at == l->key.at, same_value = have->value.at == l->value.at;
            if (same_key && same_value)
                return false; /* this one is right */
            size_t d = same_key ? word_distance(l->value, have->value) : same_value ? word_distance(l->key, have->key) : best;
            if (d >= best)
                continue;
            best = d;
            *ret = *have;
        }
    }
    return best < WORD_FAR;
}

/* Looking for labels costs a pass over all workloads: only for the first few. */
static void say_unbound(struct builder *b, const struct policy *p, const struct origin *at, unsigned *n_guesses) {
    enum { GUESSES_MAX = 4 };
    char bytes[256];
    struct text hint = TEXT_OVER(bytes);
    struct label near;

    for (size_t i = 0; *n_guesses < GUESSES_MAX && !hint.n && i < p->n_labels; i++)
        if (near_label(b, p, &p->labels[i], &near))
            text_addf(&hint, "did you mean " STR_FMT ": " STR_FMT "?", STR_ARG(near.key), STR_ARG(near.value));
    ++*n_guesses;
    if (!hint.n)
        text_addf(&hint, "check its labels against the workloads' in %s", p->is_mesh ? "any namespace" : "this namespace");
    diag_addf(b->diags, DIAG_WARNING, at, "the selector of AuthorizationPolicy " STR_FMT "/" STR_FMT " matches no workload; %s",
              STR_ARG(p->ns), STR_ARG(p->name), bytes);
}

void build_unbound_warnings(struct builder *b) {
    unsigned n_guesses = 0;

    count_bound(b);
    for (size_t i = 0; i < b->world->n_policies; i++) {
        const struct policy *p = &b->world->policies[i];
        const struct selector *s = &b->policy_specs[i]->selector;
        if (!p->has_selector || p->for_l7)
            continue;
        if (!p->n_bound)
            say_unbound(b, p, s->at.file.n ? &s->at : &p->at, &n_guesses);
    }
    for (size_t i = 0; i < b->world->n_peer_auths; i++) {
        const struct peer_auth *p = &b->world->peer_auths[i];
        if (p->n_labels && !p->n_bound && !build_is_root_ns(b, p->ns))
            diag_addf(b->diags, DIAG_WARNING, &p->at,
                      "the selector of PeerAuthentication " STR_FMT "/" STR_FMT
                      " matches no workload; check its labels against the workloads' in this namespace",
                      STR_ARG(p->ns), STR_ARG(p->name));
    }
}

size_t world_n_policies(const struct world *w) { return w->n_policies; }

void world_policy_at(const struct world *w, size_t i, struct policy_view *ret) {
    check(i < w->n_policies);
    const struct policy *p = &w->policies[i];
    *ret = (struct policy_view){
        .ns = p->ns,
        .name = p->name,
        .at = p->at,
        .action = p->action,
        .scope = p->has_selector ? POLICY_SCOPE_SELECTOR
                 : p->is_mesh    ? POLICY_SCOPE_MESH
                                 : POLICY_SCOPE_NAMESPACE,
        .dry_run = p->dry_run,
        .for_l7 = p->for_l7,
        .n_rules = p->n_rules,
        .n_bound = p->n_bound,
    };
}

size_t world_n_peer_auths(const struct world *w) { return w->n_peer_auths; }

void world_peer_auth_at(const struct world *w, size_t i, struct peer_auth_view *ret) {
    check(i < w->n_peer_auths);
    const struct peer_auth *p = &w->peer_auths[i];
    *ret = (struct peer_auth_view){.ns = p->ns, .name = p->name, .at = p->at, .mode = p->mode, .n_ports = p->n_ports};
}
