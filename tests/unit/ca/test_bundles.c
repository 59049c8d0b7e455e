/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: bundles of other trust domains come with ours, follow their files, keep the last good when a file is spoiled, and reach
 * every watcher as a new generation.
 * Method: an authority with two foreign bundle files that are changed between turns. */
#include "door.h"

static struct door d;
static struct ca_bundle_file files[2];
static char paths[2][400];
static uint64_t mono = 1000000000;

static void foreign_root(const char *name, const char *td, const char *to) {
    char dir[400], why[CA_WHY_BYTES];
    snprintf(dir, sizeof(dir), "%s/%s", d.base, name);
    assert_int_equal(ca_dir_init(dir, str_of(td), d.now, why), 0);
    if (to)
        door_shell("cp %s/root-cert.pem %s.new && mv %s.new %s", dir, to, to, to);
}

static int make(void **state) {
    door_init(&d);
    static const char *const domains[] = {"a.example", "b.example"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s.pem", d.base, domains[i]);
        files[i] = (struct ca_bundle_file){str_of(domains[i]), paths[i]};
        foreign_root(domains[i], domains[i], paths[i]);
    }
    d.options.bundles = files;
    d.options.n_bundles = 2;
    door_open(&d);
    return 0;
}

static int unmake(void **state) {
    door_deinit(&d);
    return 0;
}

static void turn(void) {
    struct pollfd fds[PROVIDER_POLL_MAX + 1];
    for (unsigned i = 0; i < 3; i++) {
        authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
        mono += 2 * FOLLOW_LOOK_MS * 1000000ull;
    }
}

static void all_in_one_answer(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 1, .watch = true};
    struct ca_response p = door_ask(&d, &q, NULL, &arena);
    assert_int_equal(p.n_bundles, 3);
    assert_true(str_is(p.bundles[0].trust_domain, STR("cluster.local")));
    assert_true(str_is(p.bundles[2].trust_domain, STR("b.example")));
    assert_int_equal(p.bundles[2].n_roots, 1);
    arena_deinit(&arena);
}

static void followed(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_response p;
    char serial[] = "abcd", why[CA_WHY_BYTES], dir[400];
    struct str one = str_of(serial);
    size_t n;
    turn();
    assert_false(door_take(&d, &arena, &p));
    /* another root and a list of revocations */
    foreign_root("b2", "b.example", NULL);
    snprintf(dir, sizeof(dir), "%s/b2", d.base);
    assert_int_equal(ca_dir_revoke(dir, &one, 1, d.now, &n, why), 0);
    door_shell("cat %s/root-cert.pem %s/ca-crl.pem >> %s", dir, dir, paths[1]);
    turn();
    assert_true(door_take(&d, &arena, &p));
    assert_int_equal(p.generation, 2);
    assert_int_equal(p.bundles[2].n_roots, 2);
    assert_int_equal(p.bundles[2].n_crls, 1);
    assert_int_equal(p.bundles[1].n_roots, 1);
    arena_deinit(&arena);
}

static void last_good_stays(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_response p;
    char keep[500];
    snprintf(keep, sizeof(keep), "%s.keep", paths[1]);
    door_shell("cp %s %s", paths[1], keep);
    static const char *const spoilers[] = {"echo nothing > $1", "rm $1", "head -c 700 $2 > $1",
                                           "sed 's/X509 CRL/CERTIFICATE/' $2 > $1", "cp $3/node/ca-key.pem $1"};
    for (size_t i = 0; i < array_size(spoilers); i++) {
        char command[2000];
        uint64_t refused = counter_get(&d.authority.stats->reloads_refused);
        snprintf(command, sizeof(command), "set -- %s %s %s; %s", paths[1], keep, d.base, spoilers[i]);
        assert_int_equal(system(command), 0);
        turn();
        if (counter_get(&d.authority.stats->reloads_refused) != refused + 1)
            fail_msg("%s", command);
        assert_false(door_take(&d, &arena, &p));
        struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 2};
        p = door_ask(&d, &q, NULL, &arena);
        assert_int_equal(p.generation, 2);
        assert_int_equal(p.bundles[2].n_roots, 2);
        assert_int_equal(p.bundles[2].n_crls, 1);
    }
    assert_true(door_recorded(&d, "reload-refused") >= array_size(spoilers));
    arena_deinit(&arena);
}

static void bad_at_start(void **state) {
    struct authority other;
    struct ca_options o = d.options;
    char why[CA_WHY_BYTES] = "";
    o.audit_path = NULL;
    door_shell("echo nothing > %s", paths[0]);
    assert_int_equal(authority_open(&other, &o, d.now, why), 1);
    assert_non_null(strstr(why, paths[0]));
    authority_close(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_in_one_answer), cmocka_unit_test(followed),
                                       cmocka_unit_test(last_good_stays), cmocka_unit_test(bad_at_start)};
    return cmocka_run_group_tests(tests, make, unmake);
}
