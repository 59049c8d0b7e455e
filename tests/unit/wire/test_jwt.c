/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a token is read strictly: whatever two readers might read in two ways is refused; claims are judged at their edges.
 * Method: tables of headers and claims, encoded here; a Kubernetes token's shape; every cut and changed byte. */
#include <errno.h>

#include <ringwall/wire/jwt.h>

#include "unit.h"

#define HEADER "{\"alg\":\"RS256\",\"kid\":\"k1\"}"
#define CLAIMS "{\"sub\":\"s\",\"exp\":1000}"

/* header.payload.signature of these texts; the caller frees. */
static struct growing token_of(const char *header, const char *claims) {
    struct growing g = GROWING_NULL;
    base64url_add(&g, header, strlen(header));
    growing_add(&g, STR("."));
    base64url_add(&g, claims, strlen(claims));
    growing_add(&g, STR(".c2ln"));
    return g;
}

static int consume(const char *header, const char *claims, struct arena *a, struct jwt *ret) {
    struct growing g cleanup(growing_deinit) = token_of(header, claims);
    char why[128];
    int v = jwt_consume((struct str){g.at, g.n}, a, ret, why);
    assert_int_equal(why[0] == '\0', v == JWT_OK);
    return v;
}

static void a_kubernetes_token(void **state) {
    static const char claims[] =
        "{\"aud\":[\"istio-ca\",\"other\"],\"exp\":1700043200,\"iat\":1700000000,\"iss\":\"https://kubernetes.default.svc\","
        "\"jti\":\"x\",\"kubernetes.io\":{\"namespace\":\"bank\",\"node\":{\"name\":\"node-1\",\"uid\":\"n-uid\"},"
        "\"pod\":{\"name\":\"web-0\",\"uid\":\"p-uid\"},\"serviceaccount\":{\"name\":\"web\",\"uid\":\"s-uid\"},\"warnafter\":1},"
        "\"nbf\":1700000001,\"sub\":\"system:serviceaccount:bank:web\"}";
    struct growing g cleanup(growing_deinit) = token_of(HEADER, claims);
    struct arena a = ARENA_NULL;
    struct jwt t;
    char why[128];
    assert_int_equal(jwt_consume((struct str){g.at, g.n}, &a, &t, why), JWT_OK);
    assert_true(t.algorithm == JWT_RS256 && str_is(t.kid, STR("k1")) && t.n_signature == 3 && !memcmp(t.signature, "sig", 3));
    assert_true(t.signed_part.at == g.at && t.signed_part.n == g.n - 5);
    assert_true(str_is(t.claims, str_of(claims)));
    assert_true(str_is(t.issuer, STR("https://kubernetes.default.svc")) &&
                str_is(t.subject, STR("system:serviceaccount:bank:web")));
    assert_true(t.n_audience == 2 && str_is(t.audience[0], STR("istio-ca")) && str_is(t.audience[1], STR("other")));
    assert_true(t.expires_s == 1700043200 && t.issued_s == 1700000000 && t.not_before_s == 1700000001);
    assert_true(str_is(t.kubernetes.namespace, STR("bank")) && str_is(t.kubernetes.pod.name, STR("web-0")) &&
                str_is(t.kubernetes.pod.uid, STR("p-uid")) && str_is(t.kubernetes.service_account.name, STR("web")) &&
                str_is(t.kubernetes.node.name, STR("node-1")));
    arena_deinit(&a);
}

static void headers(void **state) {
    static const struct {
        const char *header;
        int verdict;
    } table[] = {
        {"{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}", JWT_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"typ\":\"jose\"}", JWT_OK},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"jwk\":{\"kty\":\"oct\"},\"x5u\":\"http://x\"}", JWT_OK}, /* not looked at */
        {"{\"alg\":\"none\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"None\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"HS256\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"rs256\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"RS512\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"PS256\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":[\"RS256\"],\"kid\":\"k\"}", JWT_ALGORITHM},
        {"{\"alg\":\"RS256\\u0000\",\"kid\":\"k\"}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\"}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":7}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"a\\nb\"}", JWT_MALFORMED},
        {"{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"k\"}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\":[\"b64\"],\"b64\":false}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\":[]}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"typ\":\"at+jwt\"}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\",\"typ\":1}", JWT_MALFORMED},
        {"[\"RS256\"]", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\"}{}", JWT_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k\"", JWT_MALFORMED},
        {"{'alg':'RS256','kid':'k'}", JWT_MALFORMED},
    };
    struct arena a = ARENA_NULL;
    struct jwt t;
    for (size_t i = 0; i < array_size(table); i++)
        assert_int_equal(consume(table[i].header, CLAIMS, &a, &t), table[i].verdict);
    arena_deinit(&a);
}

