/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/session.h - one TLS 1.3 connection as a bytes machine: no socket, no clock but the caller's, no log
 *
 * Ciphertext comes in through a bufq that the owner fills, ciphertext to send appears in another that the owner drains
 * (also after a bad verdict: alerts). TLS 1.3 only, AES-256-GCM and AES-128-GCM, ALPN exactly "h2", no SNI, mutual
 * certificates, no resumption, no tickets, no early data (facts/ztunnel.md 2.1, 14.1; DESIGN 8).
 * The peer's chain is judged by tls_chain_verify, not by the library, which makes the handshake and is freed after it: records,
 * KeyUpdates and alerts are our own from there on. A session that has nothing to do holds no buffer. Owner thread only. */
#pragma once

#include <ringwall/base/buf.h>
#include <ringwall/tls/credential.h>

struct tls_session;
struct tls_context; /* per worker and credential: the library's settings with our chain and key */

/* A worker makes one context per (credential, role) and keeps it while sessions use it (counted inside). */
int tls_context_new(struct tls_credential *c, enum tls_role role, struct tls_context **ret) must_check; /* keeps a reference of c */
struct tls_context *tls_context_unref(struct tls_context *x);
struct tls_context *tls_context_ref(struct tls_context *x);
DEFINE_FREEP(struct tls_context, tls_context_unref)
struct tls_credential *tls_context_credential(const struct tls_context *x); /* borrowed */

struct tls_session_options {
    struct tls_context *context; /* a reference is taken */
    struct tls_trust *trust;     /* whom to believe; a reference is taken, kept until the handshake is over */
    struct bufq *in;             /* ciphertext from the peer; consumed by the session */
    struct bufq *out;            /* ciphertext to the peer; appended by the session */
    tls_node_covers_fn covers;   /* DESIGN rule 3; NULL only in tests */
    void *covers_context;
};
/* 1: at a memory bound. */
int tls_session_new(const struct tls_session_options *o, struct tls_session **ret) must_check;
struct tls_session *tls_session_free(struct tls_session *s);
DEFINE_FREEP(struct tls_session, tls_session_free)

enum tls_session_verdict {
    TLS_DONE = 0,        /* handshake: complete and the peer is trusted. open: bytes given. seal: all taken */
    TLS_WANT_INPUT = 1,  /* needs more ciphertext in `in` */
    TLS_WANT_OUTPUT = 2, /* `out` is at its bound: drain, then call again */
    TLS_CLOSED = 3,      /* close_notify of the peer was read: an orderly end of the stream */
    TLS_REFUSED = 4,     /* peer's certificate refused: tls_session_trust says why */
    TLS_BROKEN = 5,      /* protocol error, bad record, alert; tls_session_error says which */
};
/* Advances the handshake as far as input allows. */
int tls_session_handshake(struct tls_session *s, int64_t now_s) must_check;
/* Decrypts up to cap bytes. TLS_DONE with *ret_n > 0, else a verdict. Contiguous `to` of the owner. */
int tls_session_open(struct tls_session *s, uint8_t *to, size_t cap, size_t *ret_n) must_check;
/* Encrypts n bytes, 16 KiB records; *ret_taken tells how many were taken (may be short with TLS_WANT_OUTPUT). */
int tls_session_seal(struct tls_session *s, const uint8_t *bytes, size_t n, size_t *ret_taken) must_check;

/* The same without copies between queues, for whoever moves much. */
/* The next record's bytes, n > 0, decrypted into a chunk of the pool of `in`. They stay where they are while the caller holds a
 * reference on the chunk (buf_chunk_ref), without one until the next call for this session. Small records that come together
 * stand one behind the other in a chunk. Verdicts as tls_session_open. Both may be used in turns. */
int tls_session_open_record(struct tls_session *s, struct buf_chunk **ret_chunk, const uint8_t **ret_at, size_t *ret_n) must_check;
/* Makes records of what `plain` holds, from its head, and consumes what went in, until plain is empty (TLS_DONE), or `out` holds
 * out_max bytes or more, or is at its bound (TLS_WANT_OUTPUT). So `out` ends less than a record above out_max. */
int tls_session_seal_queue(struct tls_session *s, struct bufq *plain, size_t out_max) must_check;

int tls_session_close(struct tls_session *s) must_check;                    /* appends close_notify; further seals are refused */
struct tls_credential *tls_session_credential(const struct tls_session *s); /* ours; borrowed */
const struct tls_peer *tls_session_peer(const struct tls_session *s);       /* after the handshake; NULL before */
enum tls_trust_verdict tls_session_trust(const struct tls_session *s);
/* After TLS_REFUSED: the verdict's text and the serial of the peer's leaf, when it could be read. Returns `to`. */
const char *tls_session_refusal(const struct tls_session *s, char *to, size_t cap);
const char *tls_session_error(const struct tls_session *s); /* static text for logs, e.g. "no client certificate", "ALPN: no h2" */
const char *tls_session_suite(const struct tls_session *s); /* "TLS_AES_256_GCM_SHA384" */
/* Name and version of the library behind this room, and the code paths of its cryptography, for `ringwall version`. Returns `to`.
 */
const char *tls_library_text(char *to, size_t n);
size_t tls_memory_used(void); /* bytes the library holds, all threads */
/* At it new sessions are refused; an eighth above it allocations fail, so what is open has room to go on. */
void tls_memory_limit(size_t bytes);
