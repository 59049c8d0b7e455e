/* SPDX-License-Identifier: GPL-3.0-or-later
 * access.h - the access log: one line a flow at its end (facts/ztunnel.md 9.2 and our own fields behind it) */
#pragma once

#include "flow.h"
#include "tunnel.h"

/* The two identities of a flow that a tunnel carries; NULL where there is none (yet). */
void flow_identities(const struct flow *f, const struct identity **ret_src, const struct identity **ret_dst);
void access_opened(struct flow *f); /* at debug level */
void access_closed(struct flow *f);
void access_handshake_failed(const struct tunnel *t); /* a server tunnel that never opened */
void access_turned_away(struct worker *w, enum stats_direction d, const struct endpoint *src,
                        enum close_reason why); /* no flow was made */
