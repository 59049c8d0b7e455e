/* SPDX-License-Identifier: GPL-3.0-or-later
 * authority.c - opens and closes what the CA holds, takes requests, turns */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/bytes.h>

#include "authority.h"
#include "files_private.h"

static const struct provider_ops *const providers[] = {
    [CA_KIND_BUILTIN] = &provider_local, [CA_KIND_FILES] = &provider_local, [CA_KIND_ISTIO] = &provider_istio};

void authority_event(struct authority *a, const char *event, const char *text, int64_t now_s) {
    struct audit_entry e = {.event = event, .text = str_of(text)};
    bool gone = strcmp(event, "keys-refused") == 0, refused = gone || strcmp(event, "reload-refused") == 0;
    if (refused || strcmp(event, "reload") == 0)
        counter_add(refused ? &a->stats->reloads_refused : &a->stats->reloads, 1);
    if (refused)
        snprintf(a->last_error, sizeof(a->last_error), "%s", text);
    else if (strcmp(event, "reload") == 0)
        a->last_error[0] = '\0';
    if (a->audit && audit_add(a->audit, now_s, &e) != 0)
        counter_add(&a->stats->audit_failed, 1);
    if (refused)
        log_error("ca", "%s: %s%s", event, text, gone ? "" : "; the last good stays in force");
    else
        log_info("ca", "%s: %s", event, text);
}

static void provider_changed(void *context) { ((struct authority *)context)->changed = true; }

static void provider_event(void *context, const char *event, const char *text) {
    struct authority *a = context;
    authority_event(a, event, text, a->now_s);
}

static int open_audit(struct authority *a, int64_t now_s, char why[CA_WHY_BYTES]) {
    char found[AUDIT_WHY_BYTES] = "", hash[65];
    if (!a->o->audit_path)
        return 0;
    int r = audit_open(a->o->audit_path, 0, now_s, &a->audit, found);
    if (r < 0) {
        ca_say(why, "%s: cannot be opened for the audit log: %s", a->o->audit_path,
               r == -EWOULDBLOCK ? "another process writes it" : strerror(-r));
        return 1;
    }
    if (found[0])
        log_error("ca", "%s: %s", a->o->audit_path, found);
    uint64_t seq = audit_last(a->audit, hash);
    if (seq)
        log_info("ca", "%s: goes on after line %llu, SHA-256 %s", a->o->audit_path, (unsigned long long)seq, hash);
    else
        log_info("ca", "%s: begins", a->o->audit_path);
    return 0;
}

static void count_ends(struct authority *a) {
    const struct tls_der_list *roots, *crls;
    struct tls_cert_facts facts;
    int64_t first = 0;
    a->ops->trust(a->provider, &roots, &crls);
    for (size_t i = 0; i < roots->n; i++)
        if (tls_cert_read(roots->items[i].at, roots->items[i].n, &facts) == 0 && (!first || facts.not_after < first))
            first = facts.not_after;
    counter_set(&a->stats->root_not_after, (uint64_t)max_of(first, (int64_t)0));
}

int authority_open(struct authority *a, const struct ca_options *o, int64_t now_s, char why[CA_WHY_BYTES]) {
    *a = (struct authority){.o = o,
                            .trust_domain = str_of(o->trust_domain),
                            .node = str_of(o->node),
                            .ops = providers[o->kind],
                            .generation = 1,
                            .now_s = now_s};
    a->stats = o->stats ? o->stats : &a->own_stats;
    list_init(&a->pending);
    struct provider_host host = {
        .context = a, .answered = authority_answered, .changed = provider_changed, .event = provider_event};
    int r = open_audit(a, now_s, why);
    if (r == 0)
        r = bundles_open(a, why);
    if (r == 0)
        r = svid_open(a, why);
    if (r == 0)
        r = a->ops->open(o, &host, now_s, &a->provider, why);
    if (r != 0)
        return r;
    a->changed = false;
    counter_set(&a->stats->bundle_generation, a->generation);
    count_ends(a);
    static const char *const kinds[] = {[CA_KIND_BUILTIN] = "builtin", [CA_KIND_FILES] = "files", [CA_KIND_ISTIO] = "istio"};
    char text[CA_WHY_BYTES];
    snprintf(text, sizeof(text), "provider %s, trust domain %s, node %s", kinds[o->kind], o->trust_domain, o->node);
    authority_event(a, "start", text, now_s);
    if (a->jwks_why[0])
        tokens_tell(a, now_s); /* no reason not to start: the file may come later */
    authority_flush(a);
    return 0;
}

void authority_close(struct authority *a) {
    if (a->provider)
        a->provider = a->ops->close(a->provider);
    authority_flush(a);
    for (size_t i = 0; i < a->n_watchers; i++)
        mailbox_unref(a->watchers[i].reply);
    if (a->o)
        bundles_close(a);
    a->jwt_key = tls_key_free(a->jwt_key);
    growing_deinit(&a->jwks_own);
    a->audit = audit_close(a->audit);
}

bool authority_is_full(const struct authority *a) { return a->n_held == CA_HELD_MAX; }

