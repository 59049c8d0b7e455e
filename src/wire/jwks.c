/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/jwks.c - key sets (RFC 7517, 7518): of a set the keys that can verify RS256 or ES256
 *
 * Keys of other kinds are passed over, as the RFC says. A key that we would take but that is wrong makes the whole set wrong:
 * whoever wrote the file hears of it, and the last good set stays in force. */
#include <errno.h>
#include <stdio.h>

#include <ringwall/wire/json.h>
#include <ringwall/wire/jwt.h>

enum { RSA_BYTES_MIN = 2048 / 8, RSA_BYTES_MAX = 4096 / 8, EXPONENT_BYTES_MAX = 4, P256_BYTES = 32 };

/* A set being read. */
struct reading {
    struct arena *arena;
    char *why; /* [128] */
    size_t index;
    bool no_memory;
};
enum taken { TAKEN, SKIPPED, WRONG };

static enum taken wrong(struct reading *r, const char *what) {
    snprintf(r->why, 128, "keys[%zu]: %s", r->index, what);
    return WRONG;
}

/* A number as base64url; false: absent, not canonical, longer than max, or with a leading zero where none belongs. */
static bool take_number(struct reading *r, const struct json *n, size_t max, bool fixed, const uint8_t **ret, size_t *ret_n) {
    struct str text = json_text(n);
    uint8_t *bytes;

    if (text.n == 0 || base64url_bytes_max(text.n) > max + 3)
        return false;
    bytes = arena_alloc(r->arena, max + 3);
    if (!bytes) {
        r->no_memory = true;
        return false;
    }
    if (!base64url_decode(text, bytes, max, ret_n) || *ret_n == 0 || (fixed ? *ret_n != max : bytes[0] == 0))
        return false;
    *ret = bytes;
    return true;
}

static enum taken take_rsa(struct reading *r, const struct json *n, struct jwk *k) {
    if (!take_number(r, json_get(n, "n"), RSA_BYTES_MAX, false, &k->n, &k->n_n))
        return wrong(r, "its modulus (n) is missing, malformed or longer than 4096 bits");
    if (k->n_n < RSA_BYTES_MIN || (k->n_n == RSA_BYTES_MIN && !(k->n[0] & 0x80)))
        return wrong(r, "it is an RSA key of less than 2048 bits");
    if (!(k->n[k->n_n - 1] & 1))
        return wrong(r, "its modulus (n) is even");
    if (!take_number(r, json_get(n, "e"), EXPONENT_BYTES_MAX, false, &k->e, &k->n_e) || !(k->e[k->n_e - 1] & 1) ||
        (k->n_e == 1 && k->e[0] < 3))
        return wrong(r, "its exponent (e) is missing, even, 1, or longer than 32 bits");
    k->algorithm = JWT_RS256;
    return TAKEN;
}

static enum taken take_ec(struct reading *r, const struct json *n, struct jwk *k) {
    size_t n_x, n_y;

    if (!take_number(r, json_get(n, "x"), P256_BYTES, true, &k->x, &n_x) ||
        !take_number(r, json_get(n, "y"), P256_BYTES, true, &k->y, &n_y))
        return wrong(r, "x and y must be 32 bytes each, as base64url");
    k->algorithm = JWT_ES256;
    return TAKEN;
}

/* "use" and "key_ops" say what a key is for; one that says nothing may verify. */
static bool may_verify(const struct json *n, enum jwk_use *ret) {
    const struct json *use = json_get(n, "use"), *operations = json_get(n, "key_ops");

    if (use && !str_is(json_text(use), STR("sig")) && !str_is(json_text(use), STR("jwt-svid")))
        return false;
    *ret = !use ? JWK_USE_ANY : str_is(json_text(use), STR("sig")) ? JWK_USE_SIG : JWK_USE_JWT_SVID;
    for (size_t i = 0; i < json_count(operations); i++)
        if (str_is(json_text(json_at(operations, i)), STR("verify")))
            return true;
    return !operations;
}

static bool says_or_is_silent(const struct json *n, const char *key, struct str value) {
    const struct json *said = json_get(n, key);

    return !said || str_is(json_text(said), value);
}

static enum taken take_key(struct reading *r, const struct json *n, struct jwk *k) {
    struct str kty = json_text(json_get(n, "kty")), kid = json_text(json_get(n, "kid"));
    bool rsa = str_is(kty, STR("RSA")), ec = str_is(kty, STR("EC")), ok = true;
    enum taken taken;

    if (json_kind(n) != JSON_IS_OBJECT || kty.n == 0)
        return wrong(r, "it is no JSON object with a kty");
    if (!(rsa || ec) || !may_verify(n, &k->use) || !says_or_is_silent(n, "alg", rsa ? STR("RS256") : STR("ES256")))
        return SKIPPED;
    if (ec && !str_is(json_text(json_get(n, "crv")), STR("P-256")))
        return SKIPPED;
    if (json_get(n, "d"))
        return wrong(r, "it is a private key: only public keys belong here");
    if (kid.n == 0)
        return wrong(r, "it has no name (kid)");
    taken = rsa ? take_rsa(r, n, k) : take_ec(r, n, k);
    k->kid = arena_str(r->arena, kid, &ok);
    if (!ok)
        r->no_memory = true;
    return taken;
}

static int read_keys(struct reading *r, const struct json *list, struct jwks *ret) {
    size_t n = json_count(list);
    struct jwk *keys = arena_array(r->arena, struct jwk, n + 1);
    struct jwks set = {.keys = keys};

    if (!keys)
        return -ENOMEM;
    for (r->index = 0; r->index < n; r->index++) {
        struct jwk *k = &keys[set.n_keys];
        enum taken taken = take_key(r, json_at(list, r->index), k);

        if (taken == TAKEN && jwks_find(&set, k->kid))
            taken = wrong(r, "another key has the same name (kid)");
        if (r->no_memory)
            return -ENOMEM;
        if (taken == WRONG)
            return 1;
        if (taken == TAKEN)
            set.n_keys++;
        else
            set.n_skipped++;
    }
    *ret = set;
    return 0;
}

int jwks_consume(struct str json, struct arena *a, struct jwks *ret, char why[128]) {
    struct reading r = {.arena = a, .why = why};
    const struct json *list;
    struct json *root;
    int v = 1;

    why[0] = '\0';
    if (json.n > JWKS_BYTES_MAX) {
        snprintf(why, 128, "the key set is larger than %d KiB", JWKS_BYTES_MAX / 1024);
        return 1;
    }
    root = json_read(json, why);
    if (!root)
        return 1;
    list = json_get(root, "keys");
    if (json_kind(list) != JSON_IS_ARRAY || json_count(list) > JWKS_KEYS_MAX)
        snprintf(why, 128, "it is no key set: an object with a list \"keys\" of at most %d", JWKS_KEYS_MAX);
    else
        v = read_keys(&r, list, ret);
    json_free(root);
    return v;
}

const struct jwk *jwks_find(const struct jwks *set, struct str kid) {
    for (size_t i = 0; i < set->n_keys; i++)
        if (str_is(set->keys[i].kid, kid))
            return &set->keys[i];
    return NULL;
}
