/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every key of the node file arrives in its field, has its default, and is refused with its place when it is wrong.
 * Method: whole files in a scratch directory; the example in deploy/ is read too and must equal the defaults. */
#include <ringwall/config/node_config.h>

#include "scratch.h"

static struct scratch scratch;

static struct node_config *load(const char *text, const char *diags) {
    char path[512];
    struct diag_list l = DIAG_LIST_NULL;
    struct node_config *c = NULL;
    scratch_init(&scratch);
    scratch_put(&scratch, "n.yaml", text);
    int r = node_config_load(scratch_path(&scratch, "n.yaml", path), &l, &c);
    cleanup_free char *seen = scratch_diags(&scratch, &l);
    assert_string_equal(seen, diags);
    assert_int_equal(r, strstr(diags, "error: ") ? 1 : 0);
    assert_true(!c == (r == 1));
    if (c)
        assert_string_equal(c->path.at, path);
    diag_list_deinit(&l);
    scratch_deinit(&scratch);
    return c;
}

#define assert_str(s, literal) \
    do { \
        assert_true(str_is(s, STR(literal))); \
        assert_string_equal((s).at, literal); \
    } while (0)

static void assert_listen(const struct listen_spec *l, const char *host, uint16_t port) {
    assert_string_equal(l->host.at, host);
    assert_int_equal(l->port, port);
}

static void assert_defaults(const struct node_config *c) {
    char host[256] = "";
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    assert_string_equal(c->world.node.at, host);
    assert_str(c->world.trust_domain, "cluster.local");
    assert_int_equal(c->world.n_trust_domain_aliases, 0);
    assert_str(c->world.root_namespace, "istio-system");
    assert_str(c->world.cluster, "Kubernetes");
    assert_str(c->world.cluster_domain, "cluster.local");
    assert_str(c->world.network, "");
    assert_str(c->mesh_dir, "/etc/ringwall/mesh.d");
    assert_str(c->state_dir, "/var/lib/ringwall");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->cpu_latency_us, -1);
    assert_int_equal(c->capture.mode, CAPTURE_MODE_EBPF);
    assert_str(c->capture.cgroup, "auto");
    assert_str(c->capture.kubelet_cgroup, "auto");
    assert_str(c->capture.bpffs, "/sys/fs/bpf/ringwall");
    assert_int_equal(c->capture.enrol, ENROL_LABEL);
    assert_int_equal(c->capture.acceleration, SWITCH_AUTO);
    assert_false(c->capture.same_node_kernel);
    assert_int_equal(c->ca.provider, CA_PROVIDER_BUILTIN);
    assert_str(c->ca.dir, "");
    assert_int_equal(c->ca.ttl_s, 86400);
    assert_true(c->ca.rotate_at > 0.799 && c->ca.rotate_at < 0.801);
    assert_int_equal(c->ca.n_bundles, 0);
    assert_listen(&c->ca.listen, "", 0);
    assert_str(c->ca.jwt_issuer, "");
    assert_str(c->ca.jwt_audience, "istio-ca");
    assert_str(c->ca.jwt_jwks, "");
    assert_int_equal(c->ca.node_accounts.n, 0);
    assert_false(c->ca.client_certificates);
    assert_int_equal(c->ca.server_names.n, 1);
    assert_str(c->ca.server_names.items[0], "istiod.istio-system.svc");
    assert_str(c->sds_socket, "");
    assert_str(c->workload_api_socket, "");
    assert_int_equal(c->port_hbone, 15008);
    assert_int_equal(c->port_inbound, 15006);
    assert_int_equal(c->port_outbound, 15001);
    assert_str(c->admin.socket, "/run/ringwall/admin.sock");
    assert_listen(&c->admin.address, "localhost", 15000);
    assert_listen(&c->admin.metrics, "*", 15020);
    assert_listen(&c->admin.ready, "*", 15021);
    assert_int_equal(c->log.level, LOG_INFO);
    assert_int_equal(c->log.format, LOG_TEXT);
    assert_str(c->log.access, "stdout");
    assert_int_equal(c->limits.connections, 0);
    assert_int_equal(c->limits.handshakes_per_s, 200);
    assert_int_equal(c->limits.mesh_bytes, 512ull << 20);
    assert_int_equal(c->drain_timeout_s, 25);
}

