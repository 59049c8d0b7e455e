/* SPDX-License-Identifier: GPL-3.0-or-later
 * revoke.c - certificates taken back: the directory's ca-crl.pem, with the former entries and the next number
 *
 * During a rollover the old root still signs a list of its own, for certificates below it are still about. A serial is
 * written into both: serials are 126 random bits, so it names one certificate wherever it stands. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/tls/crl.h>

#include "audit.h"
#include "files_private.h"
#include "hex.h"

struct revoked_list {
    struct tls_revoked *items;
    size_t n;
};
static void revoked_deinit(struct revoked_list *l) { free(l->items); }

static int parse(const struct str *serials, size_t n, int64_t now_s, struct revoked_list *ret, char why[CA_WHY_BYTES]) {
    ret->items = calloc(n + 1, sizeof(*ret->items));
    if (!ret->items)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++) {
        struct tls_revoked *to = &ret->items[ret->n++];
        uint8_t bytes[TLS_SERIAL_MAX + 1];
        size_t count = 0, zeros = 0;
        bool ok = hex_parse(serials[i], bytes, sizeof(bytes), &count);
        while (ok && zeros + 1 < count && bytes[zeros] == 0)
            zeros++;
        if (!ok || count - zeros > TLS_SERIAL_MAX || (count - zeros == 1 && bytes[zeros] == 0)) {
            ca_say(why, "'" STR_FMT "' is no serial number: write it in hex, as ringwallctl certs or openssl x509 -serial shows it",
                   STR_ARG(serials[i]));
            return 1;
        }
        memcpy(to->serial, bytes + zeros, count - zeros);
        to->serial_n = (uint8_t)(count - zeros);
        to->at = now_s;
    }
    return 0;
}

/* The issuer's list in force: the one with the highest number. Its entries are put behind what is in `all`. */
static int add_former(const struct ca_dir *d, const struct tls_der *issuer, struct revoked_list *all, uint64_t *ret_number) {
    const struct tls_der *in_force = NULL;
    struct tls_crl_facts facts;
    const char *why;
    *ret_number = 0;
    for (size_t i = 0; i < d->crls.n; i++) {
        const struct tls_der *crl = &d->crls.items[i];
        if (!tls_crl_signed_by(crl->at, crl->n, issuer->at, issuer->n) || tls_crl_read(crl->at, crl->n, &facts, &why) != 0)
            continue;
        if (!in_force || facts.number > *ret_number) {
            in_force = crl;
            *ret_number = facts.number;
        }
    }
    struct revoked_list former cleanup(revoked_deinit) = {0};
    int r = in_force ? tls_crl_entries(in_force->at, in_force->n, &former.items, &former.n) : 0;
    if (r != 0 || former.n == 0)
        return r > 0 ? err_origin(-EINVAL) : r;
    struct tls_revoked *items = reallocarray(all->items, all->n + former.n, sizeof(*items));
    if (!items)
        return err_origin(-ENOMEM);
    memcpy(items + all->n, former.items, former.n * sizeof(*items));
    all->items = items;
    all->n += former.n;
    return 0;
}

static int make_list(const struct ca_dir *d, const struct tls_issuer *issuer, const struct tls_der *cert,
                     const struct revoked_list *new, int64_t now_s, struct tls_der_list *to, size_t *ret_n) {
    struct revoked_list all cleanup(revoked_deinit) = {calloc(new->n + 1, sizeof(*all.items)), new->n};
    struct tls_der crl = {0};
    struct tls_crl_facts facts;
    const char *why;
    uint64_t number = 0;
    if (!all.items)
        return err_origin(-ENOMEM);
    memcpy(all.items, new->items, new->n * sizeof(*new->items));
    int r = add_former(d, cert, &all, &number);
    struct tls_crl_spec spec = {.number = number + 1,
                                .this_update = now_s,
                                .next_update = now_s + (int64_t)CA_CRL_DAYS * CA_DAY_S,
                                .items = all.items,
                                .n = all.n};
    if (r == 0)
        r = tls_crl_make(issuer, &spec, &crl);
    if (r == 0)
        r = tls_der_list_add(to, crl.at, crl.n);
    if (r == 0 && tls_crl_read(crl.at, crl.n, &facts, &why) == 0)
        *ret_n = facts.n_revoked;
    free(crl.at);
    return r;
}

/* Lists of other issuers, which stay as they are. */
static int keep_others(const struct ca_dir *d, const struct tls_der *a, const struct tls_der *b, struct tls_der_list *to) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->crls.n; i++) {
        const struct tls_der *crl = &d->crls.items[i];
        if (!tls_crl_signed_by(crl->at, crl->n, a->at, a->n) && !(b && tls_crl_signed_by(crl->at, crl->n, b->at, b->n)))
            r = tls_der_list_add(to, crl->at, crl->n);
    }
    return err_trace(r);
}

static int record(const char *dir, const struct str *serials, size_t n, int64_t now_s, char why[CA_WHY_BYTES]) {
    for (size_t i = 0; i < n; i++) {
        char serial[80];
        struct text t = TEXT_OVER(serial);
        text_add(&t, serials[i]);
        struct audit_entry e = {.event = "revoked", .caller = "operator", .serial_hex = serial};
        int r = ca_dir_record(dir, now_s, &e, why);
        if (r != 0)
            return r;
    }
    return 0;
}

int ca_dir_revoke(const char *dir, const struct str *serials, size_t n, int64_t now_s, size_t *ret_n, char why[CA_WHY_BYTES]) {
    cleanup_fd int lock = -1;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct revoked_list new cleanup(revoked_deinit) = {0};
    struct tls_der_list crls cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der_list old cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    cleanup(tls_key_freep) struct tls_key *old_key = NULL;
    size_t n_listed = 0, unused = 0;
    int r = ca_dir_lock(dir, &lock, why);
    if (r == 0)
        r = ca_dir_load(dir, now_s, &d, why);
    if (r == 0)
        r = parse(serials, n, now_s, &new, why);
    if (r == 0 && ca_file_exists(dir, CA_FILE_OLD_KEY)) {
        r = ca_read_certs(dir, CA_FILE_OLD_CERT, 1, &old, why);
        if (r == 0)
            r = ca_read_key(dir, CA_FILE_OLD_KEY, &old_key, why);
    }
    if (r != 0)
        return r;
    const struct tls_der *cert = &d.cert.items[0], *before = old.n ? &old.items[0] : NULL;
    struct tls_issuer issuer = {.key = d.key, .cert = cert->at, .cert_n = cert->n};
    r = make_list(&d, &issuer, cert, &new, now_s, &crls, &n_listed);
    if (r == 0 && before && !der_same(before, cert)) {
        issuer = (struct tls_issuer){.key = old_key, .cert = before->at, .cert_n = before->n};
        r = make_list(&d, &issuer, before, &new, now_s, &crls, &unused);
    }
    if (r > 0)
        return ca_refuse(why, dir, CA_FILE_CERT,
                         "may not sign revocation lists (key usage cRLSign), or the list would be too long");
    if (r == 0)
        r = keep_others(&d, cert, before, &crls);
    if (r == 0)
        r = record(dir, serials, n, now_s, why);
    if (r == 0)
        r = ca_write_crls(dir, &crls, why);
    if (r == 0)
        *ret_n = n_listed;
    return r;
}
