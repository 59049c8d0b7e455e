/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/node_config.h - the node file (DESIGN 6): how this node runs. Every key has a default, an unknown key is an error */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/base/log.h>
#include <ringwall/model/diag.h>
#include <ringwall/model/spec.h>

enum capture_mode { CAPTURE_MODE_EBPF, CAPTURE_MODE_NONE };
enum enrol_mode { ENROL_LABEL, ENROL_ALL, ENROL_NONE };
enum switch_mode { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
enum ca_provider { CA_PROVIDER_BUILTIN, CA_PROVIDER_FILES, CA_PROVIDER_ISTIO };
struct name_list {
    struct str *items;
    size_t n;
};
struct named_file {
    struct str name, path;
};
/* A listening address: host may be "*" (both families), "localhost" (both loopbacks) or an IP. Port 0: off. */
struct listen_spec {
    struct str host;
    uint16_t port;
};
struct node_config {
    struct arena arena; /* owns every string; all are NUL-terminated behind their n */
    struct world_settings world;
    struct str path; /* of the file; empty: defaults only */
    struct str mesh_dir, state_dir;
    unsigned workers;       /* 0: auto */
    int32_t cpu_latency_us; /* negative: off */
    struct {
        enum capture_mode mode;
        struct str cgroup, kubelet_cgroup, bpffs;
        enum enrol_mode enrol;
        enum switch_mode acceleration;
        bool same_node_kernel;
    } capture;
    struct {
        enum ca_provider provider;
        struct str dir;
        uint32_t ttl_s;
        double rotate_at;
        struct named_file *bundles;
        size_t n_bundles;
        struct listen_spec listen;
        struct str jwt_issuer, jwt_audience, jwt_jwks;
        struct name_list node_accounts, server_names; /* namespace/account; DNS names or addresses */
        bool client_certificates;
        struct str address, token, roots; /* provider istio: HOST:PORT of the other CA, files */
    } ca;
    struct str sds_socket, workload_api_socket;
    uint16_t port_hbone, port_inbound, port_outbound;
    struct {
        struct str socket;
        struct listen_spec address, metrics, ready;
    } admin;
    struct {
        enum log_level level;
        enum log_format format;
        struct str access;
    } log;
    struct {
        uint32_t connections; /* 0: auto */
        uint32_t handshakes_per_s;
        uint64_t mesh_bytes;
    } limits;
    uint32_t drain_timeout_s;
};

#define NODE_CONFIG_PATH "/etc/ringwall/ringwall.yaml"

/* path NULL: NODE_CONFIG_PATH, which may be absent: then all is default and the config's path is empty. An explicit path must
 * exist. 0; 1: errors in diags; negative errno. */
int node_config_load(const char *path, struct diag_list *diags, struct node_config **ret) must_check;
struct node_config *node_config_free(struct node_config *c);
DEFINE_FREEP(struct node_config, node_config_free)