static void defaults(void **state) {
    cleanup(node_config_freep) struct node_config *c = load("# nothing\n", ""), *d = load("{}\n", "");
    assert_defaults(c);
    assert_defaults(d);
}

static void the_example_is_the_defaults(void **state) {
    struct diag_list l = DIAG_LIST_NULL;
    cleanup(node_config_freep) struct node_config *c = NULL;
    const char *path = getenv("CONFIG_EXAMPLE");
    assert_non_null(path);
    assert_int_equal(node_config_load(path, &l, &c), 0);
    assert_int_equal(l.n, 0);
    assert_defaults(c);
}

static void every_key(void **state) {
    static const char text[] =
        "node: N_1.example\ntrustDomain: a.example\ntrustDomainAliases: [b.example, c.example]\nrootNamespace: root\n"
        "meshDir: mesh\nstateDir: state\nworkers: 3\ncpuLatency: 20us\ncluster: c1\nclusterDomain: d.example\nnetwork: n1\n"
        "capture: {mode: none, cgroup: /c, kubeletCgroup: \"\", bpffs: /b, enrol: all, acceleration: off, sameNode: tunnel}\n"
        "ca: {provider: files, dir: /ca, ttl: 1h30m, rotateAt: 0.5, bundles: {o.example: /o.pem, p.example: /p.pem}, listen: "
        "\"*:15012\",\n"
        "  jwt: {issuer: i, audience: a, jwks: /j}, trustedNodeAccounts: [istio-system/ztunnel, a/b], clientCertificates: true,\n"
        "  serverNames: [ca.example, 10.0.0.1]}\n"
        "sockets: {sds: /s, workloadApi: /w}\nlisten: {hbone: 25008, inbound: 25006, outbound: 25001}\n"
        "admin: {socket: /a, address: \"\", metrics: \"127.0.0.1:1\", ready: \"[::1]:2\"}\n"
        "log: {level: debug, format: json, access: none}\n"
        "limits: {connections: 1000, handshakesPerSecondPerSource: 5, meshBytes: 1GiB}\ndrainTimeout: 0s\n";
    cleanup(node_config_freep) struct node_config *c = load(text, "");
    assert_str(c->world.node, "N_1.example");
    assert_str(c->world.trust_domain, "a.example");
    assert_int_equal(c->world.n_trust_domain_aliases, 2);
    assert_str(c->world.trust_domain_aliases[1], "c.example");
    assert_str(c->world.root_namespace, "root");
    assert_str(c->mesh_dir, "mesh");
    assert_str(c->state_dir, "state");
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->cpu_latency_us, 20);
    assert_str(c->world.cluster, "c1");
    assert_str(c->world.cluster_domain, "d.example");
    assert_str(c->world.network, "n1");
    assert_int_equal(c->capture.mode, CAPTURE_MODE_NONE);
    assert_str(c->capture.cgroup, "/c");
    assert_str(c->capture.kubelet_cgroup, "");
    assert_str(c->capture.bpffs, "/b");
    assert_int_equal(c->capture.enrol, ENROL_ALL);
    assert_int_equal(c->capture.acceleration, SWITCH_OFF);
    assert_false(c->capture.same_node_kernel);
    assert_int_equal(c->ca.provider, CA_PROVIDER_FILES);
    assert_str(c->ca.dir, "/ca");
    assert_int_equal(c->ca.ttl_s, 5400);
    assert_true(c->ca.rotate_at > 0.499 && c->ca.rotate_at < 0.501);
    assert_int_equal(c->ca.n_bundles, 2);
    assert_str(c->ca.bundles[1].name, "p.example");
    assert_str(c->ca.bundles[1].path, "/p.pem");
    assert_listen(&c->ca.listen, "*", 15012);
    assert_str(c->ca.jwt_issuer, "i");
    assert_str(c->ca.jwt_audience, "a");
    assert_int_equal(c->ca.node_accounts.n, 2);
    assert_str(c->ca.node_accounts.items[0], "istio-system/ztunnel");
    assert_true(c->ca.client_certificates);
    assert_int_equal(c->ca.server_names.n, 2);
    assert_str(c->ca.server_names.items[1], "10.0.0.1");
    assert_str(c->ca.jwt_jwks, "/j");
    assert_str(c->sds_socket, "/s");
    assert_str(c->workload_api_socket, "/w");
    assert_true(c->port_hbone == 25008 && c->port_inbound == 25006 && c->port_outbound == 25001);
    assert_str(c->admin.socket, "/a");
    assert_listen(&c->admin.address, "", 0);
    assert_listen(&c->admin.metrics, "127.0.0.1", 1);
    assert_listen(&c->admin.ready, "::1", 2);
    assert_true(c->log.level == LOG_DEBUG && c->log.format == LOG_JSON);
    assert_str(c->log.access, "none");
    assert_true(c->limits.connections == 1000 && c->limits.handshakes_per_s == 5 && c->limits.mesh_bytes == 1ull << 30);
    assert_int_equal(c->drain_timeout_s, 0);
}

