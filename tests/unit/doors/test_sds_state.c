/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an SDS stream sends what is owed, once, in the right order, whatever the client answers: ACK, NACK, stale and forged
 * nonces, changed names, silence, an earlier life. Method: tables of steps played on the pure state; each step is what the
 * client says or what changes here, and which names must go out then. */
#include <string.h>

#include <ringwall/base/rng.h>

#include "sds_state.h"
#include "unit.h"

static const uint64_t second = 1000000000ull;

enum say { SAY, ACK, NACK, STALE, FORGED, OLD_VERSION, CHANGE, WAIT };
struct step {
    enum say say;
    const char *names; /* "a,B": capitals are roots; of CHANGE: what gets new content; NULL: none */
    const char *sent;  /* what must go out then, in order; NULL: nothing */
    enum sds_heard heard;
    const char *gone; /* delta */
    bool wild;
};

struct stage {
    struct sds_state s;
    uint64_t now_ns, versions[256]; /* of the content called by that letter */
    char nonce_before[SDS_MARK_BYTES];
};

static bool is_root(char c) { return c >= 'A' && c <= 'Z'; }

static size_t names_of(const char *text, struct sds_name *to, char (*store)[2]) {
    size_t n = 0;
    for (const char *at = text ? text : ""; *at; at++) {
        if (*at == ',')
            continue;
        store[n][0] = *at;
        store[n][1] = 0;
        to[n] = (struct sds_name){.name = {store[n], 1}, .root = is_root(*at)};
        n++;
    }
    return n;
}

static size_t take_now(struct stage *g, size_t items[SDS_ITEMS_MAX]) {
    for (size_t i = 0; i < g->s.n_items; i++)
        g->s.items[i].now = g->versions[(unsigned char)g->s.items[i].name[0]];
    return sds_state_take(&g->s, g->now_ns, items);
}

static void see_sent(struct stage *g, const char *expected, size_t index) {
    size_t items[SDS_ITEMS_MAX];
    char seen[64] = "";
    size_t n = take_now(g, items);
    for (size_t i = 0; i < n; i++)
        strncat(seen, g->s.items[items[i]].name, 1);
    if (strcmp(seen, expected ? expected : "") != 0)
        fail_msg("step %zu sent \"%s\", not \"%s\"", index, seen, expected ? expected : "");
    if (n > 0) {
        sds_state_nonce(&g->s, g->nonce_before);
        sds_state_sent(&g->s, items, n, g->now_ns);
    }
}

static enum sds_heard hear_any(struct stage *g, const struct step *t) {
    char store[SDS_ITEMS_MAX + 2][2], gone_store[8][2], nonce[SDS_MARK_BYTES] = "", version[SDS_MARK_BYTES] = "";
    struct sds_name names[SDS_ITEMS_MAX + 2], gone_names[8];
    struct str gone[8];
    struct sds_ask a = {.names = names, .n_names = names_of(t->names, names, store), .gone = gone, .wild = t->wild};
    a.n_gone = names_of(t->gone, gone_names, gone_store);
    for (size_t i = 0; i < a.n_gone; i++)
        gone[i] = gone_names[i].name;
    if (t->say != SAY)
        sds_state_nonce(&g->s, nonce);
    if (t->say != SAY)
        sds_state_version(&g->s, version);
    if (t->say == STALE)
        strcpy(nonce, g->nonce_before);
    if (t->say == FORGED)
        strcpy(nonce, "0123456789abcdef00000001");
    if (t->say == OLD_VERSION)
        strcpy(version, "");
    a.nonce = str_of(nonce);
    a.version = str_of(version);
    a.has_error = t->say == NACK;
    enum sds_heard heard;
    assert_int_equal(sds_state_hear(&g->s, &a, &heard), 0);
    return heard;
}

static void hear(struct stage *g, const struct step *t, size_t index) {
    enum sds_heard heard = hear_any(g, t);
    if (heard != t->heard)
        fail_msg("step %zu heard %d, not %d", index, heard, t->heard);
}

static void play(bool delta, const char *there, const struct step *steps, size_t n) {
    struct stage g = {.now_ns = 1000 * second};
    for (const char *at = there; *at; at++)
        g.versions[(unsigned char)*at] = 1;
    sds_state_init(&g.s, delta, 0x1122334455667788);
    for (size_t i = 0; i < n; i++) {
        const struct step *t = &steps[i];
        if (t->say == WAIT)
            g.now_ns += SDS_ANSWER_WAIT_NS;
        else if (t->say == CHANGE)
            for (const char *at = t->names; *at; at++)
                g.versions[(unsigned char)*at] += *at != ',';
        else
            hear(&g, t, i);
        see_sent(&g, t->sent, i);
        see_sent(&g, NULL, i); /* nothing goes twice */
    }
    sds_state_deinit(&g.s);
}
#define PLAY(delta, there, ...) \
    do { \
        const struct step steps[] = {__VA_ARGS__}; \
        play(delta, there, steps, array_size(steps)); \
    } while (0)

