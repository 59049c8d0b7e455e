/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/identity/play.h - a CA played by a test: signs whatever it is asked, at a time that the test says
 *
 * It judges nothing (that is the real CA's work) and holds one root. All functions assert. */
#pragma once

#include <ringwall/mail/bytes.h>
#include <ringwall/tls/issue.h>
#include <ringwall/wire/pb.h>

struct play_ca {
    struct tls_key *key;
    struct tls_der root;
    struct growing root_pem;
    uint64_t n_signed;
};
void play_ca_init(struct play_ca *p, struct str trust_domain, int64_t not_before, int64_t not_after);
void play_ca_deinit(struct play_ca *p);
/* The encoded answer to one encoded request; heap bytes. */
void play_ca_answer(struct play_ca *p, const uint8_t *request, size_t n, int64_t now_s, uint8_t **ret, size_t *ret_n);
