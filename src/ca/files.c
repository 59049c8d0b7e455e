/* SPDX-License-Identifier: GPL-3.0-or-later
 * files.c - CA directories, read and verified as one set
 *
 * The rules are facts/identity.md 1.7: all files of one form or none; the key is the signing certificate's; that is a CA;
 * it chains through cert-chain.pem to a root of the same directory; lists of revoked certificates can be read. Files that
 * are replaced while they are read give another try, for a set put together from two is nobody's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/crl.h>

#include "files_private.h"

enum { READ_TRIES = 3 };

struct form { /* names of one of the two forms */
    const char *cert, *key, *chain, *root, *crl;
};
static const struct form istio_form = {CA_FILE_CERT, CA_FILE_KEY, CA_FILE_CHAIN, CA_FILE_ROOT, CA_FILE_CRL};
static const struct form tls_form = {"tls.crt", "tls.key", "tls.crt", "ca.crt", NULL};

/* Bounded text for people; a long path may cut it. */
void ca_say(char why[CA_WHY_BYTES], const char *fmt, ...) {
    struct text t = {.at = why, .cap = CA_WHY_BYTES};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
}

int ca_refuse(char why[CA_WHY_BYTES], const char *dir, const char *file, const char *text) {
    ca_say(why, "%s/%s: %s", dir, file, text);
    return 1;
}

bool ca_path(const char *dir, const char *file, char ret[CA_PATH_MAX]) {
    return snprintf(ret, CA_PATH_MAX, "%s/%s", dir, file) < CA_PATH_MAX;
}

bool ca_file_exists(const char *dir, const char *file) {
    char path[CA_PATH_MAX];
    return ca_path(dir, file, path) && access(path, F_OK) == 0;
}

/* 0; 1 with why; -errno of memory. */
static int read_text(const char *dir, const char *file, size_t n_max, char **ret, size_t *ret_n, char why[CA_WHY_BYTES]) {
    char path[CA_PATH_MAX];
    if (!ca_path(dir, file, path))
        return ca_refuse(why, dir, file, "the path is too long");
    int r = io_read_file(path, n_max, ret, ret_n);
    if (r == -ENOENT)
        return ca_refuse(why, dir, file,
                         "is missing; the directory needs ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem "
                         "(ringwallctl ca issue-node writes them), or tls.crt, tls.key and ca.crt");
    if (r < 0) {
        ca_say(why, "%s: cannot be read: %s", path, strerror(-r));
        return 1;
    }
    return 0;
}

int ca_read_certs(const char *dir, const char *file, size_t n_max, struct tls_der_list *ret, char why[CA_WHY_BYTES]) {
    cleanup_free char *pem = NULL;
    size_t n = 0;
    int r = read_text(dir, file, CA_FILE_MAX, &pem, &n, why);
    if (r != 0)
        return r;
    r = tls_certs_from_pem((struct str){pem, n}, n_max, ret);
    if (r < 0)
        return err_trace(r);
    if (r != 0 || ret->n == 0)
        return ca_refuse(why, dir, file, "holds no readable certificates in PEM form, or too many");
    return 0;
}

int ca_read_key(const char *dir, const char *file, struct tls_key **ret, char why[CA_WHY_BYTES]) {
    char *pem = NULL;
    size_t n = 0;
    int r = read_text(dir, file, CA_FILE_MAX, &pem, &n, why);
    if (r != 0)
        return r;
    r = tls_key_from_pem((struct str){pem, n}, ret);
    secret_wipe(pem, n);
    free(pem);
    if (r < 0)
        return err_trace(r);
    if (r == TLS_KEY_MALFORMED)
        return ca_refuse(why, dir, file, "is no unencrypted private key in PEM form");
    if (r == TLS_KEY_UNSUPPORTED)
        return ca_refuse(why, dir, file,
                         "is a kind of key that cannot sign here: use ECDSA P-256 or P-384, or RSA of 2048 bits or more");
    return 0;
}

bool der_among(const struct tls_der_list *l, const struct tls_der *d) {
    for (size_t i = 0; i < l->n; i++)
        if (der_same(&l->items[i], d))
            return true;
    return false;
}

static const struct tls_der *signer_of(const struct tls_der_list *l, const struct tls_der *d) {
    for (size_t i = 0; i < l->n; i++)
        if (!der_same(&l->items[i], d) && tls_cert_signed_by(d->at, d->n, l->items[i].at, l->items[i].n))
            return &l->items[i];
    return NULL;
}

