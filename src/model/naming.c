/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/naming.c - secure naming: who may answer at the other end of a tunnel
 *
 * A tunnel goes to a workload, so the identity of that workload may answer. A ServiceEntry can name more identities, for
 * workloads that answer under another name than the one the files place there; these hold only for connections to that
 * very service, and only at its endpoints. Our trust domain and its aliases are one: while a mesh changes its trust domain,
 * servers have certificates of either. */
#include <ringwall/base/check.h>
#include <ringwall/model/route.h>

#include "build.h"

/* The identity as our own trust domain spells it; what is of no alias stays as it is. */
static const struct identity *as_ours(const struct world *w, const struct identity *i, struct identity *room) {
    const struct world_settings *s = &w->settings;

    for (size_t a = 0; a < s->n_trust_domain_aliases; a++)
        if (str_is(identity_td(i), s->trust_domain_aliases[a]) &&
            identity_make(s->trust_domain, identity_ns(i), identity_sa(i), room)) /* false: too long with that domain */
            return room;
    return i;
}

bool world_same_identity(const struct world *w, const struct identity *a, const struct identity *b) {
    struct identity room_a, room_b;

    if (identity_is_none(a) || identity_is_none(b))
        return false;
    return identity_is(a, b) || identity_is(as_ours(w, a, &room_a), as_ours(w, b, &room_b));
}

bool world_node_has_identity(const struct world *w, struct str node, const struct identity *identity) {
    struct identity room;

    return !identity_is_none(identity) && world_node_has_own(w, node, as_ours(w, identity, &room));
}

void build_service_names(struct builder *b, const struct service_spec *s, struct service_inside *in) {
    const struct text_list *list = &s->subject_alt_names;
    const struct identity **names = build_alloc(b, sizeof(*names), list->n);

    in->names = names;
    for (size_t i = 0; names && i < list->n; i++) {
        struct identity made;
        memset(&made, 0, sizeof(made)); /* interned as bytes */
        if (identity_parse(list->items[i].text, &made)) {
            names[in->n_names++] = build_blob(b, &made, sizeof(made));
            continue;
        }
        diag_addf(b->diags, DIAG_WARNING, list->items[i].at.file.n ? &list->items[i].at : &s->at,
                  "subjectAltNames of " STR_FMT " " STR_FMT "/" STR_FMT
                  " has \"%.*s\", which is no identity of the mesh and is never "
                  "met; write spiffe://<trust domain>/ns/<namespace>/sa/<service account>",
                  STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name), (int)min_of(list->items[i].text.n, (size_t)64),
                  list->items[i].text.at);
    }
}

static bool has_endpoint(const struct service *s, const struct service_inside *in, const struct workload *w) {
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (in->endpoints[i].workload == w)
            return true;
    return false;
}

bool route_accepts_identity(const struct world *w, struct str network, const struct endpoint *dialled, struct str uid,
                            const struct identity *peer) {
    const struct workload *to = world_workload_by_uid(w, uid);

    if (!to || identity_is_none(peer))
        return false;
    if (world_same_identity(w, peer, to->identity))
        return true;
    if (world_workload_by_addr(w, network, &dialled->addr)) /* a workload was dialled, no service */
        return false;
    const struct service *s = world_service_by_vip(w, network, &dialled->addr);
    const struct service_inside *in = s ? &w->service_insides[s->index] : NULL;
    for (size_t i = 0; in && i < in->n_names; i++)
        if (world_same_identity(w, in->names[i], peer))
            return has_endpoint(s, in, to);
    return false;
}
