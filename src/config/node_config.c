/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/node_config.c - see config/node_config.h
 *
 * One table says every key: its path, its reader, its field and its default as the file would have it. Defaults go
 * through the same readers as the file, and the example in deploy/ is held against them by a test. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>

#include "node_values.h"

enum { NODE_FILE_BYTES_MAX = 1024 * 1024 };

struct key_row {
    const char *path;
    node_value_fn read;
    size_t field;
    const char *by_default; /* as a plain scalar; NULL: left zero (or found out, as the host's name) */
};
#define KEY(path, read, member, by_default) \
    { path, read, offsetof(struct node_config, member), by_default }
static const struct key_row key_rows[] = {
    KEY("node", value_node_name, world.node, NULL),
    KEY("trustDomain", value_trust_domain, world.trust_domain, "cluster.local"),
    KEY("trustDomainAliases", value_aliases, world, NULL),
    KEY("rootNamespace", value_namespace, world.root_namespace, "istio-system"),
    KEY("meshDir", value_word, mesh_dir, "/etc/ringwall/mesh.d"),
    KEY("stateDir", value_word, state_dir, "/var/lib/ringwall"),
    KEY("workers", value_workers, workers, "auto"),
    KEY("cpuLatency", value_cpu_latency, cpu_latency_us, "off"),
    KEY("cluster", value_word, world.cluster, "Kubernetes"),
    KEY("clusterDomain", value_domain, world.cluster_domain, "cluster.local"),
    KEY("network", value_text, world.network, NULL),
    KEY("capture.mode", value_capture_mode, capture.mode, "ebpf"),
    KEY("capture.cgroup", value_word, capture.cgroup, "auto"),
    KEY("capture.kubeletCgroup", value_text, capture.kubelet_cgroup, "auto"),
    KEY("capture.bpffs", value_word, capture.bpffs, "/sys/fs/bpf/ringwall"),
    KEY("capture.enrol", value_enrol, capture.enrol, "label"),
    KEY("capture.acceleration", value_switch, capture.acceleration, "auto"),
    KEY("capture.sameNode", value_same_node, capture.same_node_kernel, "tunnel"),
    KEY("ca.provider", value_provider, ca.provider, "builtin"),
    KEY("ca.dir", value_text, ca.dir, NULL),
    KEY("ca.ttl", value_ttl, ca.ttl_s, "24h"),
    KEY("ca.rotateAt", value_part, ca.rotate_at, "0.8"),
    {"ca.bundles", value_bundles, 0, NULL},
    KEY("ca.listen", value_listen, ca.listen, NULL),
    KEY("ca.jwt.issuer", value_text, ca.jwt_issuer, NULL),
    KEY("ca.jwt.audience", value_text, ca.jwt_audience, "istio-ca"),
    KEY("ca.jwt.jwks", value_text, ca.jwt_jwks, NULL),
    KEY("ca.trustedNodeAccounts", value_accounts, ca.node_accounts, NULL),
    KEY("ca.clientCertificates", value_bool, ca.client_certificates, "false"),
    KEY("ca.serverNames", value_server_names, ca.server_names, NULL),
    KEY("ca.address", value_address, ca.address, NULL),
    KEY("ca.token", value_word, ca.token, "/var/run/secrets/tokens/istio-token"),
    KEY("ca.roots", value_word, ca.roots, "/var/run/secrets/istio/root-cert.pem"),
    KEY("sockets.sds", value_text, sds_socket, NULL),
    KEY("sockets.workloadApi", value_text, workload_api_socket, NULL),
    KEY("listen.hbone", value_port, port_hbone, "15008"),
    KEY("listen.inbound", value_port, port_inbound, "15006"),
    KEY("listen.outbound", value_port, port_outbound, "15001"),
    KEY("admin.socket", value_word, admin.socket, "/run/ringwall/admin.sock"),
    KEY("admin.address", value_listen, admin.address, "localhost:15000"),
    KEY("admin.metrics", value_listen, admin.metrics, "*:15020"),
    KEY("admin.ready", value_listen, admin.ready, "*:15021"),
    KEY("log.level", value_log_level, log.level, "info"),
    KEY("log.format", value_log_format, log.format, "text"),
    KEY("log.access", value_word, log.access, "stdout"),
    KEY("limits.connections", value_connections, limits.connections, "auto"),
    KEY("limits.handshakesPerSecondPerSource", value_rate, limits.handshakes_per_s, "200"),
    KEY("limits.meshBytes", value_mesh_bytes, limits.mesh_bytes, "512MiB"),
    KEY("drainTimeout", value_timeout, drain_timeout_s, "25s"),
};

