/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: protobuf messages to and from the CA. What is taken must go round. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/pb.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = ARENA_NULL;
    struct ca_request request, request2;
    struct ca_response response, response2;
    uint8_t *again = NULL;
    size_t n_again;

    if (pb_consume_ca_request(bytes, n, &a, &request) == PB_OK) {
        check(pb_create_ca_request(&request, &again, &n_again) == 0);
        check(pb_consume_ca_request(again, n_again, &a, &request2) == PB_OK);
        check(request.id == request2.id && str_is(request.identity, request2.identity) && request.caller == request2.caller);
        check(request.n_audience == request2.n_audience && str_is(request.caller_token, request2.caller_token) &&
              request.watch == request2.watch && request.acknowledged == request2.acknowledged);
        free(again);
    }
    if (pb_consume_ca_response(bytes, n, &a, &response) == PB_OK) {
        check(pb_create_ca_response(&response, &again, &n_again) == 0);
        check(pb_consume_ca_response(again, n_again, &a, &response2) == PB_OK);
        check(response.id == response2.id && response.n_chain == response2.n_chain && response.code == response2.code);
        check(response.n_bundles == response2.n_bundles && str_is(response.token, response2.token));
        for (size_t i = 0; i < response.n_bundles; i++)
            check(response.bundles[i].n_roots == response2.bundles[i].n_roots);
        free(again);
    }
    arena_deinit(&a);
    return 0;
}