/* A certificate of the chain: a CA's, in time. */
static int verify_ca(const char *dir, const char *file, const struct tls_der *cert, int64_t now_s, char why[CA_WHY_BYTES]) {
    struct tls_cert_facts facts;
    if (tls_cert_read(cert->at, cert->n, &facts) != 0)
        return ca_refuse(why, dir, file, "holds a certificate that cannot be read");
    if (!facts.is_ca || (facts.has_key_usage && !facts.key_cert_sign))
        return ca_refuse(why, dir, file, "is not a CA certificate: it needs basicConstraints CA:TRUE and keyUsage keyCertSign");
    if (now_s < facts.not_before)
        return ca_refuse(why, dir, file, "is not valid yet: is this machine's clock right?");
    if (now_s >= facts.not_after)
        return ca_refuse(why, dir, file, "has expired: issue a new one (ringwallctl ca issue-node --renew)");
    return 0;
}

/* From the signing certificate up to a root, each step by signature; what else stands in the file does not matter (it
 * often holds the root too, and during a renewal the next certificate). Fills chain and anchor. */
static int make_chain(const char *dir, const struct form *form, const struct tls_der_list *file, int64_t now_s, struct ca_dir *d,
                      char why[CA_WHY_BYTES]) {
    const struct tls_der *top = &d->cert.items[0];
    for (;;) {
        int r = verify_ca(dir, d->chain.n == 0 ? form->cert : form->chain, top, now_s, why);
        if (r != 0)
            return r;
        if (der_among(&d->roots, top)) {
            d->anchor = *top;
            break;
        }
        r = tls_der_list_add(&d->chain, top->at, top->n);
        if (r != 0)
            return err_trace(r);
        const struct tls_der *up = signer_of(&d->roots, top);
        if (up) {
            d->anchor = *up;
            return 0;
        }
        up = signer_of(file, top);
        if (!up || der_among(&d->chain, up) || d->chain.n == TLS_CHAIN_MAX - 1)
            return ca_refuse(why, dir, form->cert, "does not chain to a root of the same directory");
        top = up;
    }
    for (size_t i = 0; i < d->roots.n; i++) /* the anchor borrows from roots, which outlive the file's list */
        if (der_same(&d->roots.items[i], &d->anchor))
            d->anchor = d->roots.items[i];
    return 0;
}

static bool lists_serial(const struct tls_der *crl, const struct tls_cert_facts *f) {
    struct tls_revoked *items = NULL;
    size_t n = 0;
    bool found = false;
    if (tls_crl_entries(crl->at, crl->n, &items, &n) != 0)
        return false;
    for (size_t i = 0; i < n && !found; i++)
        found = items[i].serial_n == f->serial_n && !memcmp(items[i].serial, f->serial, f->serial_n);
    free(items);
    return found;
}

/* Every CA of the chain should have a list of its own as soon as there is one: Envoy fails all chains of a CA without.
 * For us a partial set revokes what it revokes, so it is told and used, not refused: refusing would undo a revocation. */
static void cover_crls(struct ca_dir *d) {
    struct tls_cert_facts facts;
    if (d->crls.n == 0)
        return;
    for (size_t i = 0; i <= d->chain.n; i++) {
        const struct tls_der *ca = i < d->chain.n ? &d->chain.items[i] : &d->anchor;
        const struct tls_der *below = i > 0 ? &d->chain.items[i - 1] : NULL;
        bool covered = false;
        for (size_t k = 0; k < d->crls.n; k++)
            if (tls_crl_signed_by(d->crls.items[k].at, d->crls.items[k].n, ca->at, ca->n)) {
                covered = true;
                if (below && tls_cert_read(below->at, below->n, &facts) == 0 && lists_serial(&d->crls.items[k], &facts))
                    d->revoked = true;
            }
        if (!covered && !d->crl_gap[0] && tls_cert_read(ca->at, ca->n, &facts) == 0)
            snprintf(d->crl_gap, sizeof(d->crl_gap), "%s", facts.subject[0] ? facts.subject : "(no name)");
    }
}

static int read_crls(const char *dir, const struct form *form, struct ca_dir *d, char why[CA_WHY_BYTES]) {
    cleanup_free char *pem = NULL;
    cleanup(tls_bundle_unrefp) struct tls_bundle *tried = NULL;
    size_t n = 0;
    if (!form->crl || !ca_file_exists(dir, form->crl))
        return 0;
    int r = read_text(dir, form->crl, TLS_CRL_BYTES_MAX, &pem, &n, why);
    if (r == 0)
        r = tls_crls_from_pem((struct str){pem, n}, TLS_CRLS_MAX, &d->crls);
    if (r == 0)
        r = tls_bundle_new(STR("any"), &d->roots, &d->crls, &tried);
    if (r == 1)
        return why[0] ? 1
                      : ca_refuse(why, dir, form->crl,
                                  "holds a revocation list that cannot be read, or that bears a root's name without its signature");
    if (r == 0)
        cover_crls(d);
    return err_trace(r);
}

