/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/web.h - TLS towards programs outside the mesh's own tunnels: the CA's door, and another CA's
 *
 * Same bytes machine as tls/session.h (TLS 1.3, ALPN exactly "h2"), another context:
 * - a server shows a certificate with DNS names. A client may show a workload's certificate, which is judged by
 *   tls_chain_verify and refused when bad; one that shows none is let in, and tls_session_peer says NULL.
 * - a client says the host in SNI and checks the server's certificate against that host and given roots (RFC 9525: DNS
 *   names in the SAN only, byte for byte but for ASCII case, `*` as the whole first label; IP addresses exactly).
 * A workload's certificate has no DNS name, so no workload can play a server here; a server's has no SPIFFE URI, so no
 * server can play a workload there. */
#pragma once

#include <ringwall/tls/session.h>

enum { TLS_HOST_MAX = 253 };

/* A DNS name of letters, digits, hyphens (one dot may stand at the end), or an IP address without brackets. */
bool tls_host_valid(struct str host);

/* Walks leaf-first `chain` to one of the roots, and looks for `host` in the leaf. */
enum tls_trust_verdict tls_server_verify(const struct tls_bundle *roots, const struct tls_der_list *chain, struct str host,
                                         int64_t now_s);

/* Key and chain (leaf first) are copied. 1: they do not belong together. */
int tls_web_server_new(const struct tls_key *key, const struct tls_der_list *chain, struct tls_context **ret) must_check;
/* A reference of roots is taken; its trust domain says nothing here. 1: no valid host. */
int tls_web_client_new(struct tls_bundle *roots, struct str host, struct tls_context **ret) must_check;
/* A client shows this certificate to a server that asks. */
int tls_web_client_show(struct tls_context *x, const struct tls_credential *c) must_check;
/* For tls_session_new: `trust` judges a server's clients; a client's sessions need none. */
