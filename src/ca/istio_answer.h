/* SPDX-License-Identifier: GPL-3.0-or-later
 * istio_answer.h - what another CA answered, believed only so far as it can be checked
 *
 * Foreign bytes to certificates: the answer holds a chain of the identity that was asked for, for the key that was asked for,
 * valid now, which ends at a root of its own last element. */
#pragma once

#include <ringwall/tls/issue.h>

struct istio_answer {
    struct tls_der_list chain; /* leaf first, without roots */
    struct tls_der_list roots;
    int64_t not_after_s; /* the earliest end in the chain */
};
#define ISTIO_ANSWER_NULL ((struct istio_answer){0})
void istio_answer_deinit(struct istio_answer *a);
/* NULL: ret is filled. Else why it is not believed, static text. */
const char *istio_answer_read(const uint8_t *bytes, size_t n, struct str trust_domain, const struct identity *asked,
                              const struct tls_csr *csr, int64_t now_s, struct istio_answer *ret) must_check;
