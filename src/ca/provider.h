/* SPDX-License-Identifier: GPL-3.0-or-later
 * provider.h - whoever signs: one file a provider, one struct of functions
 *
 * The core (authority.c) decides who may have what, reads the CSR, keeps the audit and answers; a provider makes the
 * certificate and says which roots and CRLs of our own trust domain are in force. All calls are made by the CA thread; a
 * provider never waits: it has descriptors that the thread polls, and its turn at least once a second. */
#pragma once

#include <poll.h>

#include <ringwall/base/list.h>
#include <ringwall/ca/ca.h>
#include <ringwall/wire/json.h>
#include <ringwall/wire/pb.h>

enum { PROVIDER_POLL_MAX = 8, PROVIDER_WHY_BYTES = 256 };

/* One certificate to be made. All in it is authorised and checked. It lives until it is answered. */
struct provider_job {
    struct list link; /* the provider's, while it holds the job */
    enum { PROVIDER_LEAF, PROVIDER_SERVER } kind;
    struct identity identity; /* LEAF */
    const struct str *names;  /* SERVER: DNS names */
    size_t n_names;
    const struct tls_csr *csr; /* the public key, for a provider that signs here */
    struct str csr_pem;        /* as it came, for one that passes it on */
    int64_t ttl_s;             /* > 0, at most the maximum */
};
struct provider_answer {
    enum ca_code code;            /* CA_OK, or why not */
    char why[PROVIDER_WHY_BYTES]; /* then the words */
    struct tls_der_list chain;    /* leaf first, then intermediates, without roots */
};
/* What the core does for a provider. */
struct provider_host {
    void *context;
    /* For a job that sign() kept: exactly once. Takes the chain. */
    void (*answered)(void *context, struct provider_job *job, struct provider_answer *a);
    /* trust() says something else now: the core publishes it with the next generation. */
    void (*changed)(void *context);
    /* For audit and log: event is one of "reload", "reload-refused", "rollover", "revocation", "upstream". */
    void (*event)(void *context, const char *event, const char *text);
};
enum { PROVIDER_NOW = 0, PROVIDER_LATER = 1 };

struct provider_ops {
    const char *name;
    /* 0; 1: refused, why names the file and the fix; negative errno. */
    int (*open)(const struct ca_options *o, const struct provider_host *host, int64_t now_s, void **ret, char why[CA_WHY_BYTES]);
    void *(*close)(void *state); /* answers what it holds with CA_UNAVAILABLE first; returns NULL */
    /* PROVIDER_NOW: ret is filled. PROVIDER_LATER: host->answered comes. */
    int (*sign)(void *state, struct provider_job *job, int64_t now_s, struct provider_answer *ret);
    /* Our own trust domain's; borrowed until the next turn. Roots may be empty as long as none is known. */
    void (*trust)(const void *state, const struct tls_der_list **ret_roots, const struct tls_der_list **ret_crls);
    /* Every reader has adopted what trust() said last. NULL: does not matter to it. */
    void (*acknowledged)(void *state, int64_t now_s);
    /* What to wait for besides mail: fills fds, returns how many. */
    unsigned (*poll)(const void *state, struct pollfd fds[PROVIDER_POLL_MAX]);
    /* After each wait, with the same descriptors and what they said. Returns after how many milliseconds to come again at the
     * latest. */
    int (*turn)(void *state, const struct pollfd *fds, unsigned n, uint64_t mono_ns, int64_t now_s);
    void (*report)(const void *state, struct json_writer *w); /* keys into an open object, for ASK_STATUS */
};
extern const struct provider_ops provider_local; /* builtin and files */
extern const struct provider_ops provider_istio;
