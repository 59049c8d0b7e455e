/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/snapshot.h - the inside of a world, for the files of this room
 *
 * All arrays and index nodes live in the world's arena; nothing is written after world_build returned. */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/base/map.h>
#include <ringwall/model/world.h>

#include "policy.h"

struct workload_keys { /* beside world.workloads, same index */
    struct map_node by_uid;
};
struct addr_key { /* no padding: compared as bytes */
    struct addr addr;
    uint64_t network;
};
struct addr_slot {
    struct map_node node;
    struct addr_key key;
    uint32_t index; /* of the workload or service */
};
struct network_slot {
    struct map_node node;
    uint64_t number;
};
enum { NETWORK_OWN = 0, NETWORK_UNKNOWN = UINT32_MAX };
struct identity_slot { /* where workloads of an identity are */
    struct map_node node;
    const struct str *nodes; /* sorted, different */
    size_t n_nodes;
};

struct place { /* interned; empty: unknown */
    struct str region, zone, subzone, node, network;
    const struct str *for_zones; /* hints; interned */
    size_t n_for_zones;
};
struct service_endpoint {
    const struct place *place;
    const struct workload *workload;       /* NULL: an address that no workload owns */
    struct addr addr;                      /* none: the workload's, by the family dialled */
    const struct service_port_spec *ports; /* of the slice, by name; see service_target_port */
    uint32_t weight;
    uint32_t n_ports : 31;
    bool ready : 1;
};
struct service_inside {                       /* beside world.services, same index */
    const struct service_endpoint *endpoints; /* the ready ones first */
    const struct identity *const *names;      /* of subjectAltNames; see naming.c */
    uint32_t n_names;
    enum traffic_distribution distribution;
    bool hinted; /* every ready endpoint has hints, and they may be used */
    bool from_slices;
};

struct world {
    uint64_t number;
    struct arena arena;
    struct world_settings settings;
    struct workload *workloads;
    struct workload_keys *workload_keys;
    struct service *services;
    uint8_t block_bits[128], n_block_bits; /* prefix lengths of services' blocks, the longest first; see vips.c */
    struct service_inside *service_insides;
    struct policy *policies;
    struct peer_auth *peer_auths;
    size_t n_workloads, n_services, n_policies, n_peer_auths;
    struct map by_addr, by_uid, by_vip, networks, identities;
};

/* Fills the key of an address; false when the network is none that any workload is in. */
bool world_addr_key(const struct world *w, struct str network, const struct addr *a, struct addr_key *ret);
/* world_node_has_identity for an identity as our own trust domain spells it. */
bool world_node_has_own(const struct world *w, struct str node, const struct identity *identity);
/* The workload port that a service's port stands for at this endpoint; 0: it has none. */
uint16_t service_target_port(const struct service_endpoint *e, const struct service_port_spec *port, bool from_slices);
