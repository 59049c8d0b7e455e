/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/ports.c - warnings about ports in policies that no workload of theirs has
 *
 * A policy means the workload's own port; a service's port there is the commonest mistake, and a DENY with it protects
 * nothing. What the workloads and services say is noted once per group of policies, which many workloads share, then each
 * port of each policy is looked up: the cost grows with the mesh and its policies, not with their product. */
#include <ringwall/base/check.h>

#include "build.h"

struct port_key { /* compared as bytes */
    const struct policy_group *group;
    uint64_t port; /* 0: whether there is a workload that declares no ports */
};
struct port_note {
    struct map_node node;
    struct port_key key;
    bool exposed;                  /* a workload declares it, or a service leads to it */
    const struct service *service; /* whose port it is, though its workloads listen on `target` */
    uint16_t target;
};
struct port_use { /* one port in a policy */
    const struct text_item *item;
    const char *field;
    uint16_t port, target;
    bool exposed;
    const struct service *service;
};
struct port_uses {
    struct port_use *items;
    size_t n;
    bool undeclared;
};

struct port_notes {
    struct map map;
    uint8_t asked[(UINT16_MAX + 1) / 8]; /* ports that some policy names, and 0: of others nothing is noted */
};

static bool is_asked(const struct port_notes *n, uint16_t port) { return n->asked[port / 8] >> port % 8 & 1; }

static void each_list(const struct policy_spec *s, void (*fn)(void *context, const char *field, const struct text_list *l),
                      void *context) {
    for (size_t r = 0; r < s->n_rules; r++) {
        const struct rule_spec *rule = &s->rules[r];
        for (size_t o = 0; o < rule->n_to; o++) {
            fn(context, "ports", &rule->to[o].ports);
            fn(context, "notPorts", &rule->to[o].not_ports);
        }
        for (size_t c = 0; c < rule->n_when; c++) {
            if (!str_is(rule->when[c].key, STR("destination.port")))
                continue;
            fn(context, "destination.port", &rule->when[c].values);
            fn(context, "destination.port", &rule->when[c].not_values);
        }
    }
}

static void count_values(void *context, const char *field unused_arg, const struct text_list *l) { *(size_t *)context += l->n; }

static size_t n_ports_of(const struct policy_spec *s) {
    size_t n = 0;

    each_list(s, count_values, &n);
    return n;
}

bool build_policy_has_ports(const struct policy_spec *s) { return n_ports_of(s) > 0; }

static void take_values(void *context, const char *field, const struct text_list *l) {
    struct port_uses *u = context;
    uint64_t port;

    for (size_t i = 0; i < l->n; i++)
        if (str_u64(l->items[i].text, UINT16_MAX, &port)) /* else an error was told */
            u->items[u->n++] = (struct port_use){.item = &l->items[i], .field = field, .port = (uint16_t)port};
}

static struct port_note *note_of(struct builder *b, struct port_notes *notes, const struct policy_group *g, uint16_t port) {
    struct port_key key = {.group = g, .port = port};
    struct map_node *node = map_find(&notes->map, &key, sizeof(key));

    if (node)
        return map_entry(node, struct port_note, node);
    struct port_note *note = build_scratch(b, sizeof(*note), 1);
    if (!note)
        return NULL;
    note->key = key;
    check(map_insert(&notes->map, &note->node, &note->key, sizeof(note->key)) == 0);
    return note;
}

static void note_exposed(struct builder *b, struct port_notes *notes, const struct workload *w, uint16_t port) {
    for (unsigned g = 0; is_asked(notes, port) && g < POLICY_GROUPS; g++) {
        const struct policy_group *group = w->policies->groups[g];
        struct port_note *note = group->has_ports ? note_of(b, notes, group, port) : NULL;
        if (note)
            note->exposed = true;
    }
}

static void note_service(struct builder *b, struct port_notes *notes, const struct service *s, const struct service_endpoint *e,
                         bool from_slices) {
    for (size_t i = 0; i < s->n_ports; i++) {
        uint16_t target = service_target_port(e, &s->ports[i], from_slices);
        if (!target)
            continue;
        note_exposed(b, notes, e->workload, target);
        bool other = target != s->ports[i].port && is_asked(notes, s->ports[i].port);
        for (unsigned g = 0; other && g < POLICY_GROUPS; g++) {
            const struct policy_group *group = e->workload->policies->groups[g];
            struct port_note *note = group->has_ports ? note_of(b, notes, group, s->ports[i].port) : NULL;
            if (note && !note->service) {
                note->service = s;
                note->target = target;
            }
        }
    }
}

static void note_all(struct builder *b, struct port_notes *notes) {
    const struct world *w = b->world;

    for (size_t i = 0; i < w->n_workloads && !b->failed; i++) {
        const struct workload *k = &w->workloads[i];
        if (!k->n_ports)
            note_exposed(b, notes, k, 0);
        for (size_t p = 0; p < k->n_ports; p++)
            note_exposed(b, notes, k, k->ports[p].port);
    }
    for (size_t i = 0; i < w->n_services && !b->failed; i++) {
        const struct service_inside *in = &w->service_insides[i];
        for (size_t e = 0; e < w->services[i].n_endpoints && !b->failed; e++)
            if (in->endpoints[e].workload)
                note_service(b, notes, &w->services[i], &in->endpoints[e], in->from_slices);
    }
}

