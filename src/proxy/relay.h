/* SPDX-License-Identifier: GPL-3.0-or-later
 * relay.h - bytes from one leg to the other, symmetric, under high and low water marks; ends and resets truthfully */
#pragma once

#include "flow.h"

void relay_begin(struct flow *f);
void relay_step(struct flow *f);       /* state RELAY: what follows from what the legs recorded */
void relay_flush_step(struct flow *f); /* state FLUSH */
/* chunk: of the worker's buffers, and holds the bytes; NULL: they lie elsewhere and are copied. */
void relay_arrived(struct leg *from, struct buf_chunk *chunk, const uint8_t *bytes, size_t n);
void relay_sent(struct leg *to, size_t n); /* n bytes of `out` left our memory */
void relay_timer(struct flow *f);
/* Room for bytes of `from`: reading may go on (with hysteresis). */
bool relay_may_read(struct leg *from);
