/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: messages of a Workload API client, an answer to one, and claims to be shown to one. What is taken must go round. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/workload_api.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = {.bytes_max = 16 * 1024 * 1024};
    struct workload_jwt_request q, q2;
    struct workload_validate_request v, v2;
    struct workload_x509 x, x2;
    struct secret made = SECRET_NULL;
    uint8_t *again = NULL;
    size_t n_again;

    if (workload_consume_jwt_request(bytes, n, &a, &q) == PB_OK) {
        check(workload_create_jwt_request(&q, &again, &n_again) == 0);
        check(workload_consume_jwt_request(again, n_again, &a, &q2) == PB_OK);
        check(q.n_audience == q2.n_audience && str_is(q.spiffe_id, q2.spiffe_id));
        free(again);
    }
    if (workload_consume_validate_request(bytes, n, &a, &v) == PB_OK) {
        check(workload_create_validate_request(&v, &again, &n_again) == 0);
        check(workload_consume_validate_request(again, n_again, &a, &v2) == PB_OK);
        check(str_is(v.audience, v2.audience) && str_is(v.token, v2.token));
        free(again);
    }
    if (workload_consume_x509(bytes, n, &a, &x) == PB_OK) {
        check(workload_create_x509(&x, &made) == 0);
        check(workload_consume_x509(made.at, made.n, &a, &x2) == PB_OK);
        check(x.n_svids == x2.n_svids && x.n_crls == x2.n_crls && x.n_federated == x2.n_federated);
        secret_deinit(&made);
    }
    if (workload_create_validated(STR("spiffe://a/b"), (struct str){(const char *)bytes, n}, &again, &n_again) == 0) {
        check(n_again >= 14);
        free(again);
    }
    arena_deinit(&a);
    return 0;
}
