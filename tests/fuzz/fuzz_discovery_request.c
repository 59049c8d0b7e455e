/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: messages of an SDS client, and of an SDS server to a client. What is taken must go round. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/sds.h>

static void same(const struct sds_request *x, const struct sds_request *y) {
    check(str_is(x->node_id, y->node_id) && str_is(x->type_url, y->type_url) && str_is(x->nonce, y->nonce));
    check(x->n_names == y->n_names && x->n_unsubscribe == y->n_unsubscribe && x->n_held == y->n_held);
    check(x->refused == y->refused && x->error_code == y->error_code && str_is(x->version, y->version));
    for (size_t i = 0; i < x->n_names; i++)
        check(str_is(x->names[i], y->names[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = {.bytes_max = 16 * 1024 * 1024};
    struct sds_request q, q2;
    struct sds_response p, p2;
    uint8_t *again = NULL;
    size_t n_again;

    if (sds_consume_request(bytes, n, &a, &q) == PB_OK) {
        check(sds_create_request(&q, &again, &n_again) == 0);
        check(sds_consume_request(again, n_again, &a, &q2) == PB_OK);
        same(&q, &q2);
        free(again);
    }
    if (sds_consume_delta_request(bytes, n, &a, &q) == PB_OK) {
        check(sds_create_delta_request(&q, &again, &n_again) == 0);
        check(sds_consume_delta_request(again, n_again, &a, &q2) == PB_OK);
        same(&q, &q2);
        free(again);
    }
    for (int delta = 0; delta < 2; delta++) {
        struct secret made = SECRET_NULL;
        int v = delta ? sds_consume_delta_response(bytes, n, &a, &p) : sds_consume_response(bytes, n, &a, &p);

        if (v != PB_OK)
            continue;
        check((delta ? sds_create_delta_response(&p, &made) : sds_create_response(&p, &made)) == 0);
        check((delta ? sds_consume_delta_response(made.at, made.n, &a, &p2) : sds_consume_response(made.at, made.n, &a, &p2)) ==
              PB_OK);
        check(p.n_secrets == p2.n_secrets && p.n_removed == p2.n_removed && str_is(p.nonce, p2.nonce));
        for (size_t i = 0; i < p.n_secrets; i++)
            check(p.secrets[i].kind == p2.secrets[i].kind && str_is(p.secrets[i].key_pem, p2.secrets[i].key_pem));
        secret_deinit(&made);
    }
    arena_deinit(&a);
    return 0;
}