static void first_is_answered_ack_is_not(void **state unused_arg) {
    PLAY(false, "aR", {SAY, "a", "a", SDS_FIRST}, {ACK, "a", NULL, SDS_ACK}, {CHANGE, "a", "a"}, {ACK, "a", NULL, SDS_ACK},
         {CHANGE, "R", NULL});
}

static void nonce_of_an_earlier_stream_is_a_first_request(void **state unused_arg) {
    PLAY(false, "a", {FORGED, "a", "a", SDS_FIRST}, {ACK, "a", NULL, SDS_ACK});
}

static void refused_version_is_not_sent_again(void **state unused_arg) {
    PLAY(false, "a", {SAY, "a", "a", SDS_FIRST}, {NACK, "a", NULL, SDS_NACK}, {NACK, "a", NULL, SDS_NACK}, {WAIT, NULL, NULL},
         {CHANGE, "a", "a"}, {ACK, "a", NULL, SDS_ACK});
    /* The nonce is the last one, the version is not: it was not taken. */
    PLAY(false, "a", {SAY, "a", "a", SDS_FIRST}, {OLD_VERSION, "a", NULL, SDS_NACK}, {CHANGE, "a", "a"});
}

static void stale_nonce_counts_for_nothing(void **state unused_arg) {
    PLAY(false, "ab", {SAY, "a", "a", SDS_FIRST}, {ACK, "a", NULL, SDS_ACK}, {CHANGE, "a", "a"}, {STALE, "a,b", NULL, SDS_STALE},
         {FORGED, "b", NULL, SDS_STALE}, {ACK, "a,b", "b", SDS_ACK});
}

static void names_change_with_an_answer(void **state unused_arg) {
    PLAY(false, "abc", {SAY, "a", "a", SDS_FIRST}, {ACK, "a,b", "b", SDS_ACK}, {ACK, "b", NULL, SDS_ACK}, {CHANGE, "a", NULL},
         {ACK, "b,a", "a", SDS_CHANGED}, {NACK, "a,c", "c", SDS_NACK});
    /* Empty after names is the end of the subscription; names then begin it again. */
    PLAY(false, "a", {SAY, "a", "a", SDS_FIRST}, {ACK, NULL, NULL, SDS_ACK}, {CHANGE, "a", NULL}, {ACK, "a", "a", SDS_CHANGED});
}

static void what_is_not_there_comes_when_it_is(void **state unused_arg) {
    PLAY(false, "R", {SAY, "a,R", "R", SDS_FIRST}, {ACK, "a,R", NULL, SDS_ACK}, {CHANGE, "a", "a"}, {ACK, "a,R", NULL, SDS_ACK});
    PLAY(false, "", {SAY, "a", NULL, SDS_FIRST}, {SAY, "a,b", NULL, SDS_CHANGED}, {CHANGE, "a,b", "ab"});
}

static void changed_roots_go_before_leaves(void **state unused_arg) {
    PLAY(false, "aR", {SAY, "a,R", "Ra", SDS_FIRST}, {ACK, "a,R", NULL, SDS_ACK}, {CHANGE, "a,R", "R"}, {ACK, "a,R", "a", SDS_ACK},
         {ACK, "a,R", NULL, SDS_ACK});
    /* Refused roots, and roots that nobody answers, do not hold a leaf for ever. */
    PLAY(false, "aR", {SAY, "a,R", "Ra", SDS_FIRST}, {ACK, "a,R", NULL, SDS_ACK}, {CHANGE, "a,R", "R"},
         {NACK, "a,R", "a", SDS_NACK});
    PLAY(false, "aR", {SAY, "a,R", "Ra", SDS_FIRST}, {ACK, "a,R", NULL, SDS_ACK}, {CHANGE, "a,R", "R"}, {WAIT, NULL, "a"},
         {STALE, "a,R", NULL, SDS_STALE}, {ACK, "a,R", NULL, SDS_ACK});
}

