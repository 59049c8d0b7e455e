/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: the first bytes of a connection that begins with a PROXY header. What is taken must go round. */
#include <ringwall/base/check.h>
#include <ringwall/wire/proxy_protocol.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct proxy_header h, back;
    uint8_t again[PROXY_PROTOCOL_MAX];
    size_t taken, n_again;

    if (proxy_protocol_consume(bytes, n, &h, &taken) != PROXY_PROTOCOL_OK)
        return 0;
    check(taken <= n);
    n_again = proxy_protocol_create(&h, again);
    check(n_again <= sizeof(again));
    check(proxy_protocol_consume(again, n_again, &back, &taken) == PROXY_PROTOCOL_OK && taken == n_again);
    check(h.local == back.local && (h.local || (endpoint_is(&h.src, &back.src) && endpoint_is(&h.dst, &back.dst))));
    check(str_is(h.identity, back.identity));
    return 0;
}