static const struct port_note *look_up(const struct port_notes *notes, const struct policy_group *g, uint16_t port) {
    struct port_key key = {.group = g, .port = port};
    struct map_node *node = map_find(&notes->map, &key, sizeof(key));
    return node ? map_entry(node, struct port_note, node) : NULL;
}

/* What the notes of one group say of one of its policies. */
static void match(const struct port_notes *notes, const struct policy_group *g, struct port_uses *u) {
    u->undeclared |= look_up(notes, g, 0) != NULL;
    for (size_t i = 0; i < u->n; i++) {
        const struct port_note *note = look_up(notes, g, u->items[i].port);
        if (!note)
            continue;
        u->items[i].exposed |= note->exposed;
        if (note->service && !u->items[i].service) {
            u->items[i].service = note->service;
            u->items[i].target = note->target;
        }
    }
}

static void match_all(struct builder *b, const struct port_notes *notes, struct port_uses *by_policy) {
    size_t cursor = 0;
    struct map seen = MAP_NULL;

    if (map_init(&seen, b->tables.n_nodes) < 0) {
        b->failed = true;
        return;
    }

    for (struct map_node *node = NULL; (node = map_next(&b->tables, &cursor, node));) {
        const struct policy_table *t = build_table_at(node);
        for (unsigned k = 0; k < POLICY_GROUPS; k++) {
            const struct policy_group *g = t->groups[k];
            struct port_note *mark = g->has_ports ? build_scratch(b, sizeof(*mark), 1) : NULL;
            if (!mark)
                continue;
            mark->key.group = g;
            if (map_insert(&seen, &mark->node, &mark->key, sizeof(mark->key)))
                continue;
            for (uint32_t i = 0; i < g->n_deny + g->n_allow + g->n_watched; i++)
                match(notes, g, &by_policy[g->items[i]->index]);
        }
    }
    map_deinit(&seen);
}

static void tell(struct builder *b, const struct policy *p, const struct port_uses *u) {
    bool any_exposed = false, told = false;

    for (size_t i = 0; i < u->n; i++) {
        const struct port_use *use = &u->items[i];
        any_exposed |= use->exposed;
        if (use->exposed || !use->service)
            continue;
        told = true;
        diag_addf(b->diags, DIAG_WARNING, &use->item->at,
                  "%s: %u is the port of %s " STR_FMT "/" STR_FMT
                  ", which its workloads never see: they listen on %u, and policies mean the workload's port; write \"%u\"",
                  use->field, (unsigned)use->port, use->service->kind.at, STR_ARG(use->service->ns), STR_ARG(use->service->name),
                  (unsigned)use->target, (unsigned)use->target);
    }
    if (u->n && p->has_selector && p->n_bound && !any_exposed && !u->undeclared && !told)
        diag_addf(b->diags, DIAG_WARNING, &p->at,
                  "none of the ports in AuthorizationPolicy " STR_FMT "/" STR_FMT
                  " is one that its workloads expose; write the workloads' own ports, not a service's",
                  STR_ARG(p->ns), STR_ARG(p->name));
}

uint16_t world_port_behind(const struct world *w, const struct workload *to, uint16_t port, const struct service **ret_service) {
    const struct service *found = NULL;
    uint16_t behind = 0;

    for (size_t i = 0; i < to->n_ports; i++)
        if (to->ports[i].port == port)
            return 0;
    for (size_t i = 0; i < w->n_services; i++) {
        const struct service *s = &w->services[i];
        const struct service_inside *in = &w->service_insides[i];
        for (size_t e = 0; e < s->n_endpoints; e++)
            for (size_t p = 0; in->endpoints[e].workload == to && p < s->n_ports; p++) {
                uint16_t target = service_target_port(&in->endpoints[e], &s->ports[p], in->from_slices);
                if (target == port)
                    return 0; /* it has that port */
                if (s->ports[p].port == port && target && !found) {
                    found = s;
                    behind = target;
                }
            }
    }
    if (found)
        *ret_service = found;
    return behind;
}

void build_port_warnings(struct builder *b) {
    size_t n = b->world->n_policies;
    struct port_uses *by_policy = build_scratch(b, sizeof(*by_policy), n);
    struct port_notes *notes = build_scratch(b, sizeof(*notes), 1);
    bool any = false;

    for (size_t i = 0; by_policy && notes && i < n && !b->failed; i++) {
        struct policy *p = &b->world->policies[i];
        size_t n_values = p->has_ports && !p->for_l7 ? n_ports_of(b->policy_specs[i]) : 0;
        by_policy[i].items = build_scratch(b, sizeof(struct port_use), n_values);
        if (by_policy[i].items)
            each_list(b->policy_specs[i], take_values, &by_policy[i]);
        any |= by_policy[i].n > 0;
        for (size_t k = 0; k < by_policy[i].n; k++)
            notes->asked[by_policy[i].items[k].port / 8] |= (uint8_t)(1u << by_policy[i].items[k].port % 8);
    }
    if (!any || b->failed)
        return;
    notes->asked[0] |= 1;
    if (map_init(&notes->map, b->world->n_workloads * 2) < 0) {
        b->failed = true;
        return;
    }
    note_all(b, notes);
    match_all(b, notes, by_policy);
    for (size_t i = 0; i < n && !b->failed; i++)
        tell(b, &b->world->policies[i], &by_policy[i]);
    map_deinit(&notes->map);
}