static void another_ca(void **state) {
    struct node_config *c = load("rootNamespace: mesh\nca: {provider: istio}\n", "");
    assert_non_null(c);
    assert_int_equal(c->ca.provider, CA_PROVIDER_ISTIO);
    assert_str(c->ca.address, "istiod.mesh.svc:15012");
    assert_str(c->ca.token, "/var/run/secrets/tokens/istio-token");
    assert_str(c->ca.roots, "/var/run/secrets/istio/root-cert.pem");
    node_config_free(c);
    c = load("ca: {provider: istio, address: \"[::1]:7\", token: /t, roots: /r}\n", "");
    assert_non_null(c);
    assert_str(c->ca.address, "[::1]:7");
    assert_str(c->ca.token, "/t");
    assert_str(c->ca.roots, "/r");
    node_config_free(c);
}

static void errors(void **state) {
    static const struct {
        const char *text, *said; /* behind "n.yaml:" */
    } rows[] = {
        {"nod: a\n", "1:1: error: unknown key \"nod\": did you mean \"node\"?\n"},
        {"capture:\n  enroll: all\n", "2:3: error: unknown key \"capture.enroll\": did you mean \"capture.enrol\"?\n"},
        {"ca: {jwt: {isuer: a}}\n", "1:12: error: unknown key \"ca.jwt.isuer\": did you mean \"ca.jwt.issuer\"?\n"},
        {"zzzzzzzzzzz: a\n",
         "1:1: error: unknown key \"zzzzzzzzzzz\": remove it, or write one of node, trustDomain, trustDomainAliases, "
         "rootNamespace, meshDir, stateDir, workers, cpuLatency, cluster, clusterDomain, network, capture, ca, sockets, listen, "
         "admin, log, limits or drainTimeout\n"},
        {"log: {colour: red}\n", "1:7: error: unknown key \"log.colour\": remove it, or write one of level, format or access\n"},
        {"capture: ebpf\n", "1:10: error: capture must be a mapping, not a string: write \"key: value\" lines indented below it\n"},
        {"capture:\n", "1:1: error: capture is empty: write its keys indented below it, or {} to set none\n"},
        {"apiVersion: v1\nkind: Pod\nspec: {}\n",
         "1:1: error: this is a manifest and no node file: put it into meshDir, and name the file that says how this node runs\n"},
        {"- a\n", "1:1: error: the node file must be a mapping, not a list: write \"key: value\" lines indented below it\n"},
        {"node: 7\n", "1:7: error: node must be a string, not a number: write \"7\" in quotes\n"},
        {"node: a/b\n", "1:7: error: node is no name of a node: write at most 253 letters, digits, \".\", \"-\" and \"_\"\n"},
        {"node: ..\n", "1:7: error: node is no name of a node: write at most 253 letters, digits, \".\", \"-\" and \"_\"\n"},
        {"trustDomain: spiffe://a\n",
         "1:14: error: trustDomain is \"spiffe://a\": write a trust domain: at most 255 of a-z, 0-9, \".\", \"_\" "
         "and \"-\", without spiffe://\n"},
        {"trustDomainAliases: [a, a]\n", "1:25: error: trustDomainAliases has \"a\" twice: keep one\n"},
        {"trustDomainAliases: [cluster.local]\n",
         "1:21: error: trustDomainAliases names the trust domain itself: remove it from the list\n"},
        {"meshDir: \"\"\n", "1:10: error: meshDir is empty: write a value, or remove the key to get the default\n"},
        {"workers: 0\n", "1:10: error: workers must be auto or a number from 1 to 64\n"},
        {"cpuLatency: on\n", "1:13: error: cpuLatency is \"on\": write off, or microseconds from 0us to 1000000us\n"},
        {"cpuLatency: 20\n", "1:13: error: cpuLatency is \"20\": write off, or microseconds from 0us to 1000000us\n"},
        {"cpuLatency: 1000001us\n", "1:13: error: cpuLatency is \"1000001us\": write off, or microseconds from 0us to 1000000us\n"},
        {"cpuLatency: -1us\n", "1:13: error: cpuLatency is \"-1us\": write off, or microseconds from 0us to 1000000us\n"},
        {"cpuLatency: us\n", "1:13: error: cpuLatency is \"us\": write off, or microseconds from 0us to 1000000us\n"},
        {"workers: many\n", "1:10: error: workers must be auto or a number from 1 to 64\n"},
        {"limits: {meshBytes: 512MB}\n",
         "1:21: error: limits.meshBytes is \"512MB\": write a size from 64KiB to 16GiB, such as 512MiB\n"},
        {"limits: {handshakesPerSecondPerSource: 0}\n",
         "1:40: error: limits.handshakesPerSecondPerSource is \"0\": write a decimal number from 1 to 1000000\n"},
        {"drainTimeout: 25\n", "1:15: error: drainTimeout is \"25\": write a duration with its units, such as 25s, 24h or 1h30m\n"},
        {"drainTimeout: 2h\n", "1:15: error: drainTimeout is \"2h\": write a duration from 0s to 1h\n"},
        {"ca: {ttl: 91d}\n", "1:11: error: ca.ttl is \"91d\": write a duration from 10s to 90d\n"},
        {"ca: {rotateAt: 80}\n",
         "1:16: error: ca.rotateAt must be a number from 0.1 to 0.95, the part of the lifetime that has passed\n"},
        {"ca: {rotateAt: .nan}\n",
         "1:16: error: ca.rotateAt must be a number from 0.1 to 0.95, the part of the lifetime that has passed\n"},
        {"ca: {provider: files}\n",
         "1:16: error: ca.provider files needs ca.dir: write the directory with ca-cert.pem, ca-key.pem, "
         "cert-chain.pem and root-cert.pem\n"},
        {"ca: {dir: /x}\n", "1:11: error: ca.dir is for ca.provider: files only: remove it, or write provider: files\n"},
        {"ca: {bundles: {A/b: /x}}\n", "1:16: error: ca.bundles has \"A/b\", which is no trust domain: write trust domain: file\n"},
        {"trustDomain: o.example\nca: {bundles: {o.example: /x}}\n",
         "2:15: error: ca.bundles has our own trust domain, o.example, whose roots come from the CA (ca.dir): remove it\n"},
        {"ca: {provider: istio, address: istiod}\n",
         "1:32: error: ca.address is \"istiod\": write HOST:PORT, such as istiod.istio-system.svc:15012\n"},
        {"ca: {provider: istio, address: \"*:15012\"}\n",
         "1:32: error: ca.address is \"*:15012\": write HOST:PORT, such as istiod.istio-system.svc:15012\n"},
        {"ca: {token: /t}\n", "1:13: error: ca.token is for ca.provider: istio only: remove it, or write provider: istio\n"},
        {"ca: {provider: istio, listen: \"*:15012\"}\n",
         "1:31: error: ca.listen needs a CA of our own, and with ca.provider istio another one signs: remove it\n"},
        {"ca: {listen: \"*:15012\"}\n",
         "1:14: error: ca.listen needs a proof that callers can give: write ca.jwt (issuer, jwks), or "
         "clientCertificates: true\n"},
        {"ca: {jwt: {issuer: x}}\n",
         "1:20: error: ca.jwt.issuer needs ca.jwt.jwks, the file of the issuer's keys: tokens are believed "
         "with both, so write it, or remove both\n"},
        {"ca: {listen: \"*:15012\", clientCertificates: true, jwt: {jwks: /k}}\n",
         "1:63: error: ca.jwt.jwks needs ca.jwt.issuer: tokens are believed with both, so write it, or remove both\n"},
        {"ca: {trustedNodeAccounts: [ztunnel]}\n", "1:28: error: ca.trustedNodeAccounts has \"ztunnel\": write "
                                                   "NAMESPACE/SERVICEACCOUNT, such as istio-system/ztunnel\n"},
        {"ca: {serverNames: [\"a:1\"]}\n",
         "1:20: error: ca.serverNames has \"a:1\": write a DNS name or an address without a port\n"},
        {"ca: {clientCertificates: 1}\n", "1:26: error: ca.clientCertificates must be true or false, not a number\n"},
        {"admin: {metrics: 15020}\n", "1:18: error: admin.metrics must be a string, not a number: write \"15020\" in quotes\n"},
        {"admin: {metrics: \"localhost\"}\n", "1:18: error: admin.metrics is \"localhost\": write \"*:15020\" for both families, "
                                              "\"localhost:15000\", an address and port, or \"\" for off\n"},
        {"admin: {metrics: \"*:15021\"}\n",
         "1:18: error: admin.metrics and admin.ready have the same port 15021: give each its own\n"},
        {"listen: {hbone: 15006}\n", "1:17: error: listen.hbone and listen.inbound have the same port 15006: give each its own\n"},
        {"listen: {hbone: 0}\n", "1:17: error: listen.hbone is \"0\": write a decimal number from 1 to 65535\n"},
        {"log: {level: warning}\n", "1:14: error: log.level is \"warning\": did you mean warn? Write error, warn, info or debug\n"},
        {"capture: {acceleration: true}\n", "1:25: error: capture.acceleration is \"true\": write auto, on or off\n"},
        {"node: a\nnode: b\n", "2:1: error: key \"node\" is here a second time; the first is at 1:1: keep one\n"},
        {"node: a\n---\nnode: b\n",
         "3:1: error: the node file has one document: remove the second one, and the \"---\" before it\n"},
        {"node: [a\n", "2:1: error: list is not closed: write ]\n"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        char said[1024];
        snprintf(said, sizeof(said), "n.yaml:%s", rows[i].said);
        assert_null(load(rows[i].text, said));
    }
}

static void all_errors_at_once(void **state) {
    assert_null(load("node: 1\nworkers: x\nlog: {level: 3}\n",
                     "n.yaml:1:7: error: node must be a string, not a number: write \"1\" in quotes\n"
                     "n.yaml:2:10: error: workers must be auto or a number from 1 to 64\n"
                     "n.yaml:3:14: error: log.level is \"3\": write error, warn, info or debug\n"));
}

static void what_is_not_there_is_told(void **state) {
    cleanup(node_config_freep) struct node_config *c = load(
        "capture:\n  acceleration: on\n  sameNode: kernel\n",
        "n.yaml:2:17: warning: capture.acceleration stays off: what Linux hands past TCP has no bound while its reader stands "
        "still, and is not seen by readers that splice; write auto or off\n"
        "n.yaml:3:13: warning: capture.sameNode stays tunnel: traffic within a node takes a tunnel, too, in this version; write "
        "tunnel\n");
    assert_non_null(c);
}

static void files_that_are_none(void **state) {
    struct diag_list l = DIAG_LIST_NULL;
    struct node_config *c = NULL;
    char path[512];
    scratch_init(&scratch);
    assert_int_equal(node_config_load(scratch_path(&scratch, "none.yaml", path), &l, &c), 1);
    assert_int_equal(node_config_load(scratch.dir, &l, &c), 1);
    cleanup_free char *seen = scratch_diags(&scratch, &l);
    assert_string_equal(
        seen,
        ":0:0: error: the node file is no regular file: name the file itself\n"
        "none.yaml:0:0: error: the node file cannot be read (No such file or directory): create it, or name another with -c\n");
    assert_null(c);
    diag_list_deinit(&l);
    scratch_deinit(&scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults),
                                       cmocka_unit_test(the_example_is_the_defaults),
                                       cmocka_unit_test(every_key),
                                       cmocka_unit_test(another_ca),
                                       cmocka_unit_test(errors),
                                       cmocka_unit_test(all_errors_at_once),
                                       cmocka_unit_test(what_is_not_there_is_told),
                                       cmocka_unit_test(files_that_are_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