struct reading {
    struct node_config *c;
    struct decode d;
    const struct yaml_node *seen[array_size(key_rows)]; /* NULL: not in the file */
    size_t n_documents;
};

/* The piece of a row's path that follows `prefix` ("" or "capture."), up to the next dot; empty: not below it. */
static struct str piece_below(const struct key_row *row, struct str prefix) {
    struct str path = str_of(row->path), rest, head;
    if (!str_has_prefix(path, prefix))
        return STR_NULL;
    rest = (struct str){path.at + prefix.n, path.n - prefix.n};
    return str_split(&rest, '.', &head) ? head : STR_NULL;
}

static void unknown_key(struct reading *r, const struct yaml_node *n, struct str prefix) {
    const char *words[array_size(key_rows)];
    char names[1024];
    struct text all = TEXT_OVER(names);
    size_t n_words = 0;
    for (size_t i = 0; i < array_size(key_rows); i++) {
        struct str piece = piece_below(&key_rows[i], prefix);
        if (piece.n == 0 || (n_words && str_is(str_of(words[n_words - 1]), piece)))
            continue; /* rows of one section stand together */
        words[n_words++] = all.at + all.n;
        text_add(&all, piece);
        text_add(&all, (struct str){"", 1});
    }
    const char *near = nearest_word(n->key, words, n_words);
    struct str key = {n->key.at, min_of(n->key.n, (size_t)64)};
    if (near) {
        decode_key_errorf(&r->d, n, "unknown key \"" STR_FMT STR_FMT "\": did you mean \"" STR_FMT "%s\"?", STR_ARG(prefix),
                          STR_ARG(key), STR_ARG(prefix), near);
        return;
    }
    char list[1024] = "";
    struct text t = TEXT_OVER(list);
    words_format(&t, words, n_words);
    decode_key_errorf(&r->d, n, "unknown key \"" STR_FMT STR_FMT "\": remove it, or write one of %s", STR_ARG(prefix), STR_ARG(key),
                      list);
}

static void read_level(struct reading *r, const struct yaml_node *mapping, struct str prefix) {
    yaml_for_each(it, mapping) {
        char buffer[96];
        struct text t = TEXT_OVER(buffer);
        size_t exact = array_size(key_rows);
        bool section = false;
        text_addf(&t, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(it->key));
        struct str path = text_str(&t);
        for (size_t i = 0; i < array_size(key_rows) && !t.full; i++) {
            struct str row = str_of(key_rows[i].path);
            if (str_is(row, path))
                exact = i;
            section |= str_has_prefix(row, path) && row.n > path.n && row.at[path.n] == '.';
        }
        if (exact < array_size(key_rows)) {
            const struct key_row *row = &key_rows[exact];
            r->seen[exact] = it;
            ignore_result(row->read(&r->d, it, row->path, (char *)r->c + row->field)); /* what was wrong is in diags */
        } else if (section && decode_mapping(&r->d, it, buffer)) {
            text_addf(&t, ".");
            read_level(r, it, text_str(&t));
        } else if (!section) {
            unknown_key(r, it, prefix);
        }
    }
}

static int read_document(void *context, struct yaml_node *root) {
    struct reading *r = context;
    if (r->n_documents++) {
        decode_errorf(&r->d, root, "the node file has one document: remove the second one, and the \"---\" before it");
        return 0;
    }
    if (yaml_is_null(root)) /* comments only: all defaults */
        return 0;
    if (yaml_get(root, "apiVersion") && yaml_get(root, "kind"))
        decode_errorf(&r->d, root,
                      "this is a manifest and no node file: put it into meshDir, and name the file that says how this node runs");
    else if (decode_mapping(&r->d, root, "the node file"))
        read_level(r, root, STR_NULL);
    return r->d.failed ? err_origin(-ENOMEM) : 0;
}

static int set_defaults(struct reading *r) {
    struct node_config *c = r->c;
    char host[256] = "";
    bool ok = true;
    for (size_t i = 0; i < array_size(key_rows); i++) {
        const struct key_row *row = &key_rows[i];
        struct yaml_node n = {.kind = YAML_SCALAR, .scalar = str_of(row->by_default)};
        if (row->by_default)
            check(row->read(&r->d, &n, row->path, (char *)c + row->field) || r->d.failed);
    }
    if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
        return err_origin(-EINVAL);
    c->world.node = arena_str(&c->arena, str_of(host), &ok);
    struct str *empty[] = {&c->world.network,       &c->ca.dir,         &c->ca.jwt_issuer, &c->ca.jwt_jwks, &c->sds_socket,
                           &c->workload_api_socket, &c->ca.listen.host, &c->ca.address,    &c->path};
    for (size_t i = 0; i < array_size(empty); i++)
        *empty[i] = STR(""); /* NUL-terminated like the others */
    return ok && !r->d.failed ? 0 : err_origin(-ENOMEM);
}

