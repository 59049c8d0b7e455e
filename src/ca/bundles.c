/* SPDX-License-Identifier: GPL-3.0-or-later
 * bundles.c - trust bundles of other trust domains (ca.bundles): certificates and revocation lists in one PEM file each
 *
 * At start each file must be good. Later a changed file that is not is refused, and what it said before stays in force: a
 * slip of the pen must not cut a federation, nor undo its revocations. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/crl.h>

#include "authority.h"
#include "files_private.h"

static void foreign_deinit(struct foreign *f) {
    tls_der_list_deinit(&f->roots);
    tls_der_list_deinit(&f->crls);
}

static int load(const struct ca_bundle_file *b, struct foreign *ret, char why[CA_WHY_BYTES]) {
    struct foreign f cleanup(foreign_deinit) = {0};
    cleanup(tls_bundle_unrefp) struct tls_bundle *tried = NULL;
    cleanup_free char *pem = NULL;
    size_t n = 0;
    int r = io_read_file(b->path, TLS_CRL_BYTES_MAX, &pem, &n);
    if (r < 0) {
        ca_say(why, "%s: the bundle of trust domain " STR_FMT " cannot be read: %s", b->path, STR_ARG(b->trust_domain),
               strerror(-r));
        return 1;
    }
    r = tls_certs_from_pem((struct str){pem, n}, TLS_BUNDLE_MAX, &f.roots);
    if (r != 0 || f.roots.n == 0) {
        ca_say(why, "%s: holds no readable CA certificates in PEM form, or too many", b->path);
        return r < 0 ? r : 1;
    }
    if (memmem(pem, n, "BEGIN X509 CRL", 14))
        r = tls_crls_from_pem((struct str){pem, n}, TLS_CRLS_MAX, &f.crls);
    if (r == 0)
        r = tls_bundle_new(b->trust_domain, &f.roots, &f.crls, &tried);
    if (r != 0) {
        ca_say(why, "%s: a certificate in it is no CA's, or a revocation list cannot be used", b->path);
        return r < 0 ? r : 1;
    }
    *ret = f;
    f = (struct foreign){0};
    return 0;
}

int bundles_open(struct authority *a, char why[CA_WHY_BYTES]) {
    a->foreign = calloc(a->o->n_bundles + 1, sizeof(*a->foreign));
    int r = a->foreign ? follow_new(&a->follow) : err_origin(-ENOMEM);
    for (size_t i = 0; r == 0 && i < a->o->n_bundles; i++) {
        r = follow_add(a->follow, a->o->bundles[i].path);
        if (r == 0)
            r = load(&a->o->bundles[i], &a->foreign[i], why);
    }
    if (r == 0)
        r = follow_add(a->follow, a->o->jwt.jwks ? a->o->jwt.jwks : "");
    if (r == 0)
        tokens_load(a);
    return r;
}

void bundles_close(struct authority *a) {
    for (size_t i = 0; a->foreign && i < a->o->n_bundles; i++)
        foreign_deinit(&a->foreign[i]);
    free(a->foreign);
    a->follow = follow_free(a->follow);
    if (a->jwks)
        arena_deinit(&a->jwks_arena);
    a->jwks = NULL;
}

static void reload(struct authority *a, size_t i, int64_t now_s) {
    const struct ca_bundle_file *b = &a->o->bundles[i];
    struct foreign fresh = {0};
    char why[CA_WHY_BYTES] = "", text[CA_WHY_BYTES];
    int r = load(b, &fresh, why);
    if (r != 0) {
        snprintf(text, sizeof(text), "%s", r < 0 ? strerror(-r) : why);
        authority_event(a, "reload-refused", text, now_s);
        return;
    }
    foreign_deinit(&a->foreign[i]);
    a->foreign[i] = fresh;
    a->changed = true;
    struct text t = TEXT_OVER(text);
    text_addf(&t, "%s: bundle of trust domain " STR_FMT ", %zu roots, %zu revocation lists", b->path, STR_ARG(b->trust_domain),
              fresh.roots.n, fresh.crls.n);
    authority_event(a, "reload", text, now_s);
}

int bundles_follow(struct authority *a, uint64_t mono_ns, int64_t now_s) {
    struct follow_set files;
    int wait_ms;
    if (!follow_due(a->follow, mono_ns, &files, &wait_ms))
        return wait_ms;
    for (size_t i = 0; i < a->o->n_bundles; i++)
        if (follow_has(&files, i))
            reload(a, i, now_s);
    if (!follow_has(&files, a->o->n_bundles))
        return wait_ms;
    tokens_load(a);
    tokens_tell(a, now_s);
    return wait_ms;
}
