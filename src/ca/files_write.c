/* SPDX-License-Identifier: GPL-3.0-or-later
 * files_write.c - CA directories made: roots, node signing certificates, their renewal; each file by rename */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/crl.h>
#include <ringwall/tls/hash.h>

#include "audit.h"
#include "files_private.h"
#include "hex.h"

int ca_write_file(const char *dir, const char *file, const void *bytes, size_t n, mode_t mode, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    if (!ca_path(dir, file, path))
        return ca_refuse(why, dir, file, "the path is too long");
    int r = io_write_file(path, bytes, n, mode);
    if (r == 0)
        return 0;
    ca_say(why, "%s: cannot be written: %s", path, strerror(-r));
    return 1;
}

int ca_write_certs(const char *dir, const char *file, const struct tls_der_list *certs, char why[CA_WHY_BYTES]) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    int r = tls_certs_to_pem(certs, &pem);
    if (r != 0 || pem.failed)
        return err_origin(r < 0 ? r : -ENOMEM);
    return ca_write_file(dir, file, pem.at, pem.n, 0644, why);
}

int ca_write_key(const char *dir, const char *file, const struct tls_key *key, char why[CA_WHY_BYTES]) {
    struct secret pem cleanup(secret_deinit) = SECRET_NULL;
    int r = tls_key_to_pem(key, &pem);
    return r != 0 ? err_trace(r) : ca_write_file(dir, file, pem.at, pem.n, 0600, why);
}

int ca_write_crls(const char *dir, const struct tls_der_list *crls, char why[CA_WHY_BYTES]) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    if (crls->n == 0)
        return ca_remove(dir, CA_FILE_CRL, why);
    for (size_t i = 0; i < crls->n; i++) {
        int r = tls_der_to_pem(&crls->items[i], "X509 CRL", &pem);
        if (r != 0)
            return err_trace(r);
    }
    return ca_write_file(dir, CA_FILE_CRL, pem.at, pem.n, 0644, why);
}

int ca_remove(const char *dir, const char *file, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    if (!ca_path(dir, file, path))
        return ca_refuse(why, dir, file, "the path is too long");
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    ca_say(why, "%s: cannot be removed: %s", path, strerror(errno));
    return 1;
}

/* The signing certificate is written last: a directory without it is no CA yet, so a crash leaves nothing half-made in use. */
static int write_dir(const char *dir, const struct ca_dir *d, char why[CA_WHY_BYTES]) {
    int r = io_make_dirs(dir, 0700);
    if (r < 0) {
        ca_say(why, "%s: cannot be made: %s", dir, strerror(-r));
        return 1;
    }
    r = ca_write_key(dir, CA_FILE_KEY, d->key, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_ROOT, &d->roots, why);
    if (r == 0)
        r = ca_write_crls(dir, &d->crls, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_CHAIN, d->chain.n ? &d->chain : &d->cert, why);
    return r != 0 ? r : ca_write_certs(dir, CA_FILE_CERT, &d->cert, why);
}

/* Between the key's rename and the certificate's a reader finds the key in next-cert.pem (files.c, take_next). */
int ca_dir_replace(const char *dir, const struct ca_dir *d, char why[CA_WHY_BYTES]) {
    int r = ca_write_key(dir, CA_FILE_NEXT_KEY, d->key, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_NEXT_CERT, &d->cert, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_CHAIN, d->chain.n ? &d->chain : &d->cert, why);
    if (r == 0)
        r = ca_write_key(dir, CA_FILE_KEY, d->key, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_CERT, &d->cert, why);
    if (r == 0)
        r = ca_remove(dir, CA_FILE_NEXT_KEY, why);
    return r != 0 ? r : ca_remove(dir, CA_FILE_NEXT_CERT, why);
}

int ca_dir_record(const char *dir, int64_t now_s, const struct audit_entry *e, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    struct audit *a = NULL;
    if (!ca_path(dir, CA_FILE_AUDIT, path))
        return ca_refuse(why, dir, CA_FILE_AUDIT, "the path is too long");
    int r = audit_open(path, 0, now_s, &a, NULL);
    if (r == 0)
        r = audit_add(a, now_s, e);
    if (r == 0)
        r = audit_flush(a, true);
    audit_close(a);
    if (r < 0)
        ca_say(why, "%s: cannot be written: %s", path, strerror(-r));
    return r < 0 ? 1 : 0;
}

