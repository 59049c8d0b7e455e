/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/jwt.c - see wire/jwt.h
 *
 * Nothing of a token stands in `why`: it goes to logs, and a log is not where tokens belong. */
#include <errno.h>
#include <stdio.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/json.h>
#include <ringwall/wire/jwt.h>

static const int64_t time_max_s = 253402300799; /* the year 9999: sums with it do not overflow */

const char *jwt_verdict_text(enum jwt_verdict v) {
#define JWT_VERDICT_TEXT(upper, text) text,
    static const char *const texts[] = {JWT_VERDICTS(JWT_VERDICT_TEXT)};
#undef JWT_VERDICT_TEXT
    check((unsigned)v < _JWT_VERDICT_MAX);
    return texts[v];
}

/* A token being read. */
struct reading {
    struct arena *arena;
    struct jwt *t;
    char *why; /* [128] */
    bool no_memory;
};

static int wrong(struct reading *r, const char *why) {
    snprintf(r->why, 128, "%s", why);
    return JWT_MALFORMED;
}

/* Text for identities and logs: no control bytes. */
static bool plain_text(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.at[i] < 0x20 || s.at[i] == 0x7f)
            return false;
    return true;
}

/* False: there, and not text. Absent: STR_NULL. */
static bool take_text(struct reading *r, const struct json *n, struct str *ret) {
    bool ok = true;

    if (json_kind(n) == JSON_IS_ABSENT)
        return true;
    if (json_kind(n) != JSON_IS_TEXT || !plain_text(json_text(n)))
        return false;
    *ret = arena_str(r->arena, json_text(n), &ok);
    if (!ok)
        r->no_memory = true;
    return true;
}

/* False: there, and not a whole number of seconds in our era. */
static bool take_time(const struct json *n, int64_t *ret) {
    if (json_kind(n) == JSON_IS_ABSENT)
        return true;
    return json_number(n, ret) && *ret >= 0 && *ret <= time_max_s;
}

static bool take_audience(struct reading *r, const struct json *n) {
    size_t count = json_kind(n) == JSON_IS_ARRAY ? json_count(n) : json_kind(n) == JSON_IS_ABSENT ? 0 : 1;

    if (count > JWT_AUDIENCE_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct json *one = json_kind(n) == JSON_IS_ARRAY ? json_at(n, i) : n;

        if (json_kind(one) != JSON_IS_TEXT || json_text(one).n == 0 || !take_text(r, one, &r->t->audience[i]))
            return false;
    }
    r->t->n_audience = count;
    return true;
}

static bool take_object(struct reading *r, const struct json *n, struct jwt_object *ret) {
    if (json_kind(n) == JSON_IS_ABSENT)
        return true;
    return json_kind(n) == JSON_IS_OBJECT && take_text(r, json_get(n, "name"), &ret->name) &&
           take_text(r, json_get(n, "uid"), &ret->uid);
}

static bool take_kubernetes(struct reading *r, const struct json *n) {
    if (json_kind(n) == JSON_IS_ABSENT)
        return true;
    return json_kind(n) == JSON_IS_OBJECT && take_text(r, json_get(n, "namespace"), &r->t->kubernetes.namespace) &&
           take_object(r, json_get(n, "pod"), &r->t->kubernetes.pod) &&
           take_object(r, json_get(n, "serviceaccount"), &r->t->kubernetes.service_account) &&
           take_object(r, json_get(n, "node"), &r->t->kubernetes.node);
}

static int read_header(struct reading *r, const struct json *header) {
    struct str alg = json_text(json_get(header, "alg")), typ = STR_NULL;

    if (json_kind(header) != JSON_IS_OBJECT)
        return wrong(r, "the header is no JSON object");
    if (json_get(header, "crit"))
        return wrong(r, "the header asks for an extension (crit)");
    if (!take_text(r, json_get(header, "typ"), &typ) || (typ.n && !str_fold_is(typ, STR("JWT")) && !str_fold_is(typ, STR("JOSE"))))
        return wrong(r, "the header's typ is neither JWT nor JOSE");
    if (str_is(alg, STR("RS256"))) {
        r->t->algorithm = JWT_RS256;
    } else if (str_is(alg, STR("ES256"))) {
        r->t->algorithm = JWT_ES256;
    } else {
        snprintf(r->why, 128, "the header's alg is neither RS256 nor ES256");
        return JWT_ALGORITHM;
    }
    if (!take_text(r, json_get(header, "kid"), &r->t->kid) || (r->t->kid.n == 0 && !r->no_memory))
        return wrong(r, "the header names no key (kid)");
    return JWT_OK;
}

