/* SPDX-License-Identifier: GPL-3.0-or-later
 * door.h - an authority over a node's CA directory, asked as the thread asks it: encoded bytes in, encoded bytes out */
#pragma once

#include <string.h>
#include <time.h>

#include <ringwall/base/io.h>
#include <ringwall/mail/bytes.h>

#include "../../../src/ca/authority.h"
#include "small_world.h"

struct door {
    char base[256], dir[300], audit[300];
    struct ca_options options;
    struct authority authority;
    struct mailbox *reply;
    struct tls_key *key; /* of the CSRs */
    int64_t now;
};

static inline void door_shell(const char *fmt, ...) printf_like(1, 2);
static inline void door_shell(const char *fmt, ...) {
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Makes the directory; the test then sets options and calls door_open. */
static inline void door_init(struct door *d) {
    char root[300], why[CA_WHY_BYTES];
    assert_int_equal(tls_library_init(), 0);
    unit_directory(d->base);
    d->now = (int64_t)time(NULL);
    snprintf(root, sizeof(root), "%s/root", d->base);
    snprintf(d->dir, sizeof(d->dir), "%s/node", d->base);
    snprintf(d->audit, sizeof(d->audit), "%s/audit.jsonl", d->base);
    assert_int_equal(ca_dir_init(root, STR("cluster.local"), d->now, why), 0);
    assert_int_equal(ca_dir_issue_node(root, STR("node-1"), d->dir, false, d->now, why), 0);
    assert_int_equal(tls_key_generate(&d->key), 0);
    d->reply = mailbox_new("test", 64);
    d->options = (struct ca_options){.kind = CA_KIND_FILES,
                                     .dir = d->dir,
                                     .trust_domain = "cluster.local",
                                     .node = "node-1",
                                     .ttl_default_s = 86400,
                                     .ttl_max_s = CA_TTL_MAX_S,
                                     .audit_path = d->audit};
}

static inline void door_open(struct door *d) {
    char why[CA_WHY_BYTES] = "";
    if (authority_open(&d->authority, &d->options, d->now, why) != 0)
        fail_msg("%s", why);
}

static inline void door_deinit(struct door *d) {
    authority_close(&d->authority);
    mailbox_unref(d->reply);
    tls_key_free(d->key);
    door_shell("rm -rf %s", d->base);
}

/* The answer lives in the arena. False: none came. */
static inline bool door_take(struct door *d, struct arena *arena, struct ca_response *ret) {
    authority_flush(&d->authority);
    struct mail *m = mailbox_take(d->reply);
    if (!m)
        return false;
    struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
    assert_int_equal(pb_consume_ca_response(b->bytes, b->n, arena, ret), 0);
    mail_free(m);
    return true;
}

static inline struct ca_response door_ask(struct door *d, const struct ca_request *q, const struct world *world,
                                          struct arena *arena) {
    uint8_t *bytes;
    size_t n;
    struct ca_response p;
    assert_int_equal(pb_create_ca_request(q, &bytes, &n), 0);
    authority_take(&d->authority, world, bytes, n, d->reply, d->now);
    free(bytes);
    assert_true(door_take(d, arena, &p));
    return p;
}

/* A CSR without a name, PEM; the caller's to free. */
static inline char *door_csr(struct door *d) {
    struct tls_der der;
    struct growing pem = GROWING_NULL;
    assert_int_equal(tls_csr_make(d->key, NULL, &der), 0);
    assert_int_equal(tls_der_to_pem(&der, "CERTIFICATE REQUEST", &pem), 0);
    free(der.at);
    return pem.at;
}

static inline size_t door_recorded(struct door *d, const char *word) {
    char *text = NULL;
    size_t n, found = 0;
    assert_int_equal(io_read_file(d->audit, 1 << 24, &text, &n), 0);
    for (const char *at = text; (at = strstr(at, word)); at++)
        found++;
    free(text);
    return found;
}