static const struct yaml_node *seen(const struct reading *r, const char *path) {
    for (size_t i = 0; i < array_size(key_rows); i++)
        if (!strcmp(key_rows[i].path, path))
            return r->seen[i];
    unreachable_because("a key that is in no row");
}

static bool listens_clash(const struct listen_spec *a, const struct listen_spec *b) {
    bool any = str_is(a->host, STR("*")) || str_is(b->host, STR("*"));
    return a->port && a->port == b->port && (any || str_is(a->host, b->host));
}

static void check_listens(struct reading *r) {
    struct node_config *c = r->c;
    const struct {
        const char *path;
        struct listen_spec spec;
    } all[] = {{"listen.hbone", {STR("*"), c->port_hbone}},
               {"listen.inbound", {STR("*"), c->port_inbound}},
               {"listen.outbound", {STR("*"), c->port_outbound}},
               {"admin.address", c->admin.address},
               {"admin.metrics", c->admin.metrics},
               {"admin.ready", c->admin.ready},
               {"ca.listen", c->ca.listen}};
    for (size_t i = 0; i < array_size(all); i++)
        for (size_t j = 0; j < i; j++)
            if (listens_clash(&all[i].spec, &all[j].spec)) {
                const struct yaml_node *n = seen(r, all[i].path);
                decode_errorf(&r->d, n ? n : seen(r, all[j].path), "%s and %s have the same port %u: give each its own",
                              all[j].path, all[i].path, (unsigned)all[i].spec.port);
            }
}

/* Keys of the provider istio; the address follows from the root namespace unless it is written. */
static void check_istio(struct reading *r) {
    static const char *const keys[] = {"ca.address", "ca.token", "ca.roots"};
    struct node_config *c = r->c;
    char address[128];
    struct text t = TEXT_OVER(address);
    bool ok = true;
    if (c->ca.provider == CA_PROVIDER_ISTIO) {
        if (c->ca.listen.port)
            decode_errorf(&r->d, seen(r, "ca.listen"),
                          "ca.listen needs a CA of our own, and with ca.provider istio another one signs: remove it");
        if (c->ca.address.n)
            return;
        text_addf(&t, "istiod." STR_FMT ".svc:15012", STR_ARG(c->world.root_namespace));
        c->ca.address = arena_str(&c->arena, text_str(&t), &ok);
        r->d.failed |= !ok;
        return;
    }
    for (size_t i = 0; i < array_size(keys); i++)
        if (seen(r, keys[i]))
            decode_errorf(&r->d, seen(r, keys[i]), "%s is for ca.provider: istio only: remove it, or write provider: istio",
                          keys[i]);
}

/* The name that Istio's clients dial, unless others are written. */
static void set_server_names(struct reading *r) {
    struct node_config *c = r->c;
    char name[128];
    struct text t = TEXT_OVER(name);
    bool ok = true;
    if (c->ca.server_names.n)
        return;
    text_addf(&t, "istiod." STR_FMT ".svc", STR_ARG(c->world.root_namespace));
    c->ca.server_names.items = decode_array(&r->d, struct str, 1);
    if (!c->ca.server_names.items)
        return;
    c->ca.server_names.items[c->ca.server_names.n++] = arena_str(&c->arena, text_str(&t), &ok);
    r->d.failed |= !ok;
}

/* A door that nobody can have a certificate at is a mistake, and one that its callers see late and without the reason. */
static void check_proofs(struct reading *r) {
    struct node_config *c = r->c;
    bool issuer = c->ca.jwt_issuer.n > 0, keys = c->ca.jwt_jwks.n > 0;
    if (issuer != keys)
        decode_errorf(&r->d, seen(r, issuer ? "ca.jwt.issuer" : "ca.jwt.jwks"),
                      "ca.jwt.%s needs ca.jwt.%s: tokens are believed with both, so write it, or remove both",
                      issuer ? "issuer" : "jwks", issuer ? "jwks, the file of the issuer's keys" : "issuer");
    else if (c->ca.listen.port && c->ca.provider != CA_PROVIDER_ISTIO && !issuer && !c->ca.client_certificates)
        decode_errorf(&r->d, seen(r, "ca.listen"),
                      "ca.listen needs a proof that callers can give: write ca.jwt (issuer, jwks), or clientCertificates: true");
}

