/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/cluster.c - Namespace and Node: what the workloads inherit from them */
#include "../kinds.h"

const void *decode_namespace(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct namespace_spec *ns = decode_array(d, struct namespace_spec, 1);
    (void)root; /* the metadata says it all */
    if (!ns)
        return NULL;
    *ns = (struct namespace_spec){.name = m->name, .at = m->at, .mesh = meta_mesh_label(d, m), .use_waypoint = meta_waypoint(m)};
    ignore_result(meta_distribution(d, m, &ns->distribution)); /* else any endpoint */
    return ns;
}

const void *decode_node(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct node_spec *node = decode_array(d, struct node_spec, 1);
    (void)root;
    if (!node)
        return NULL;
    *node = (struct node_spec){.region = meta_label(m, "topology.kubernetes.io/region"),
                               .zone = meta_label(m, "topology.kubernetes.io/zone")};
    return node;
}