void authority_take(struct authority *a, const struct world *world, const uint8_t *bytes, size_t n, struct mailbox *reply,
                    int64_t now_s) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_request q = {.kind = CA_MESSAGE_SIGN};
    check(!authority_is_full(a));
    a->world = world;
    a->now_s = now_s;
    int r = pb_consume_ca_request(bytes, n, &arena, &q);
    if (r != PB_OK) {
        struct ca_request unread = {.kind = CA_MESSAGE_SIGN};
        struct judgement j = r < 0 ? refuse(CA_UNAVAILABLE, "no memory to read the request")
                                   : refuse(CA_INVALID_ARGUMENT, "the request cannot be read");
        answer_refusal(a, &unread, NULL, reply, now_s, &j);
    } else if (q.kind == CA_MESSAGE_BUNDLE)
        watchers_request(a, &q, reply, now_s);
    else if (q.kind == CA_MESSAGE_JWT)
        svid_take(a, &q, &arena, reply, now_s);
    else
        answer_sign(a, &q, &arena, reply, now_s);
    a->world = NULL;
}

static void withhold(struct held *h) {
    struct ca_response p = {.kind = h->kind,
                            .id = h->id,
                            .code = CA_INTERNAL,
                            .message = STR("the audit log cannot be written: nothing is signed until it can (is the disk full?)")};
    secret_wipe(h->bytes, h->n); /* may be a token */
    free(h->bytes);
    h->bytes = NULL;
    if (pb_create_ca_response(&p, &h->bytes, &h->n) != 0)
        h->bytes = NULL;
}

static void send_held(struct authority *a, struct held *h) {
    struct mail_bytes *m = h->bytes ? mail_bytes_new(h->bytes, h->n, NULL) : NULL;
    if (!m)
        free(h->bytes);
    int r = m ? mailbox_post(h->reply, &m->mail) : 1;
    if (r != 0) {
        if (m)
            mail_free(&m->mail);
        for (size_t i = 0; h->kind == CA_MESSAGE_BUNDLE && i < a->n_watchers; i++)
            if (a->watchers[i].reply == h->reply)
                a->watchers[i].stale = true;
    }
    mailbox_unref(h->reply);
}

void authority_flush(struct authority *a) {
    bool gives = false;
    for (size_t i = 0; i < a->n_held; i++)
        gives |= a->held[i].gives;
    int r = a->audit ? audit_flush(a->audit, gives) : 0;
    if (r != 0) {
        static struct log_limit limit;
        if (log_limit_allows(&limit, 1))
            log_error("ca", "%s: cannot be written: %s; nothing is signed until it can", a->o->audit_path, strerror(-r));
        counter_add(&a->stats->audit_failed, 1);
    }
    for (size_t i = 0; i < a->n_held; i++) {
        if (r != 0 && a->held[i].gives)
            withhold(&a->held[i]);
        send_held(a, &a->held[i]);
    }
    a->n_held = 0;
}

unsigned authority_poll(const struct authority *a, struct pollfd fds[PROVIDER_POLL_MAX + 1]) {
    fds[0] = (struct pollfd){.fd = follow_fd(a->follow), .events = POLLIN};
    return 1 + a->ops->poll(a->provider, fds + 1);
}

int authority_turn(struct authority *a, const struct pollfd *fds, unsigned n, uint64_t mono_ns, int64_t now_s) {
    a->now_s = now_s;
    int wait_ms = bundles_follow(a, mono_ns, now_s);
    int provider_ms = a->ops->turn(a->provider, fds + 1, n - 1, mono_ns, now_s);
    if (a->changed)
        count_ends(a);
    watchers_tell(a, now_s);
    authority_flush(a);
    if (a->audit && mono_ns >= a->settled_ns + NS_PER_S) {
        a->settled_ns = mono_ns;
        ignore_result(audit_settle(a->audit)); /* tried again in a second; what gives something waits for its own flush */
    }
    return max_of(min_of(min_of(wait_ms, provider_ms), 1000), 1);
}

void authority_report(const struct authority *a, struct growing *to) {
    struct json_writer w;
    char hash[65];
    json_begin(&w, to, false);
    json_object(&w, NULL);
    json_z(&w, "provider", a->ops->name);
    json_str(&w, "trustDomain", a->trust_domain);
    json_u64(&w, "bundleGeneration", a->generation);
    json_u64(&w, "bundleAcknowledged", a->acknowledged);
    json_u64(&w, "watchers", a->n_watchers);
    json_u64(&w, "issued", counter_get(&a->stats->issued));
    json_u64(&w, "pending", a->n_pending);
    json_u64(&w, "foreignBundles", a->o->n_bundles);
    json_u64(&w, "tokenKeys", a->jwks ? a->jwks->n_keys : 0);
    if (a->jwks_why[0])
        json_z(&w, "tokenKeysError", a->jwks_why);
    if (a->audit) {
        json_u64(&w, "auditLine", audit_last(a->audit, hash));
        json_z(&w, "auditHash", hash);
    }
    if (a->last_error[0])
        json_z(&w, "lastError", a->last_error);
    a->ops->report(a->provider, &w);
    json_end(&w);
}
