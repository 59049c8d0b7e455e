/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/device.h - the library's records through our own AES-GCM (private to the room)
 *
 * wolfCrypt asks a "device" before it works itself. Ours takes AES-GCM, of a thread that has entered a session, and leaves all
 * else. The library hands over raw keys with each record, so a session keeps them expanded; when a key changes (handshake to
 * application, KeyUpdate), it is seen to differ and is expanded again. */
#pragma once

#include "gcm.h"

struct gcm_session; /* expanded keys of one session, one a direction */

/* After the library's start. Does nothing where gcm_path_best() is wolfCrypt. */
int gcm_device_register(void) must_check;
/* Which path sessions take that are made from now on; tests and benchmarks may choose. */
enum gcm_path gcm_device_path(void);
void gcm_device_force(enum gcm_path path);

/* Records that this thread sealed or opened by it, also those refused. */
uint64_t gcm_device_records(void);

/* `ssl` is a WOLFSSL in which nothing has happened yet. NULL: out of memory, or sessions take wolfCrypt's path; all works then,
 * at its speed. */
struct gcm_session *gcm_session_new(void *ssl);
struct gcm_session *gcm_session_free(struct gcm_session *s); /* wipes */

/* This thread works on this session until the cleanup; NULL is allowed. */
struct gcm_session *gcm_session_enter(struct gcm_session *s) must_check;
void gcm_session_leave(struct gcm_session **s);
