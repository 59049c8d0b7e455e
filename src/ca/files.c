/* SPDX-License-Identifier: GPL-3.0-or-later
 * files.c - CA directories: read and verified as one set, written so that a crash leaves the old or the new
 *
 * The rules are facts/identity.md 1.7: all files of one form or none; the key is the signing certificate's; that is a CA;
 * it chains to a root of the same directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/ca/files.h>

enum { CA_FILE_MAX = 256 * 1024, CA_PATH_MAX = 4096, DAY_S = 86400 };

struct form { /* names of one of the two forms */
    const char *cert, *key, *chain, *root;
};
static const struct form istio_form = {"ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"};
static const struct form tls_form = {"tls.crt", "tls.key", "tls.crt", "ca.crt"};

/* Bounded text for people; a long path may cut it. */
static void printf_like(2, 3) say(char why[CA_WHY_BYTES], const char *fmt, ...) {
    struct text t = {.at = why, .cap = CA_WHY_BYTES};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
}

static int refuse(char why[CA_WHY_BYTES], const char *dir, const char *file, const char *text) {
    say(why, "%s/%s: %s", dir, file, text);
    return 1;
}

static bool file_exists(const char *dir, const char *file) {
    char path[CA_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return access(path, F_OK) == 0;
}

/* 0; 1 with why; -errno of memory. */
static int read_pem(const char *dir, const char *file, char **ret, size_t *ret_n, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int r = io_read_file(path, CA_FILE_MAX, ret, ret_n);
    if (r == -ENOENT)
        return refuse(why, dir, file,
                      "is missing; the directory needs ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem "
                      "(ringwallctl ca issue-node writes them), or tls.crt, tls.key and ca.crt");
    if (r < 0) {
        say(why, "%s: cannot be read: %s", path, strerror(-r));
        return 1;
    }
    return 0;
}

static int read_certs(const char *dir, const char *file, size_t n_max, struct tls_der_list *ret, char why[CA_WHY_BYTES]) {
    cleanup_free char *pem = NULL;
    size_t n = 0;
    int r = read_pem(dir, file, &pem, &n, why);
    if (r != 0)
        return r;
    r = tls_certs_from_pem((struct str){pem, n}, n_max, ret);
    if (r < 0)
        return err_trace(r);
    if (r != 0 || ret->n == 0)
        return refuse(why, dir, file, "holds no readable certificates in PEM form, or too many");
    return 0;
}

static int read_key(const char *dir, const char *file, struct tls_key **ret, char why[CA_WHY_BYTES]) {
    char *pem = NULL;
    size_t n = 0;
    int r = read_pem(dir, file, &pem, &n, why);
    if (r != 0)
        return r;
    r = tls_key_from_pem((struct str){pem, n}, ret);
    secret_wipe(pem, n);
    free(pem);
    if (r < 0)
        return err_trace(r);
    if (r == TLS_KEY_MALFORMED)
        return refuse(why, dir, file, "is no unencrypted private key in PEM form");
    if (r == TLS_KEY_UNSUPPORTED)
        return refuse(why, dir, file,
                      "is a kind of key that cannot sign here: use ECDSA P-256 or P-384, or RSA of 2048 bits or more");
    return 0;
}

static bool der_is(const struct tls_der *a, const struct tls_der *b) { return a->n == b->n && !memcmp(a->at, b->at, a->n); }

static bool is_root(const struct tls_der_list *roots, const struct tls_der *cert) {
    for (size_t i = 0; i < roots->n; i++)
        if (der_is(&roots->items[i], cert))
            return true;
    return false;
}

/* The signing certificate, then what stands above it in the file, without the roots: what a leaf is sent with. */
static int make_chain(const struct tls_der_list *file, struct ca_dir *d) {
    const struct tls_der *cert = &d->cert.items[0];
    if (is_root(&d->roots, cert))
        return 0;
    int r = tls_der_list_add(&d->chain, cert->at, cert->n);
    for (size_t i = 0; r == 0 && i < file->n; i++)
        if (!der_is(&file->items[i], cert) && !is_root(&d->roots, &file->items[i]))
            r = tls_der_list_add(&d->chain, file->items[i].at, file->items[i].n);
    return err_trace(r);
}

/* Each certificate of the chain is a CA in time and signs the one below; the last is signed by a root. */
static int verify_chain(const char *dir, const struct form *form, const struct ca_dir *d, int64_t now_s, char why[CA_WHY_BYTES]) {
    const struct tls_der_list *up = d->chain.n > 0 ? &d->chain : &d->cert;
    for (size_t i = 0; i < up->n; i++) {
        struct tls_cert_facts facts;
        const char *file = i == 0 ? form->cert : form->chain;
        if (tls_cert_read(up->items[i].at, up->items[i].n, &facts) != 0)
            return refuse(why, dir, file, "holds a certificate that cannot be read");
        if (!facts.is_ca || (facts.has_key_usage && !facts.key_cert_sign))
            return refuse(why, dir, file, "is not a CA certificate: it needs basicConstraints CA:TRUE and keyUsage keyCertSign");
        if (now_s < facts.not_before)
            return refuse(why, dir, file, "is not valid yet: is this machine's clock right?");
        if (now_s >= facts.not_after)
            return refuse(why, dir, file, "has expired: issue a new one (ringwallctl ca issue-node)");
        if (i + 1 < up->n && !tls_cert_signed_by(up->items[i].at, up->items[i].n, up->items[i + 1].at, up->items[i + 1].n))
            return refuse(why, dir, form->chain, "is out of order: each certificate must be signed by the next");
    }
    const struct tls_der *top = &up->items[up->n - 1];
    if (is_root(&d->roots, top))
        return 0;
    for (size_t i = 0; i < d->roots.n; i++)
        if (tls_cert_signed_by(top->at, top->n, d->roots.items[i].at, d->roots.items[i].n))
            return 0;
    return refuse(why, dir, form->cert, "does not chain to a root of the same directory");
}

void ca_dir_deinit(struct ca_dir *d) {
    d->key = tls_key_free(d->key);
    tls_der_list_deinit(&d->cert);
    tls_der_list_deinit(&d->chain);
    tls_der_list_deinit(&d->roots);
    *d = CA_DIR_NULL;
}

static int load_into(const char *dir, const struct form *form, int64_t now_s, struct ca_dir *d, char why[CA_WHY_BYTES]) {
    struct tls_der_list first cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    int r = read_certs(dir, form->cert, TLS_CHAIN_MAX, &first, why);
    if (r == 0)
        r = read_key(dir, form->key, &d->key, why);
    if (r == 0)
        r = read_certs(dir, form->chain, TLS_CHAIN_MAX, &chain, why);
    if (r == 0)
        r = read_certs(dir, form->root, TLS_BUNDLE_MAX, &d->roots, why);
    if (r == 0)
        r = tls_der_list_add(&d->cert, first.items[0].at, first.items[0].n);
    if (r != 0)
        return r;
    if (!tls_cert_matches_key(first.items[0].at, first.items[0].n, d->key))
        return refuse(why, dir, form->key, "is not the key of the signing certificate beside it");
    r = make_chain(&chain, d);
    return r != 0 ? r : verify_chain(dir, form, d, now_s, why);
}

int ca_dir_load(const char *dir, int64_t now_s, struct ca_dir *ret, char why[CA_WHY_BYTES]) {
    struct ca_dir d = CA_DIR_NULL;
    const struct form *form = file_exists(dir, tls_form.cert) && !file_exists(dir, istio_form.cert) ? &tls_form : &istio_form;
    int r = load_into(dir, form, now_s, &d, why);
    if (r != 0) {
        ca_dir_deinit(&d);
        return r;
    }
    *ret = d;
    return 0;
}

static int write_file(const char *dir, const char *file, const void *bytes, size_t n, mode_t mode, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
        return refuse(why, dir, file, "the path is too long");
    int r = io_write_file(path, bytes, n, mode);
    if (r == 0)
        return 0;
    say(why, "%s: cannot be written: %s", path, strerror(-r));
    return 1;
}

static int write_certs(const char *dir, const char *file, const struct tls_der_list *certs, char why[CA_WHY_BYTES]) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    int r = tls_certs_to_pem(certs, &pem);
    if (r != 0 || pem.failed)
        return err_origin(r < 0 ? r : -ENOMEM);
    return write_file(dir, file, pem.at, pem.n, 0644, why);
}

