/* SPDX-License-Identifier: GPL-3.0-or-later
 * upstream_roots.c - see upstream_roots.h */
#include "upstream_roots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/err.h>

void upstream_roots_deinit(struct upstream_roots *r) {
    tls_der_list_deinit(&r->certs);
    free(r->kept);
    *r = UPSTREAM_ROOTS_NULL;
}

static struct upstream_root *find(struct upstream_roots *r, const struct tls_der *cert) {
    for (size_t i = 0; i < r->certs.n; i++)
        if (r->certs.items[i].n == cert->n && !memcmp(r->certs.items[i].at, cert->at, cert->n))
            return &r->kept[i];
    return NULL;
}

static int add(struct upstream_roots *r, const struct tls_der *cert) {
    struct upstream_root *kept = reallocarray(r->kept, r->certs.n + 1, sizeof(*kept));
    if (!kept)
        return err_origin(-ENOMEM);
    r->kept = kept;
    kept[r->certs.n] = (struct upstream_root){0};
    return err_trace(tls_der_list_add(&r->certs, cert->at, cert->n));
}

int upstream_roots_seen(struct upstream_roots *r, const struct tls_der_list *seen, int64_t not_after_s) {
    size_t n_new = 0;
    for (size_t i = 0; i < seen->n; i++)
        n_new += !find(r, &seen->items[i]);
    if (r->certs.n + n_new > TLS_BUNDLE_MAX)
        return 2;
    for (size_t i = 0; i < seen->n; i++) {
        if (!find(r, &seen->items[i])) {
            int error = add(r, &seen->items[i]);
            if (error < 0)
                return err_trace(error);
        }
        struct upstream_root *k = find(r, &seen->items[i]);
        k->keep_until_s = max_of(k->keep_until_s, not_after_s);
    }
    return n_new > 0;
}

bool upstream_roots_prune(struct upstream_roots *r, int64_t now_s) {
    size_t n_kept = 0, n_needed = 0;
    for (size_t i = 0; i < r->certs.n; i++)
        n_needed += r->kept[i].keep_until_s >= now_s;
    if (n_needed == 0 || n_needed == r->certs.n)
        return false; /* with no answer for so long, what we have is all we know */
    for (size_t i = 0; i < r->certs.n; i++) {
        if (r->kept[i].keep_until_s < now_s) {
            free(r->certs.items[i].at);
            continue;
        }
        r->kept[n_kept] = r->kept[i];
        r->certs.items[n_kept++] = r->certs.items[i];
    }
    r->certs.n = n_kept;
    return true;
}