static int record_issue(const char *dir, struct str node, const struct tls_der *cert, const struct tls_der *issuer, int64_t now_s,
                        char why[CA_WHY_BYTES]) {
    struct tls_cert_facts facts;
    char serial[2 * TLS_SERIAL_MAX + 1], by[SHA256_HEX], name[80];
    if (tls_cert_read(cert->at, cert->n, &facts) != 0)
        return err_origin(-EINVAL);
    hex_format(facts.serial, facts.serial_n, serial);
    tls_sha256_hex(issuer->at, issuer->n, by);
    struct text t = TEXT_OVER(name);
    text_addf(&t, "node/" STR_FMT, STR_ARG(node));
    struct audit_entry e = {.event = "issued",
                            .what = "node",
                            .caller = "operator",
                            .identity = text_str(&t),
                            .serial_hex = serial,
                            .issuer_hex = by,
                            .not_before = facts.not_before,
                            .not_after = facts.not_after};
    return ca_dir_record(dir, now_s, &e, why);
}

static int refuse_to_overwrite(const char *dir, char why[CA_WHY_BYTES]) {
    if (!ca_file_exists(dir, CA_FILE_CERT))
        return 0;
    return ca_refuse(why, dir, CA_FILE_CERT,
                     "exists already and is not overwritten: choose another directory, move this one away, or renew a node's "
                     "certificate with --renew");
}

int ca_dir_init(const char *dir, struct str trust_domain, int64_t now_s, char why[CA_WHY_BYTES]) {
    if (!trust_domain_valid(trust_domain)) {
        ca_say(why, "'" STR_FMT "' is no trust domain: 1 to 255 of a-z, 0-9, dot, dash, underscore", STR_ARG(trust_domain));
        return 1;
    }
    int r = refuse_to_overwrite(dir, why);
    if (r != 0)
        return r;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct tls_der root = {0};
    r = ca_root_make(trust_domain, now_s, &d.key, &root);
    if (r == 0)
        r = tls_der_list_add(&d.cert, root.at, root.n);
    if (r == 0)
        r = tls_der_list_add(&d.roots, root.at, root.n);
    free(root.at);
    return r != 0 ? err_fold(r) : write_dir(dir, &d, why);
}

int ca_root_make(struct str trust_domain, int64_t now_s, struct tls_key **ret_key, struct tls_der *ret) {
    struct tls_ca_spec spec = {.trust_domain = trust_domain,
                               .path_len = -1,
                               .not_before = now_s - TLS_BACKDATE_S,
                               .not_after = now_s + (int64_t)CA_ROOT_YEARS * 365 * CA_DAY_S};
    int r = tls_key_generate(ret_key);
    return r != 0 ? err_trace(r) : err_trace(tls_issue_root(*ret_key, &spec, ret));
}

/* What a new node certificate is written with: itself, the issuer's chain without roots, the roots and lists of now. */
static int fill_node(const struct ca_dir *issuer, const struct tls_der *cert, struct ca_dir *d) {
    int r = tls_der_list_add(&d->cert, cert->at, cert->n);
    if (r == 0)
        r = tls_der_list_add(&d->chain, cert->at, cert->n);
    for (size_t i = 0; r == 0 && i < issuer->chain.n; i++)
        r = tls_der_list_add(&d->chain, issuer->chain.items[i].at, issuer->chain.items[i].n);
    if (r == 0)
        r = tls_der_list_copy(&d->roots, &issuer->roots);
    if (r == 0)
        r = tls_der_list_copy(&d->crls, &issuer->crls);
    return err_trace(r);
}