static void claims(void **state) {
    static const struct {
        const char *claims;
        int verdict;
    } table[] = {
        {"{\"sub\":\"s\",\"exp\":1}", JWT_OK},
        {"{\"sub\":\"s\",\"exp\":253402300799,\"aud\":\"x\"}", JWT_OK},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":[]}", JWT_OK}, /* for nobody */
        {"{\"sub\":\"s\",\"exp\":1,\"kubernetes.io\":{}}", JWT_OK},
        {"{\"sub\":\"s\"}", JWT_MALFORMED},
        {"{\"exp\":1}", JWT_MALFORMED},
        {"{\"sub\":\"\",\"exp\":1}", JWT_MALFORMED},
        {"{\"sub\":7,\"exp\":1}", JWT_MALFORMED},
        {"{\"sub\":\"a\\u0007\",\"exp\":1}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":\"1\"}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1.5}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1e9}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":-1}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":253402300800}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":9223372036854775807}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":9223372036854775808}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":99999999999999999999999999}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":null}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"nbf\":\"x\"}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"iat\":-5}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"exp\":2}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"iss\":[\"x\"]}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":[[\"x\"]]}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":[\"x\",1]}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":{\"x\":1}}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":\"\"}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":[\"\"]}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\","
         "\"14\","
         "\"15\",\"16\",\"17\"]}",
         JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"kubernetes.io\":\"x\"}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"kubernetes.io\":{\"pod\":\"x\"}}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1,\"kubernetes.io\":{\"namespace\":\"a\",\"namespace\":\"b\"}}", JWT_MALFORMED},
        {"{\"sub\":\"s\",\"exp\":1} ", JWT_OK}, /* a blank is JSON's own */
        {"{\"sub\":\"s\",\"exp\":1}x", JWT_MALFORMED},
        {"\xff{\"sub\":\"s\",\"exp\":1}", JWT_MALFORMED},
        {"", JWT_MALFORMED},
    };
    struct arena a = ARENA_NULL;
    struct jwt t;
    for (size_t i = 0; i < array_size(table); i++)
        assert_int_equal(consume(HEADER, table[i].claims, &a, &t), table[i].verdict);
    arena_deinit(&a);
}

static void three_parts_of_base64url(void **state) {
    struct growing well cleanup(growing_deinit) = token_of(HEADER, CLAIMS);
    struct arena a = ARENA_NULL;
    struct jwt t;
    char why[128], text[512];
    int n = snprintf(text, sizeof(text), "%s", well.at);
    assert_int_equal(jwt_consume((struct str){text, (size_t)n}, &a, &t, why), JWT_OK);
    static const char *const tails[] = {".x", ".", "=", "\n", " ", "A", "*"}; /* c2lnA is no length */
    for (size_t i = 0; i < array_size(tails); i++) {
        int more = snprintf(text, sizeof(text), "%s%s", well.at, tails[i]);
        assert_int_equal(jwt_consume((struct str){text, (size_t)more}, &a, &t, why), JWT_MALFORMED);
    }
    static const char *const others[] = {"", ".", "..", "...", "a.b", "a.b.c", "Bearer x.y.z"};
    for (size_t i = 0; i < array_size(others); i++)
        assert_int_equal(jwt_consume(str_of(others[i]), &a, &t, why), JWT_MALFORMED);
    assert_int_equal(jwt_consume((struct str){well.at, well.n - 4}, &a, &t, why), JWT_MALFORMED); /* no signature */
    assert_int_equal(jwt_consume((struct str){well.at, well.n - 5}, &a, &t, why), JWT_MALFORMED);
    char *big = malloc(JWT_BYTES_MAX + 1);
    memset(big, 'A', JWT_BYTES_MAX + 1);
    assert_int_equal(jwt_consume((struct str){big, JWT_BYTES_MAX + 1}, &a, &t, why), JWT_MALFORMED);
    memcpy(big, well.at, well.n); /* a signature of more than 512 bytes */
    assert_int_equal(jwt_consume((struct str){big, well.n + 684}, &a, &t, why), JWT_MALFORMED);
    free(big);
    arena_deinit(&a);
    struct arena small = {.bytes_max = 40};
    assert_int_equal(jwt_consume((struct str){well.at, well.n}, &small, &t, why), -ENOMEM);
    arena_deinit(&small);
}

static void damage_never_harms(void **state) {
    struct growing well cleanup(growing_deinit) = token_of(HEADER, CLAIMS);
    for (size_t at = 0; at < well.n; at++)
        for (unsigned bit = 0; bit < 9; bit++) {
            struct arena a = ARENA_NULL;
            struct jwt t;
            char why[128];
            size_t n = bit == 8 ? at : well.n;
            char *copy = malloc(n + 1);
            memcpy(copy, well.at, n);
            if (bit < 8)
                copy[at] ^= (char)(1u << bit);
            int v = jwt_consume((struct str){copy, n}, &a, &t, why);
            assert_in_range(v, JWT_OK, JWT_ALGORITHM);
            assert_true(bit < 8 || v == JWT_MALFORMED || n >= well.n - 2); /* of the signature a shorter one is left */
            free(copy);
            arena_deinit(&a);
        }
}

static void claims_at_their_edges(void **state) {
    struct jwt t = {.issuer = STR("i"), .audience = {STR("a"), STR("b")}, .n_audience = 2, .expires_s = 1000, .not_before_s = 500};
    static const struct {
        struct jwt_expected expected;
        enum jwt_verdict verdict;
    } table[] = {
        {{{"i", 1}, {"a", 1}, 700}, JWT_OK},
        {{{"i", 1}, {"b", 1}, 700}, JWT_OK},
        {{{"", 0}, {"", 0}, 700}, JWT_OK},
        {{{"j", 1}, {"a", 1}, 700}, JWT_ISSUER},
        {{{"i", 1}, {"c", 1}, 700}, JWT_AUDIENCE},
        {{{"i", 1}, {"aa", 2}, 700}, JWT_AUDIENCE},
        {{{"i", 1}, {"a", 1}, 1000 + JWT_LEEWAY_S - 1}, JWT_OK},
        {{{"i", 1}, {"a", 1}, 1000 + JWT_LEEWAY_S}, JWT_EXPIRED},
        {{{"i", 1}, {"a", 1}, 500 - JWT_LEEWAY_S}, JWT_OK},
        {{{"i", 1}, {"a", 1}, 500 - JWT_LEEWAY_S - 1}, JWT_NOT_YET},
        {{{"j", 1}, {"c", 1}, 9999}, JWT_ISSUER},
    };
    for (size_t i = 0; i < array_size(table); i++)
        assert_int_equal(jwt_check(&t, &table[i].expected), table[i].verdict);
    t.n_audience = 0;
    assert_int_equal(jwt_check(&t, &table[0].expected), JWT_AUDIENCE);
    for (int v = 0; v < _JWT_VERDICT_MAX; v++)
        assert_true(strlen(jwt_verdict_text((enum jwt_verdict)v)) > 3);
}

static void what_we_make_we_read(void **state) {
    struct str audience[] = {STR("a\"b"), STR("c")};
    struct jwt_claims c = {STR("kid"), STR("https://i"), STR("spiffe://a/b"), audience, 2, 100, 400};
    for (int issuer = 0; issuer < 2; issuer++) {
        struct growing g cleanup(growing_deinit) = GROWING_NULL;
        struct arena a = ARENA_NULL;
        struct jwt t;
        char why[128];
        if (!issuer)
            c.issuer = STR_NULL;
        jwt_create(&c, &g);
        growing_add(&g, STR(".c2ln"));
        assert_int_equal(jwt_consume((struct str){g.at, g.n}, &a, &t, why), JWT_OK);
        assert_true(t.algorithm == JWT_ES256 && str_is(t.kid, c.kid) && str_is(t.issuer, c.issuer) && str_is(t.subject, c.subject));
        assert_true(t.n_audience == 2 && str_is(t.audience[0], audience[0]) && t.expires_s == 400 && t.issued_s == 100);
        arena_deinit(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kubernetes_token),
        cmocka_unit_test(headers),
        cmocka_unit_test(claims),
        cmocka_unit_test(three_parts_of_base64url),
        cmocka_unit_test(damage_never_harms),
        cmocka_unit_test(claims_at_their_edges),
        cmocka_unit_test(what_we_make_we_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
