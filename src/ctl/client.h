/* SPDX-License-Identifier: GPL-3.0-or-later
 * client.h - one HTTP request over the daemon's Unix socket: bounded in bytes and time, and whole or refused */
#pragma once

#include <ringwall/base/str.h>
#include <ringwall/wire/json.h>

enum { CLIENT_TIMEOUT_MS = 30000, CLIENT_HEAD_MAX = 16 * 1024, CLIENT_BODY_MAX = JSON_READ_MAX };
struct answer {
    unsigned status;
    struct growing bytes; /* as received; owned */
    struct str body;      /* in bytes */
    char incomplete[512]; /* threads of the daemon that did not answer in time; empty: none */
};
#define ANSWER_NULL ((struct answer){0})
void answer_deinit(struct answer *a);

/* method "GET" or "POST"; target as it goes on the wire. False: told on stderr with the fix. Any status is an answer. */
bool client_ask(const char *socket_path, const char *method, const char *target, struct answer *ret) must_check;
/* value percent-encoded behind "key=", with '?' or '&' before it as the target needs. */
void client_add_query(struct growing *target, const char *key, const char *value);
