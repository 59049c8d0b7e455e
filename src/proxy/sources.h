/* SPDX-License-Identifier: GPL-3.0-or-later
 * sources.h - how many handshakes each source address began lately (a token bucket each, in a fixed table)
 *
 * Two places for each address: a newcomer takes the older one. Many sources can push each other out, which only makes the
 * limit laxer for them, never memory larger. */
#pragma once

#include <ringwall/model/addr.h>

struct sources;
struct sources *sources_new(size_t n_slots /* a power of two, at least 2 */, uint32_t per_s, uint64_t seed); /* NULL: no memory */
struct sources *sources_free(struct sources *s);
bool sources_allow(struct sources *s, const struct addr *a, uint64_t now_ns); /* takes one token; per_s 0: always */
