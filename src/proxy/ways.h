/* SPDX-License-Identifier: GPL-3.0-or-later
 * ways.h - the three ways a connection begins: outbound, inbound over a tunnel, inbound in plaintext */
#pragma once

#include <ringwall/wire/h2.h>

#include "flow.h"
#include "tunnel.h"

/* outbound.c */
void outbound_accepted(struct pod *listener_pod, int fd);       /* takes the descriptor */
void outbound_go(struct flow *f);                               /* route it, or route it again */
void outbound_tunnel_open(struct flow *f, struct tunnel *t);    /* its tunnel opened: CONNECT */
void outbound_failed(struct flow *f, enum close_reason reason); /* before the relay: tries another way or refuses */
bool outbound_too_slow(struct flow *f);                         /* true: another endpoint is tried */
void outbound_reached(struct flow *f);                          /* its endpoint answered */
void outbound_replied(struct flow *f, const struct h2_header *headers, size_t n);
/* inbound.c */
void inbound_requested(struct tunnel *t, int32_t id, const struct h2_header *headers, size_t n, bool end_stream);
void inbound_connected(struct flow *f);
/* dry_run.c: after a verdict on an inbound connection: what dry-run and AUDIT policies have to say; changes nothing */
void dry_run_watch(struct flow *f, const struct authz_query *q, const struct verdict *real);
/* passthrough.c */
void passthrough_accepted(struct pod *pod, int fd); /* takes the descriptor */
/* connects the server leg to the application inside the pod's netns, as `from` */
void application_connect(struct flow *f, const struct addr *from);