static int read_claims(struct reading *r, const struct json *claims) {
    struct jwt *t = r->t;

    if (json_kind(claims) != JSON_IS_OBJECT)
        return wrong(r, "the claims are no JSON object");
    if (!take_text(r, json_get(claims, "iss"), &t->issuer))
        return wrong(r, "iss is not text");
    if (!take_text(r, json_get(claims, "sub"), &t->subject) || (t->subject.n == 0 && !r->no_memory))
        return wrong(r, "there is no subject (sub)");
    if (!take_audience(r, json_get(claims, "aud")))
        return wrong(r, "aud is neither text nor a list of texts");
    if (!json_get(claims, "exp") || !take_time(json_get(claims, "exp"), &t->expires_s))
        return wrong(r, "there is no end (exp) as whole seconds");
    if (!take_time(json_get(claims, "nbf"), &t->not_before_s) || !take_time(json_get(claims, "iat"), &t->issued_s))
        return wrong(r, "nbf or iat is not a time as whole seconds");
    if (!take_kubernetes(r, json_get(claims, "kubernetes.io")))
        return wrong(r, "the claim kubernetes.io is not as Kubernetes writes it");
    return JWT_OK;
}

/* The text of one part, in the arena. */
static int decode_part(struct reading *r, struct str part, struct str *ret) {
    size_t cap = base64url_bytes_max(part.n), n = 0;
    uint8_t *bytes = arena_alloc(r->arena, cap);

    if (!bytes)
        return -ENOMEM;
    if (part.n == 0 || !base64url_decode(part, bytes, cap, &n))
        return wrong(r, "a part is not base64url");
    *ret = (struct str){(const char *)bytes, n};
    return JWT_OK;
}

static int read_part(struct reading *r, struct str part, int (*read)(struct reading *, const struct json *), struct str *ret) {
    char unsaid[128]; /* may quote the token */
    struct json *json;
    int v = decode_part(r, part, ret);

    if (v != JWT_OK)
        return v;
    json = json_read(*ret, unsaid);
    v = json ? read(r, json) : wrong(r, "a part is not JSON, or has a key twice");
    json_free(json);
    return v == JWT_OK && r->no_memory ? -ENOMEM : v;
}

int jwt_consume(struct str token, struct arena *a, struct jwt *ret, char why[128]) {
    struct jwt t = {0};
    struct reading r = {.arena = a, .t = &t, .why = why};
    struct str rest = token, header, payload, unused;
    int v;

    why[0] = '\0';
    if (token.n == 0 || token.n > JWT_BYTES_MAX)
        return wrong(&r, "it is empty or too long");
    if (!str_split(&rest, '.', &header) || !rest.at || !str_split(&rest, '.', &payload) || !rest.at || memchr(rest.at, '.', rest.n))
        return wrong(&r, "it does not have three parts");
    t.signed_part = (struct str){token.at, header.n + 1 + payload.n};
    v = read_part(&r, header, read_header, &unused);
    if (v == JWT_OK)
        v = read_part(&r, payload, read_claims, &t.claims);
    if (v == JWT_OK && (rest.n == 0 || !base64url_decode(rest, t.signature, sizeof(t.signature), &t.n_signature)))
        v = wrong(&r, "its signature is missing, too long, or not base64url");
    if (v == JWT_OK)
        *ret = t;
    return v;
}

enum jwt_verdict jwt_check(const struct jwt *t, const struct jwt_expected *e) {
    bool for_us = e->audience.n == 0;

    if (e->issuer.n && !str_is(t->issuer, e->issuer))
        return JWT_ISSUER;
    for (size_t i = 0; i < t->n_audience; i++)
        for_us |= str_is(t->audience[i], e->audience);
    if (!for_us)
        return JWT_AUDIENCE;
    if (e->now_s - JWT_LEEWAY_S >= t->expires_s)
        return JWT_EXPIRED;
    return e->now_s + JWT_LEEWAY_S < t->not_before_s ? JWT_NOT_YET : JWT_OK;
}

static void add_part(struct growing *to, const struct growing *json) {
    base64url_add(to, json->at ? json->at : "", json->n);
    to->failed |= json->failed;
}

void jwt_create(const struct jwt_claims *c, struct growing *to) {
    cleanup(growing_deinit) struct growing header = GROWING_NULL, claims = GROWING_NULL;
    struct json_writer w;

    json_begin(&w, &header, false);
    json_object(&w, NULL);
    json_z(&w, "alg", "ES256");
    json_str(&w, "kid", c->kid);
    json_z(&w, "typ", "JWT");
    json_end(&w);
    json_begin(&w, &claims, false);
    json_object(&w, NULL);
    json_array(&w, "aud");
    for (size_t i = 0; i < c->n_audience; i++)
        json_str(&w, NULL, c->audience[i]);
    json_end(&w);
    json_i64(&w, "exp", c->expires_s);
    json_i64(&w, "iat", c->issued_s);
    if (c->issuer.n)
        json_str(&w, "iss", c->issuer);
    json_str(&w, "sub", c->subject);
    json_end(&w);
    add_part(to, &header);
    growing_add(to, STR("."));
    add_part(to, &claims);
}