/* The signing certificate is written last: a directory without it is no CA yet, so a crash leaves nothing half-made in use. */
static int write_dir(const char *dir, const struct ca_dir *d, char why[CA_WHY_BYTES]) {
    int r = io_make_dirs(dir, 0700);
    if (r < 0) {
        say(why, "%s: cannot be made: %s", dir, strerror(-r));
        return 1;
    }
    struct secret pem cleanup(secret_deinit) = SECRET_NULL;
    r = tls_key_to_pem(d->key, &pem);
    if (r != 0)
        return err_trace(r);
    r = write_file(dir, istio_form.key, pem.at, pem.n, 0600, why);
    if (r == 0)
        r = write_certs(dir, istio_form.root, &d->roots, why);
    if (r == 0)
        r = write_certs(dir, istio_form.chain, &d->chain, why);
    if (r == 0)
        r = write_certs(dir, istio_form.cert, &d->cert, why);
    return r;
}

static int refuse_to_overwrite(const char *dir, char why[CA_WHY_BYTES]) {
    if (!file_exists(dir, istio_form.cert))
        return 0;
    return refuse(why, dir, istio_form.cert,
                  "exists already and is not overwritten: choose another directory, or move this one away");
}

int ca_dir_init(const char *dir, struct str trust_domain, int64_t now_s, char why[CA_WHY_BYTES]) {
    if (!trust_domain_valid(trust_domain)) {
        say(why, "'" STR_FMT "' is no trust domain: 1 to 255 of a-z, 0-9, dot, dash, underscore", STR_ARG(trust_domain));
        return 1;
    }
    int r = refuse_to_overwrite(dir, why);
    if (r != 0)
        return r;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct tls_ca_spec spec = {.trust_domain = trust_domain,
                               .path_len = -1,
                               .not_before = now_s - TLS_BACKDATE_S,
                               .not_after = now_s + (int64_t)CA_ROOT_YEARS * 365 * DAY_S};
    struct tls_der root = {0};
    r = tls_key_generate(&d.key);
    if (r == 0)
        r = tls_issue_root(d.key, &spec, &root);
    if (r == 0)
        r = tls_der_list_add(&d.cert, root.at, root.n);
    if (r == 0)
        r = tls_der_list_add(&d.chain, root.at, root.n);
    if (r == 0)
        r = tls_der_list_add(&d.roots, root.at, root.n);
    free(root.at);
    return r != 0 ? err_fold(r) : write_dir(dir, &d, why);
}

