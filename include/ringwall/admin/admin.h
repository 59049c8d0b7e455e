/* SPDX-License-Identifier: GPL-3.0-or-later
 * admin/admin.h - show what is: HTTP on loopback and on a Unix socket, metrics, readiness (DESIGN 7)
 *
 * Reads the published world itself (a registered reader in its own thread); asks the other threads by mail_ask with a
 * deadline. What changes anything (/logging, /quitquitquit) is served on the Unix socket only, to root or the daemon's user
 * by its peer credentials. All requests are bounded: 8 KiB of head, ADMIN_BODY_MAX of body, ADMIN_CONNECTIONS_MAX, 5 s. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/ca_stats.h>
#include <ringwall/mail/doors_stats.h>
#include <ringwall/mail/quit.h>
#include <ringwall/mail/stats.h>

enum { ADMIN_ASK_TIMEOUT_MS = 2000, ADMIN_BODY_MAX = 64 * 1024, ADMIN_CONNECTIONS_MAX = 208 };
struct admin_listen {
    const char *host; /* "*", "localhost" or an IP; NULL: off */
    uint16_t port;
};
struct admin_options {
    const char *socket_path;
    struct admin_listen address, metrics, ready;
    const struct publish_slot *world;
    const struct worker_stats *stats; /* of n_workers */
    unsigned n_workers;
    const struct doors_stats *doors; /* NULL: no door is open */
    struct mailbox **workers;
    struct mailbox *ca;                       /* ASK_STATUS; NULL: not asked */
    const struct ca_stats *ca_stats;          /* NULL: not counted */
    struct mailbox *identity, *config, *main; /* main: ASK_CAPTURE, ASK_STATUS, and mail_quit */
    /* True when the daemon can serve: worlds published, workloads enrolled, their credentials there. Any thread. */
    bool (*ready_fn)(void *context, char why[128]);
    void *ready_context;
    const char *version, *node;
    const char *config_json;                                   /* effective node file as JSON, for /config_dump; no secret in it */
    uint64_t (*capture_counts)(void *context, unsigned index); /* index = enum capture_count; NULL: none */
    void *capture_context;
};
struct admin;
int admin_start(const struct admin_options *o, struct admin **ret, char why[256]) must_check;
/* Name and version of the library behind this room, for `ringwall version`. Returns `to`. */
const char *admin_library_text(char *to, size_t n);
struct admin *admin_stop(struct admin *a);