void ca_dir_deinit(struct ca_dir *d) {
    d->key = tls_key_free(d->key);
    tls_der_list_deinit(&d->cert);
    tls_der_list_deinit(&d->chain);
    tls_der_list_deinit(&d->roots);
    tls_der_list_deinit(&d->crls);
    *d = CA_DIR_NULL;
}

/* The key is another one's: a replacement that a crash stopped between the two renames has it that of next-cert.pem. */
static int take_next(const char *dir, struct ca_dir *d, char why[CA_WHY_BYTES]) {
    struct tls_der_list next cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    char unused[CA_WHY_BYTES] = "";
    if (ca_file_exists(dir, CA_FILE_NEXT_CERT) && ca_read_certs(dir, CA_FILE_NEXT_CERT, TLS_CHAIN_MAX, &next, unused) == 0 &&
        tls_cert_matches_key(next.items[0].at, next.items[0].n, d->key)) {
        tls_der_list_deinit(&d->cert);
        d->unfinished = true;
        return err_trace(tls_der_list_add(&d->cert, next.items[0].at, next.items[0].n));
    }
    return ca_refuse(why, dir, CA_FILE_KEY, "is not the key of the signing certificate beside it");
}

static int load_into(const char *dir, const struct form *form, int64_t now_s, struct ca_dir *d, char why[CA_WHY_BYTES]) {
    struct tls_der_list first cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    why[0] = '\0';
    int r = ca_read_certs(dir, form->cert, TLS_CHAIN_MAX, &first, why);
    if (r == 0)
        r = ca_read_key(dir, form->key, &d->key, why);
    if (r == 0)
        r = ca_read_certs(dir, form->chain, 2 * TLS_CHAIN_MAX, &chain, why);
    if (r == 0)
        r = ca_read_certs(dir, form->root, TLS_BUNDLE_MAX, &d->roots, why);
    if (r == 0)
        r = tls_der_list_add(&d->cert, first.items[0].at, first.items[0].n);
    if (r == 0 && !tls_cert_matches_key(first.items[0].at, first.items[0].n, d->key))
        r = form == &istio_form ? take_next(dir, d, why)
                                : ca_refuse(why, dir, form->key, "is not the key of the signing certificate beside it");
    if (r == 0)
        r = make_chain(dir, form, &chain, now_s, d, why);
    return r != 0 ? r : read_crls(dir, form, d, why);
}

/* What tells a file from the one that took its place. */
struct mark {
    dev_t dev;
    ino_t ino;
    off_t n;
    struct timespec changed;
};
struct marks {
    struct mark items[5];
};

static void take_marks(const char *dir, const struct form *form, struct marks *ret) {
    const char *names[] = {form->cert, form->key, form->chain, form->root, form->crl};
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < array_size(names); i++) {
        struct stat st;
        char path[CA_PATH_MAX];
        if (names[i] && ca_path(dir, names[i], path) && stat(path, &st) == 0)
            ret->items[i] = (struct mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    }
}

static bool marks_same(const struct marks *a, const struct marks *b) {
    for (size_t i = 0; i < array_size(a->items); i++) {
        const struct mark *x = &a->items[i], *y = &b->items[i];
        if (x->dev != y->dev || x->ino != y->ino || x->n != y->n || x->changed.tv_sec != y->changed.tv_sec ||
            x->changed.tv_nsec != y->changed.tv_nsec)
            return false;
    }
    return true;
}

int ca_dir_load(const char *dir, int64_t now_s, struct ca_dir *ret, char why[CA_WHY_BYTES]) {
    for (unsigned i = 0;; i++) {
        const struct form *form = ca_file_exists(dir, tls_form.cert) ? &tls_form : &istio_form;
        struct ca_dir d = CA_DIR_NULL;
        struct marks before, after;
        take_marks(dir, form, &before);
        int r = load_into(dir, form, now_s, &d, why);
        take_marks(dir, form, &after);
        bool stood_still = marks_same(&before, &after);
        if (r == 0 && stood_still) {
            *ret = d;
            return 0;
        }
        ca_dir_deinit(&d);
        if (r < 0 || stood_still)
            return r;
        if (i + 1 == READ_TRIES)
            return ca_refuse(why, dir, form->cert, "and the files beside it change while they are read");
    }
}
