/* SPDX-License-Identifier: GPL-3.0-or-later
 * config_json.c - the node file as it is in force, for /config_dump; it holds no secret */
#include <ringwall/wire/json.h>

#include "app.h"

static const char *switch_name(enum switch_mode m) { return m == SWITCH_ON ? "on" : m == SWITCH_OFF ? "off" : "auto"; }

static void write_listen(struct json_writer *w, const char *key, const struct listen_spec *l) {
    if (l->port == 0)
        json_z(w, key, "");
    else
        json_strf(w, key, STR_FMT ":%u", STR_ARG(l->host), l->port);
}

static void write_capture(struct json_writer *w, const struct node_config *c) {
    static const char *const enrol[] = {"label", "all", "none"};
    json_object(w, "capture");
    json_z(w, "mode", c->capture.mode == CAPTURE_MODE_EBPF ? "ebpf" : "none");
    json_str(w, "cgroup", c->capture.cgroup);
    json_str(w, "kubeletCgroup", c->capture.kubelet_cgroup);
    json_str(w, "bpffs", c->capture.bpffs);
    json_z(w, "enrol", enrol[c->capture.enrol]);
    json_z(w, "acceleration", switch_name(c->capture.acceleration));
    json_z(w, "sameNode", c->capture.same_node_kernel ? "kernel" : "tunnel");
    json_end(w);
}

static void write_ca(struct json_writer *w, const struct node_config *c) {
    static const char *const provider[] = {"builtin", "files", "istio"};
    json_object(w, "ca");
    json_z(w, "provider", provider[c->ca.provider]);
    json_str(w, "dir", c->ca.dir);
    json_u64(w, "ttlSeconds", c->ca.ttl_s);
    json_strf(w, "rotateAt", "%.2f", c->ca.rotate_at);
    json_object(w, "bundles");
    for (size_t i = 0; i < c->ca.n_bundles; i++)
        json_str(w, c->ca.bundles[i].name.at, c->ca.bundles[i].path);
    json_end(w);
    write_listen(w, "listen", &c->ca.listen);
    json_bool(w, "clientCertificates", c->ca.client_certificates);
    if (c->ca.provider == CA_PROVIDER_ISTIO) {
        json_str(w, "address", c->ca.address);
        json_str(w, "token", c->ca.token); /* the file's name */
        json_str(w, "roots", c->ca.roots);
    }
    json_end(w);
}

static void write_admin_and_log(struct json_writer *w, const struct node_config *c) {
    json_object(w, "admin");
    json_str(w, "socket", c->admin.socket);
    write_listen(w, "address", &c->admin.address);
    write_listen(w, "metrics", &c->admin.metrics);
    write_listen(w, "ready", &c->admin.ready);
    json_end(w);
    json_object(w, "log");
    json_z(w, "level", log_level_name(c->log.level));
    json_z(w, "format", c->log.format == LOG_JSON ? "json" : "text");
    json_str(w, "access", c->log.access);
    json_end(w);
}

char *config_json(const struct node_config *c) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, false);
    json_object(&w, NULL);
    json_str(&w, "file", c->path);
    json_str(&w, "node", c->world.node);
    json_str(&w, "trustDomain", c->world.trust_domain);
    json_array(&w, "trustDomainAliases");
    for (size_t i = 0; i < c->world.n_trust_domain_aliases; i++)
        json_str(&w, NULL, c->world.trust_domain_aliases[i]);
    json_end(&w);
    json_str(&w, "rootNamespace", c->world.root_namespace);
    json_str(&w, "meshDir", c->mesh_dir);
    json_str(&w, "stateDir", c->state_dir);
    json_u64(&w, "workers", c->workers);
    if (c->cpu_latency_us >= 0)
        json_u64(&w, "cpuLatencyMicroseconds", (uint64_t)c->cpu_latency_us);
    json_str(&w, "cluster", c->world.cluster);
    json_str(&w, "clusterDomain", c->world.cluster_domain);
    json_str(&w, "network", c->world.network);
    write_capture(&w, c);
    write_ca(&w, c);
    json_object(&w, "listen");
    json_u64(&w, "hbone", c->port_hbone);
    json_u64(&w, "inbound", c->port_inbound);
    json_u64(&w, "outbound", c->port_outbound);
    json_end(&w);
    write_admin_and_log(&w, c);
    json_object(&w, "limits");
    json_u64(&w, "connections", c->limits.connections);
    json_u64(&w, "handshakesPerSecondPerSource", c->limits.handshakes_per_s);
    json_u64(&w, "meshBytes", c->limits.mesh_bytes);
    json_end(&w);
    json_u64(&w, "drainTimeoutSeconds", c->drain_timeout_s);
    json_end(&w);
    if (g.failed) {
        growing_deinit(&g);
        return NULL;
    }
    return g.at;
}
