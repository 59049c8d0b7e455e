/* SPDX-License-Identifier: GPL-3.0-or-later
 * sign.h - one encoded request in, one encoded response out: the CA's whole judgement, without the thread
 *
 * Only the CA thread (and its unit test) holds a struct signer; it is where the key lives. */
#pragma once

#include <ringwall/ca/files.h>
#include <ringwall/model/world.h>
#include <ringwall/wire/pb.h>

#include "audit.h"

struct signer {
    struct ca_dir dir;
    struct str trust_domain, node; /* the caller's memory */
    uint32_t ttl_default_s, ttl_max_s;
    struct audit *audit; /* NULL: none */
    uint64_t n_issued, n_refused;
};

/* Always gives a response (heap bytes, the caller's); world may be NULL. Negative errno: no memory for one. */
int signer_answer(struct signer *s, const struct world *world, const uint8_t *bytes, size_t n, int64_t now_s, uint8_t **ret,
                  size_t *ret_n) must_check;