/* Our own roots come from our CA alone: a bundle under our own name would be read by nobody. */
static void check_bundles(struct reading *r) {
    const struct node_config *c = r->c;
    for (size_t i = 0; i < c->ca.n_bundles; i++)
        if (str_is(c->ca.bundles[i].name, c->world.trust_domain))
            decode_errorf(&r->d, seen(r, "ca.bundles"),
                          "ca.bundles has our own trust domain, %.*s, whose roots come from the CA (ca.dir): remove it",
                          (int)min_of(c->world.trust_domain.n, (size_t)64), c->world.trust_domain.at);
}

/* What no single key can tell. */
/* Who asks for one of these must not believe to have it. */
static void check_what_is_not_there(struct reading *r) {
    const struct node_config *c = r->c;
    if (c->capture.acceleration == SWITCH_ON)
        decode_warnf(
            &r->d, seen(r, "capture.acceleration"),
            "capture.acceleration stays off: what Linux hands past TCP has no bound while its reader stands still, and is not "
            "seen by readers that splice; write auto or off");
    if (c->capture.same_node_kernel)
        decode_warnf(&r->d, seen(r, "capture.sameNode"),
                     "capture.sameNode stays tunnel: traffic within a node takes a tunnel, too, in this version; write tunnel");
}

static void check_together(struct reading *r) {
    struct node_config *c = r->c;
    check_bundles(r);
    bool files = c->ca.provider == CA_PROVIDER_FILES;
    if (files && c->ca.dir.n == 0)
        decode_errorf(
            &r->d, seen(r, "ca.provider"),
            "ca.provider files needs ca.dir: write the directory with ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem");
    if (!files && c->ca.dir.n)
        decode_errorf(&r->d, seen(r, "ca.dir"), "ca.dir is for ca.provider: files only: remove it, or write provider: files");
    for (size_t i = 0; i < c->world.n_trust_domain_aliases; i++)
        if (str_is(c->world.trust_domain_aliases[i], c->world.trust_domain))
            decode_errorf(&r->d, seen(r, "trustDomainAliases"),
                          "trustDomainAliases names the trust domain itself: remove it from the list");
    check_listens(r);
    check_istio(r);
    check_proofs(r);
    check_what_is_not_there(r);
    set_server_names(r);
}

/* 0: text read; 1: said; 2: the default file is absent; negative errno. */
static int read_text(struct reading *r, const char *path, char **ret, size_t *ret_n) {
    int e = io_read_file(path ? path : NODE_CONFIG_PATH, NODE_FILE_BYTES_MAX, ret, ret_n);
    if (e == 0)
        return 0;
    if (e == -ENOENT && !path)
        return 2;
    if (e == -ENOMEM)
        return err_trace(e);
    if (e == -EFBIG)
        decode_errorf(&r->d, NULL, "the node file is larger than 1 MiB: this cannot be one");
    else if (e == -ENOTSUP || e == -EISDIR)
        decode_errorf(&r->d, NULL, "the node file is no regular file: name the file itself");
    else
        decode_errorf(&r->d, NULL, "the node file cannot be read (%s): create it, or name another with -c", strerror(-e));
    return 1;
}

int node_config_load(const char *path, struct diag_list *diags, struct node_config **ret) {
    cleanup(node_config_freep) struct node_config *c = calloc(1, sizeof(*c));
    cleanup(arena_deinit) struct arena tree = ARENA_NULL;
    cleanup_free char *text = NULL;
    size_t n = 0, n_errors = diags->n_errors;
    struct yaml_error error;
    bool ok = true;
    if (!c)
        return err_origin(-ENOMEM);
    struct reading r = {.c = c, .d = {.arena = &c->arena, .diags = diags}};
    int e = set_defaults(&r);
    if (e)
        return err_trace(e);
    r.d.file = arena_str(&c->arena, str_of(path ? path : NODE_CONFIG_PATH), &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    e = read_text(&r, path, &text, &n);
    if (e < 0)
        return err_trace(e);
    if (e == 1)
        return 1;
    if (e == 0) {
        c->path = r.d.file;
        e = yaml_parse((struct str){text, n}, &tree, read_document, &r, &error);
        if (e < 0)
            return err_trace(e);
        if (e > 0) {
            struct origin at = {r.d.file, error.line, error.column};
            diag_addf(diags, DIAG_ERROR, &at, "%s", error.text);
        } else {
            check_together(&r);
        }
    }
    if (r.d.failed)
        return err_origin(-ENOMEM);
    if (diags->n_errors > n_errors)
        return 1;
    *ret = take_ptr(c);
    return 0;
}

struct node_config *node_config_free(struct node_config *c) {
    if (!c)
        return NULL;
    arena_deinit(&c->arena);
    free(c);
    return NULL;
}
