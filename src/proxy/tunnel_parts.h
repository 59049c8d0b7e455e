/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_parts.h - what the four files of a tunnel (tunnel.c, _begin, _bytes, _end) call of each other; for nobody else */
#pragma once

#include "tunnel.h"

/* tunnel.c */
void tunnel_set_state(struct tunnel *t, enum tunnel_state next); /* starts the state's time limit */
void tunnel_look_at(struct tunnel *t, uint64_t due_ns);          /* the tunnel's timer, in place of that */
bool tunnel_is_spare(const struct tunnel *t);
void tunnel_log(const struct tunnel *t, const char *what);
/* tunnel_begin.c */
void tunnel_serve(struct tunnel *t); /* server: with a credential the handshake begins; without one the connection waits for it */
void tunnel_handshake(struct tunnel *t);
/* tunnel_bytes.c */
void tunnel_listen(struct tunnel *t); /* bytes of the peer are received from now on */
void tunnel_read(struct tunnel *t);   /* decrypts what came and feeds HTTP/2 */
void tunnel_send(struct tunnel *t);
bool tunnel_drain(struct tunnel *t); /* HTTP/2 -> TLS -> the socket's queue, up to its mark. False: TLS is broken */
void tunnel_stuck(struct tunnel *t); /* it goes on when the worker has buffers again (worker_unstick) */
/* tunnel_end.c */
void tunnel_say_goodbye(struct tunnel *t);
void tunnel_flush_step(struct tunnel *t);
void tunnel_join_step(struct tunnel *t);