/* What a new node certificate is written with: itself, then the issuer's chain without roots. */
static int fill_node(const struct ca_dir *issuer, const struct tls_der *cert, struct ca_dir *d) {
    int r = tls_der_list_add(&d->cert, cert->at, cert->n);
    if (r == 0)
        r = tls_der_list_add(&d->chain, cert->at, cert->n);
    for (size_t i = 0; r == 0 && i < issuer->chain.n; i++)
        r = tls_der_list_add(&d->chain, issuer->chain.items[i].at, issuer->chain.items[i].n);
    if (r == 0)
        r = tls_der_list_copy(&d->roots, &issuer->roots);
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

int ca_dir_issue_node(const char *dir, struct str node, const char *out_dir, bool renew, int64_t now_s, char why[CA_WHY_BYTES]) {
    if (!node_name_valid(node)) {
        say(why, "'" STR_FMT "' is no node name: 1 to 63 letters, digits, dots, dashes, underscores", STR_ARG(node));
        return 1;
    }
    struct ca_dir issuer cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    int r = renew ? 0 : refuse_to_overwrite(out_dir, why);
    if (r == 0)
        r = ca_dir_load(dir, now_s, &issuer, why);
    if (r != 0)
        return r;
    struct tls_cert_facts facts;
    if (tls_cert_read(issuer.cert.items[0].at, issuer.cert.items[0].n, &facts) != 0 || facts.subject_o[0] == '\0')
        return refuse(why, dir, istio_form.cert, "names no trust domain (subject O): make the root with ringwallctl ca init");
    struct tls_ca_spec spec = {.trust_domain = str_of(facts.subject_o),
                               .node = node,
                               .path_len = 0,
                               .not_before = now_s - TLS_BACKDATE_S,
                               .not_after = min_of(now_s + (int64_t)CA_NODE_DAYS * DAY_S, facts.not_after)};
    struct tls_issuer sign = {.key = issuer.key, .cert = issuer.cert.items[0].at, .cert_n = issuer.cert.items[0].n};
    struct tls_der cert = {0};
    r = tls_key_generate(&d.key);
    if (r == 0)
        r = tls_issue_ca(&sign, d.key, &spec, &cert);
    if (r == 0)
        r = fill_node(&issuer, &cert, &d);
    free(cert.at);
    return r != 0 ? err_fold(r) : write_dir(out_dir, &d, why);
}
