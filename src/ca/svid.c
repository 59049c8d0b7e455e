/* SPDX-License-Identifier: GPL-3.0-or-later
 * svid.c - JWT-SVIDs: signed here with a P-256 key of their own, for identities of this node's workloads
 *
 * The key is kept in a file, so that tokens outlive a restart; it is not the certificates' key, so that a slip in one
 * format is worth nothing in the other. Its public half goes out with the bundles. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>

#include "authority.h"
#include "files_private.h"

static int make_key(const char *path, struct tls_key **ret, char why[CA_WHY_BYTES]) {
    cleanup(tls_key_freep) struct tls_key *key = NULL;
    struct secret pem cleanup(secret_deinit) = SECRET_NULL;
    int r = tls_key_generate(&key);
    if (r == 0)
        r = tls_key_to_pem(key, &pem);
    if (r != 0)
        return err_fold(r);
    r = io_write_file(path, pem.at, pem.n, 0600);
    if (r < 0) {
        ca_say(why, "%s: cannot be written: %s", path, strerror(-r));
        return 1;
    }
    *ret = take_ptr(key);
    return 0;
}

static int load_key(const char *path, struct tls_key **ret, char why[CA_WHY_BYTES]) {
    char *pem = NULL;
    size_t n = 0;
    int r = io_read_file(path, CA_FILE_MAX, &pem, &n);
    if (r < 0) {
        ca_say(why, "%s: cannot be read: %s", path, strerror(-r));
        return 1;
    }
    r = tls_key_from_pem((struct str){pem, n}, ret);
    secret_wipe(pem, n);
    free(pem);
    if (r == 0 && strcmp(tls_key_kind(*ret), "P-256") == 0)
        return 0;
    ca_say(why, "%s: is no P-256 private key in PEM form: remove it, and another is made", path);
    return r < 0 ? err_trace(r) : 1;
}

int svid_open(struct authority *a, char why[CA_WHY_BYTES]) {
    const char *path = a->o->jwt_key_path;
    if (!path)
        return 0;
    int r = access(path, F_OK) == 0 ? load_key(path, &a->jwt_key, why) : make_key(path, &a->jwt_key, why);
    if (r != 0)
        return r;
    jws_kid(a->jwt_key, a->jwt_kid);
    growing_add(&a->jwks_own, STR("{\"keys\":["));
    jws_add_jwk(a->jwt_key, str_of(a->jwt_kid), "jwt-svid", &a->jwks_own);
    growing_add(&a->jwks_own, STR("]}"));
    return a->jwks_own.failed ? err_origin(-ENOMEM) : 0;
}

static struct judgement judge(const struct authority *a, const struct ca_request *q, const struct caller *c, struct identity *ret) {
    if (!a->jwt_key)
        return refuse(CA_UNIMPLEMENTED, "this CA signs no JWT-SVIDs");
    if (strcmp(c->kind, "node") != 0)
        return refuse(CA_PERMISSION_DENIED, "JWT-SVIDs are for this node's own doors");
    struct judgement j = judge_identity(a, q, c, ret);
    if (j.code != CA_OK)
        return j;
    if (q->n_audience == 0)
        return refuse(CA_INVALID_ARGUMENT, "a JWT-SVID needs an audience");
    for (size_t i = 0; i < q->n_audience; i++)
        if (q->audience[i].n == 0 || !str_is_utf8(q->audience[i]))
            return refuse(CA_INVALID_ARGUMENT, "an audience of a JWT-SVID is empty or no text");
    if (q->validity_s > CA_JWT_TTL_MAX_S)
        return refuse(CA_INVALID_ARGUMENT, "the validity asked for is longer than an hour");
    return JUDGED_OK;
}

void svid_take(struct authority *a, const struct ca_request *q, struct arena *arena, struct mailbox *reply, int64_t now_s) {
    struct growing token cleanup(growing_deinit) = GROWING_NULL;
    struct caller caller;
    struct identity identity;
    struct judgement j = judge_caller(a, q, arena, now_s, &caller);
    if (j.code == CA_OK)
        j = judge(a, q, &caller, &identity);
    int64_t end_s = now_s + (q->validity_s > 0 ? q->validity_s : CA_JWT_TTL_S);
    if (j.code == CA_OK) {
        struct jwt_claims claims = {.kid = str_of(a->jwt_kid),
                                    .subject = identity_uri(&identity),
                                    .audience = q->audience,
                                    .n_audience = q->n_audience,
                                    .issued_s = now_s,
                                    .expires_s = end_s};
        jwt_create(&claims, &token);
        if (token.failed || jws_sign(a->jwt_key, &token) != 0 || token.failed)
            j = refuse(CA_INTERNAL, "signing failed");
    }
    struct audit_entry e = {.event = "issued",
                            .what = "jwt",
                            .caller = caller.kind,
                            .node = caller.node,
                            .peer = caller.peer,
                            .identity = identity_uri(&identity),
                            .not_before = now_s,
                            .not_after = end_s};
    if (j.code == CA_OK && a->audit && audit_add(a->audit, now_s, &e) != 0)
        j = refuse(CA_INTERNAL, "the audit log cannot be written: nothing is signed until it can");
    if (j.code != CA_OK) {
        answer_refusal(a, q, &caller, reply, now_s, &j);
        return;
    }
    counter_add(&a->stats->jwt_issued, 1);
    struct ca_response p = {.kind = CA_MESSAGE_JWT, .id = q->id, .token = {token.at, token.n}, .expires_s = end_s};
    hold_answer(a, &p, reply, true);
}