static bool node_name_valid(struct str node) {
    if (node.n == 0 || node.n > 63)
        return false;
    for (size_t i = 0; i < node.n; i++) {
        char c = node.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

/* Only a certificate of this very node is renewed; one that has expired too, but not a directory of something else. */
static int check_renewal(const char *out_dir, struct str node, char why[CA_WHY_BYTES]) {
    struct tls_der_list old cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_cert_facts facts;
    int r = ca_read_certs(out_dir, CA_FILE_CERT, TLS_CHAIN_MAX, &old, why);
    if (r != 0)
        return r;
    if (tls_cert_read(old.items[0].at, old.items[0].n, &facts) != 0 || !str_is(str_of(facts.subject_cn), node)) {
        ca_say(why, "%s/%s: is not a certificate of node " STR_FMT ": it is of '%s'", out_dir, CA_FILE_CERT, STR_ARG(node),
               facts.subject_cn);
        return 1;
    }
    return 0;
}

/* Roots and lists before the certificate, so that a daemon which follows never sees a certificate without its root. */
static int renew_dir(const char *out_dir, const struct ca_dir *d, char why[CA_WHY_BYTES]) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der_list old cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    int r = ca_read_certs(out_dir, CA_FILE_ROOT, TLS_BUNDLE_MAX, &old, why);
    if (r == 0)
        r = tls_der_list_copy(&roots, &d->roots);
    for (size_t i = 0; r == 0 && i < old.n; i++)
        if (!der_among(&roots, &old.items[i]))
            r = tls_der_list_add(&roots, old.items[i].at, old.items[i].n);
    if (r == 0)
        r = ca_write_certs(out_dir, CA_FILE_ROOT, &roots, why);
    if (r == 0)
        r = ca_write_crls(out_dir, &d->crls, why);
    if (r == 0)
        r = ca_dir_replace(out_dir, d, why);
    return r != 0 ? r : ca_write_certs(out_dir, CA_FILE_ROOT, &d->roots, why);
}

int ca_dir_issue_node(const char *dir, struct str node, const char *out_dir, bool renew, int64_t now_s, char why[CA_WHY_BYTES]) {
    if (!node_name_valid(node)) {
        ca_say(why, "'" STR_FMT "' is no node name: 1 to 63 letters, digits, dots, dashes, underscores", STR_ARG(node));
        return 1;
    }
    struct ca_dir issuer cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    cleanup_fd int lock = -1, out_lock = -1;
    int r = renew ? check_renewal(out_dir, node, why) : refuse_to_overwrite(out_dir, why);
    if (r == 0)
        r = ca_dir_lock(dir, &lock, why);
    if (r == 0 && renew)
        r = ca_dir_lock(out_dir, &out_lock, why);
    if (r == 0)
        r = ca_dir_load(dir, now_s, &issuer, why);
    if (r != 0)
        return r;
    struct tls_cert_facts facts;
    if (tls_cert_read(issuer.cert.items[0].at, issuer.cert.items[0].n, &facts) != 0 || facts.subject_o[0] == '\0')
        return ca_refuse(why, dir, CA_FILE_CERT, "names no trust domain (subject O): make the root with ringwallctl ca init");
    if (facts.has_path_len && facts.path_len == 0)
        return ca_refuse(why, dir, CA_FILE_CERT,
                         "signs workloads and no nodes (path length 0, as a node's own): name the root's directory");
    struct tls_ca_spec spec = {.trust_domain = str_of(facts.subject_o),
                               .node = node,
                               .path_len = 0,
                               .not_before = now_s - TLS_BACKDATE_S,
                               .not_after = min_of(now_s + (int64_t)CA_NODE_DAYS * CA_DAY_S, facts.not_after)};
    struct tls_issuer sign = {.key = issuer.key, .cert = issuer.cert.items[0].at, .cert_n = issuer.cert.items[0].n};
    struct tls_der cert = {0};
    r = tls_key_generate(&d.key);
    if (r == 0)
        r = tls_issue_ca(&sign, d.key, &spec, &cert);
    if (r == 0)
        r = fill_node(&issuer, &cert, &d);
    if (r < 0)
        err_trace(r);
    else /* the record first: what was signed is on record, whether or not it could be written out */
        r = record_issue(dir, node, &cert, &issuer.cert.items[0], now_s, why);
    free(cert.at);
    if (r != 0)
        return r;
    return renew ? renew_dir(out_dir, &d, why) : write_dir(out_dir, &d, why);
}

int ca_dir_publish(const char *dir, const char *out_dir, int64_t now_s, char why[CA_WHY_BYTES]) {
    struct ca_dir from cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct ca_dir to cleanup(ca_dir_deinit) = CA_DIR_NULL;
    cleanup_fd int lock = -1;
    int r = ca_dir_load(dir, now_s, &from, why);
    if (r == 0)
        r = ca_dir_lock(out_dir, &lock, why);
    if (r == 0)
        r = ca_dir_load(out_dir, now_s, &to, why);
    if (r != 0)
        return r;
    if (!der_among(&from.roots, &to.anchor))
        return ca_refuse(why, out_dir, CA_FILE_CERT,
                         "is below a root that would go: renew it first (ringwallctl ca issue-node --renew)");
    r = ca_write_crls(out_dir, &from.crls, why);
    return r != 0 ? r : ca_write_certs(out_dir, CA_FILE_ROOT, &from.roots, why);
}
