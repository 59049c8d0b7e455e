/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a CA directory is made whole, read as one set, and refused with the file's name and the mend when anything is off.
 * Method: real directories, spoiled one file at a time; openssl judges the chain as a second opinion. */
#include <string.h>
#include <sys/stat.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/ca/files.h>

#include "unit.h"

static char base[256], root_dir[300], node_dir[300], why[CA_WHY_BYTES];

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    unit_directory(base);
    snprintf(root_dir, sizeof(root_dir), "%s/root", base);
    snprintf(node_dir, sizeof(node_dir), "%s/node", base);
    assert_int_equal(ca_dir_init(root_dir, STR("cluster.local"), clock_wall_s(), why), 0);
    assert_int_equal(ca_dir_issue_node(root_dir, STR("node-1"), node_dir, false, clock_wall_s(), why), 0);
    return 0;
}

static int unmake(void **state) {
    char command[4096];
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

static mode_t mode_of(const char *dir, const char *file) {
    char path[400];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void made_whole(void **state) {
    struct ca_dir root = CA_DIR_NULL, node = CA_DIR_NULL;
    assert_int_equal(ca_dir_load(root_dir, clock_wall_s(), &root, why), 0);
    assert_int_equal(ca_dir_load(node_dir, clock_wall_s(), &node, why), 0);
    assert_int_equal(root.chain.n, 0); /* a root is not sent */
    assert_int_equal(node.chain.n, 1); /* the node's signing certificate is */
    assert_int_equal(node.roots.n, 1);
    assert_memory_equal(node.roots.items[0].at, root.cert.items[0].at, root.cert.items[0].n);
    struct tls_cert_facts facts;
    assert_int_equal(tls_cert_read(node.cert.items[0].at, node.cert.items[0].n, &facts), 0);
    assert_true(facts.is_ca && facts.has_path_len && facts.key_cert_sign && facts.crl_sign);
    assert_int_equal(facts.path_len, 0);
    assert_string_equal(facts.subject_cn, "node-1");
    assert_string_equal(facts.subject_o, "cluster.local");
    ca_dir_deinit(&root);
    ca_dir_deinit(&node);
    assert_int_equal(mode_of(base, "node"), 0700);
    assert_int_equal(mode_of(node_dir, "ca-key.pem"), 0600);
    char command[4096];
    snprintf(command, sizeof(command), "openssl verify -x509_strict -CAfile %s/root-cert.pem %s/ca-cert.pem >/dev/null", root_dir,
             node_dir);
    assert_int_equal(system(command), 0);
}

static void never_overwritten(void **state) {
    assert_int_equal(ca_dir_init(root_dir, STR("cluster.local"), clock_wall_s(), why), 1);
    assert_non_null(strstr(why, "ca-cert.pem"));
    assert_int_equal(ca_dir_issue_node(root_dir, STR("node-2"), node_dir, false, clock_wall_s(), why), 1);
    assert_non_null(strstr(why, "not overwritten"));
}

static void names_are_checked(void **state) {
    static const char *const bad_domains[] = {"", "UPPER", "a/b", "a b"}, *const bad_nodes[] = {"", "a/b", "../x", "a b"};
    char out[320];
    snprintf(out, sizeof(out), "%s/none", base);
    for (size_t i = 0; i < array_size(bad_domains); i++)
        assert_int_equal(ca_dir_init(out, str_of(bad_domains[i]), clock_wall_s(), why), 1);
    for (size_t i = 0; i < array_size(bad_nodes); i++)
        assert_int_equal(ca_dir_issue_node(root_dir, str_of(bad_nodes[i]), out, false, clock_wall_s(), why), 1);
    assert_int_equal(access(out, F_OK), -1);
}

/* Loads with one file replaced by `bytes` (NULL: removed), then puts it back. */
static void load_spoiled(const char *file, const char *bytes, const char *word) {
    char path[400], *old = NULL;
    size_t n;
    struct ca_dir d = CA_DIR_NULL;
    snprintf(path, sizeof(path), "%s/%s", node_dir, file);
    assert_int_equal(io_read_file(path, 1 << 20, &old, &n), 0);
    if (bytes)
        assert_int_equal(io_write_file(path, bytes, strlen(bytes), 0600), 0);
    else
        assert_int_equal(unlink(path), 0);
    assert_int_equal(ca_dir_load(node_dir, clock_wall_s(), &d, why), 1);
    assert_non_null(strstr(why, file));
    if (!strstr(why, word))
        fail_msg("'%s' lacks '%s'", why, word);
    assert_int_equal(io_write_file(path, old, n, 0600), 0);
    free(old);
}

static void spoiled(void **state) {
    static const char *const files[] = {"ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"};
    for (size_t i = 0; i < array_size(files); i++) {
        load_spoiled(files[i], NULL, "missing");
        load_spoiled(files[i], "nothing of the kind\n", "PEM");
    }
    char other[300], path[400], *key = NULL, *root = NULL;
    size_t n;
    snprintf(other, sizeof(other), "%s/other", base);
    assert_int_equal(ca_dir_init(other, STR("cluster.local"), clock_wall_s(), why), 0);
    snprintf(path, sizeof(path), "%s/ca-key.pem", other);
    assert_int_equal(io_read_file(path, 1 << 20, &key, &n), 0);
    load_spoiled("ca-key.pem", key, "not the key");
    snprintf(path, sizeof(path), "%s/root-cert.pem", other);
    assert_int_equal(io_read_file(path, 1 << 20, &root, &n), 0);
    struct ca_dir d = CA_DIR_NULL;
    snprintf(path, sizeof(path), "%s/root-cert.pem", node_dir);
    char *own = NULL;
    size_t n_own;
    assert_int_equal(io_read_file(path, 1 << 20, &own, &n_own), 0);
    assert_int_equal(io_write_file(path, root, n, 0600), 0);
    assert_int_equal(ca_dir_load(node_dir, clock_wall_s(), &d, why), 1);
    assert_non_null(strstr(why, "does not chain"));
    assert_int_equal(io_write_file(path, own, n_own, 0600), 0);
    free(key);
    free(root);
    free(own);
}

static void out_of_time(void **state) {
    struct ca_dir d = CA_DIR_NULL;
    assert_int_equal(ca_dir_load(node_dir, clock_wall_s() + (CA_NODE_DAYS + 1) * 86400L, &d, why), 1);
    assert_non_null(strstr(why, "expired"));
    assert_int_equal(ca_dir_load(node_dir, clock_wall_s() - 86400, &d, why), 1);
    assert_non_null(strstr(why, "clock"));
}

static void kubernetes_form(void **state) {
    char command[4096], dir[300];
    struct ca_dir d = CA_DIR_NULL;
    snprintf(dir, sizeof(dir), "%s/tls", base);
    snprintf(command, sizeof(command),
             "mkdir %s && cp %s/ca-cert.pem %s/tls.crt && cp %s/ca-key.pem %s/tls.key && cp %s/root-cert.pem %s/ca.crt", dir,
             node_dir, dir, node_dir, dir, node_dir, dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(ca_dir_load(dir, clock_wall_s(), &d, why), 0);
    assert_int_equal(d.chain.n, 1);
    ca_dir_deinit(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(made_whole),        cmocka_unit_test(never_overwritten),
                                       cmocka_unit_test(names_are_checked), cmocka_unit_test(spoiled),
                                       cmocka_unit_test(out_of_time),       cmocka_unit_test(kubernetes_form)};
    return cmocka_run_group_tests(tests, make, unmake);
}