static void one_unanswered_response_at_a_time(void **state unused_arg) {
    PLAY(false, "a", {SAY, "a", "a", SDS_FIRST}, {CHANGE, "a", NULL}, {CHANGE, "a", NULL}, {ACK, "a", "a", SDS_ACK},
         {CHANGE, "a", NULL}, {WAIT, NULL, "a"});
}

static void delta_changes_names(void **state unused_arg) {
    PLAY(true, "abR", {SAY, "a", "a", SDS_FIRST}, {ACK, NULL, NULL, SDS_ACK}, {SAY, "b,R", "Rb", SDS_CHANGED},
         {ACK, NULL, NULL, SDS_ACK}, {SAY, NULL, NULL, SDS_CHANGED, "a"}, {CHANGE, "a,b", "b"}, {NACK, NULL, NULL, SDS_NACK},
         /* Asked for again: answered again. */
         {SAY, "b", "b", SDS_CHANGED}, {ACK, NULL, NULL, SDS_ACK},
         /* The nonce is stale, the names are a change all the same. */
         {STALE, "a", "a", SDS_STALE});
}

static void delta_knows_what_the_client_has(void **state unused_arg) {
    struct stage g = {.now_ns = second};
    g.versions['a'] = 7;
    g.versions['b'] = 9;
    sds_state_init(&g.s, true, 1);
    const struct sds_name names[] = {{STR("a"), false}, {STR("b"), false}};
    const struct sds_have have[] = {{STR("a"), 7}, {STR("b"), 8}, {STR("x"), 1}};
    struct sds_ask a = {.names = names, .n_names = 2, .have = have, .n_have = 3};
    enum sds_heard heard;
    assert_int_equal(sds_state_hear(&g.s, &a, &heard), 0);
    see_sent(&g, "b", 0);
    sds_state_deinit(&g.s);
}

static void wildcards(void **state unused_arg) {
    const struct sds_name all[] = {{STR("R"), true}, {STR("a"), false}, {STR("b"), false}};
    for (int delta = 0; delta < 2; delta++) {
        struct stage g = {.now_ns = second};
        g.versions['R'] = g.versions['a'] = g.versions['b'] = 1;
        struct sds_ask none = {0};
        enum sds_heard heard;
        sds_state_init(&g.s, delta, 1);
        assert_int_equal(sds_state_hear(&g.s, &none, &heard), 0);
        assert_true(g.s.wildcard);
        assert_int_equal(sds_state_wild(&g.s, all, 2), 0);
        see_sent(&g, "Ra", 0);
        hear(&g, &(struct step){ACK, NULL, NULL, SDS_ACK}, 1);
        assert_true(g.s.wildcard);
        assert_int_equal(sds_state_wild(&g.s, all, 3), 0);
        see_sent(&g, "b", 1);
        /* Names end it, in the state of the world; in delta "*" is taken back by name. */
        hear(&g, &(struct step){ACK, "a", NULL, SDS_ACK, delta ? "*" : NULL}, 2);
        assert_false(g.s.wildcard);
        sds_state_deinit(&g.s);
    }
}

static void too_many_names(void **state unused_arg) {
    struct sds_state s;
    struct sds_name names[SDS_ITEMS_MAX + 1];
    char store[SDS_ITEMS_MAX + 1][8];
    enum sds_heard heard = SDS_STALE;
    for (size_t i = 0; i < array_size(names); i++) {
        snprintf(store[i], sizeof(store[i]), "n%zu", i);
        names[i] = (struct sds_name){.name = str_of(store[i])};
    }
    struct sds_ask a = {.names = names, .n_names = SDS_ITEMS_MAX};
    sds_state_init(&s, false, 1);
    assert_int_equal(sds_state_hear(&s, &a, &heard), 0);
    a.n_names++;
    assert_int_equal(sds_state_hear(&s, &a, &heard), 1);
    sds_state_deinit(&s);
}

static void settling_and_starving(void **state unused_arg) {
    struct stage g = {.now_ns = second};
    sds_state_init(&g.s, false, 1);
    hear(&g, &(struct step){SAY, "a,R", NULL, SDS_FIRST}, 0);
    see_sent(&g, NULL, 0);
    assert_true(sds_state_starved(&g.s));
    assert_true(sds_state_roots_settled(&g.s));
    g.versions['R'] = 1;
    see_sent(&g, "R", 1);
    assert_false(sds_state_roots_settled(&g.s));
    assert_true(sds_state_next_ns(&g.s) == UINT64_MAX);
    g.versions['a'] = 1;
    see_sent(&g, NULL, 2);
    assert_true(sds_state_next_ns(&g.s) == g.now_ns + SDS_ANSWER_WAIT_NS);
    hear(&g, &(struct step){ACK, "a,R", NULL, SDS_ACK}, 3);
    assert_true(sds_state_roots_settled(&g.s));
    see_sent(&g, "a", 3);
    assert_false(sds_state_starved(&g.s));
    assert_true(sds_state_roots_settled(&g.s));
    sds_state_deinit(&g.s);
}

