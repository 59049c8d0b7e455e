/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/ask.h - admin asks a thread what it knows; the thread answers with a JSON value (arrays are joined by admin)
 *
 * Asked threads answer at their next turn and never wait; the asker gives up after its own deadline. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/str.h>

enum ask_what {
    ASK_STATUS,      /* an object: the thread's health */
    ASK_CONNECTIONS, /* workers: array of flows (keys below) */
    ASK_CERTS,       /* identity: array by facts/identity.md 6.1 + state, identity, nextRotation, error */
    ASK_CAPTURE,     /* main: object: pods, counters */
    ASK_TUNNELS,     /* workers: array */
    ASK_DENIALS,     /* workers: array of the last denied connections, oldest first */
    ASK_RECENT,      /* workers: array of who talked to whom lately, and whether policy let them */
};
struct mail_ask {
    struct mail mail;
    enum ask_what what;
    uint64_t id;
    struct mailbox *reply; /* a reference, owned */
};
struct mail_answer {
    struct mail mail;
    uint64_t id;
    struct growing json; /* one JSON value */
};
extern const struct mail_type mail_ask_type, mail_answer_type;
struct mail_ask *mail_ask_new(enum ask_what what, uint64_t id, struct mailbox *reply); /* takes a reference; NULL: no memory */
struct mail_answer *mail_answer_new(uint64_t id);
/* Keys of a flow in ASK_CONNECTIONS (facts/ztunnel.md 9.2): id, worker, direction ("outbound"|"inbound"), protocol
 * ("HBONE"|"TCP"), state, src {addr, workload, namespace, identity}, dst {addr, hboneAddr, service, workload, namespace,
 * identity}, bytesSent, bytesReceived, durationMs, world, tunnel.
 * Of a denial: time, worker, world, direction, protocol, src and dst as above, reason (its word), text, policy ("ns/name"),
 * rule, at ("file:line"), peerStatus (when another node refused).
 * Of a recent pair: time (the last), direction, source (identity; absent: plaintext), sourceIp, to ("ns/name"),
 * destinationIp, port, allowed, reason, world, count. */