static void marks_are_of_one_stream(void **state unused_arg) {
    struct sds_state a, b;
    char one[SDS_MARK_BYTES], two[SDS_MARK_BYTES];
    sds_state_init(&a, false, 1);
    sds_state_init(&b, false, 2);
    sds_state_nonce(&a, one);
    sds_state_nonce(&b, two);
    assert_string_not_equal(one, two);
    sds_state_sent(&a, NULL, 0, 0);
    sds_state_nonce(&a, two);
    assert_string_not_equal(one, two);
}

/* Any client: what went out is never repeated without cause, one response at most waits, roots never wait for leaves, and once
 * the client answers all, it has all. */
static void any_client(void **state unused_arg) {
    struct rng rng;
    rng_seed(&rng, 4);
    for (unsigned walk = 0; walk < 2000; walk++) {
        struct stage g = {.now_ns = second};
        bool delta = rng_below(&rng, 2) == 1;
        sds_state_init(&g.s, delta, rng_u64(&rng));
        for (unsigned i = 0; i < 60; i++) {
            static const char *const sets[] = {"a", "b,R", "a,b,R,S", "S", "c,a", NULL};
            static const enum say says[] = {SAY, ACK, NACK, STALE, FORGED, OLD_VERSION};
            struct step t = {.say = says[rng_below(&rng, array_size(says))],
                             .names = sets[rng_below(&rng, array_size(sets))],
                             .gone = delta ? sets[rng_below(&rng, array_size(sets))] : NULL};
            if (rng_below(&rng, 3) == 0)
                g.versions[(unsigned char)"abcRS"[rng_below(&rng, 5)]] += rng_below(&rng, 2) + 1;
            else if (rng_below(&rng, 6) == 0)
                g.now_ns += rng_below(&rng, 2 * SDS_ANSWER_WAIT_NS);
            else
                hear_any(&g, &t);
            size_t items[SDS_ITEMS_MAX], n = take_now(&g, items);
            assert_true(n == 0 || !g.s.waiting || g.now_ns >= g.s.sent_ns + SDS_ANSWER_WAIT_NS);
            bool leaves = false, changed_root = false;
            for (size_t k = 0; k < n; k++) {
                const struct sds_item *item = &g.s.items[items[k]];
                assert_true(item->now != 0 && (item->asked || item->now != item->sent));
                changed_root = changed_root || (item->root && item->sent != 0);
                leaves = leaves || !item->root;
                assert_true(!leaves || !item->root);
            }
            assert_false(leaves && changed_root);
            if (n > 0)
                sds_state_sent(&g.s, items, n, g.now_ns);
        }
        /* A client that behaves from now on. */
        for (unsigned i = 0; i < 4; i++) {
            struct step ack = {.say = ACK, .names = delta ? NULL : "a,b,R,S"};
            size_t items[SDS_ITEMS_MAX], n;
            hear_any(&g, &ack);
            n = take_now(&g, items);
            if (n > 0)
                sds_state_sent(&g.s, items, n, g.now_ns);
        }
        for (size_t i = 0; i < g.s.n_items && !g.s.wildcard; i++)
            assert_true(g.s.items[i].now == 0 || (g.s.items[i].now == g.s.items[i].sent && !g.s.items[i].asked));
        sds_state_deinit(&g.s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_is_answered_ack_is_not),
        cmocka_unit_test(nonce_of_an_earlier_stream_is_a_first_request),
        cmocka_unit_test(refused_version_is_not_sent_again),
        cmocka_unit_test(stale_nonce_counts_for_nothing),
        cmocka_unit_test(names_change_with_an_answer),
        cmocka_unit_test(what_is_not_there_comes_when_it_is),
        cmocka_unit_test(changed_roots_go_before_leaves),
        cmocka_unit_test(one_unanswered_response_at_a_time),
        cmocka_unit_test(delta_changes_names),
        cmocka_unit_test(delta_knows_what_the_client_has),
        cmocka_unit_test(wildcards),
        cmocka_unit_test(too_many_names),
        cmocka_unit_test(settling_and_starving),
        cmocka_unit_test(marks_are_of_one_stream),
        cmocka_unit_test(any_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
