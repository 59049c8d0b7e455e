/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a CA directory is followed while it is in use: changes are taken as a whole set or refused, nothing is signed below a
 * root that is not adopted yet, and the built-in root rolls over by its schedule.
 * Method: the provider with a host of our own and clocks that we set; changes by rename, in place, by a ..data swap, and one
 * file at a time. Signing is looked at by who signed the leaf. */
#include <string.h>
#include <time.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>

#include "../../../src/ca/files_private.h"
#include "../../../src/ca/follow.h"
#include "../../../src/ca/provider.h"
#include "unit.h"

enum { DAY = 86400 };
static char base[256], why[CA_WHY_BYTES], last_event[64], last_text[CA_WHY_BYTES];
static int64_t now;
static uint64_t mono = NS_PER_S;
static unsigned n_changed;
static struct ca_options options;
static void *provider;
static struct tls_key *key;
static struct tls_csr *csr;
static struct identity identity;

static char *in(const char *name) {
    static char paths[4][400];
    static unsigned turn;
    char *to = paths[turn++ % 4];
    snprintf(to, 400, "%s/%s", base, name);
    return to;
}

static void shell(const char *fmt, ...) printf_like(1, 2);
static void shell(const char *fmt, ...) {
    char command[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void changed(void *context) { n_changed++; }

static void event(void *context, const char *name, const char *text) {
    snprintf(last_event, sizeof(last_event), "%s", name);
    snprintf(last_text, sizeof(last_text), "%s", text);
}

static void answered(void *context, struct provider_job *job, struct provider_answer *a) { fail(); }

static const struct provider_host host = {.answered = answered, .changed = changed, .event = event};

static void open_provider(enum ca_kind kind, const char *path) {
    static char dir[400];
    snprintf(dir, sizeof(dir), "%s", path);
    options = (struct ca_options){.kind = kind,
                                  .dir = dir,
                                  .trust_domain = "cluster.local",
                                  .node = "node-1",
                                  .ttl_default_s = 3600,
                                  .ttl_max_s = CA_TTL_MAX_S};
    if (provider_local.open(&options, &host, now, &provider, why) != 0)
        fail_msg("%s", why);
    n_changed = 0;
    last_event[0] = last_text[0] = '\0';
}

/* Time goes on far enough for what changed to be due. */
static void turn(void) {
    struct pollfd fds[PROVIDER_POLL_MAX];
    unsigned n = provider_local.poll(provider, fds);
    provider_local.turn(provider, fds, n, mono, now);
    mono += FOLLOW_LATE_MS * NS_PER_MS;
    provider_local.turn(provider, fds, n, mono, now);
    mono += FOLLOW_LOOK_MS * NS_PER_MS;
    provider_local.turn(provider, fds, n, mono, now);
}

static struct provider_answer sign(void) {
    struct provider_answer a;
    struct provider_job job = {.kind = PROVIDER_LEAF, .identity = identity, .csr = csr, .ttl_s = 3600};
    assert_int_equal(provider_local.sign(provider, &job, now, &a), PROVIDER_NOW);
    return a;
}

/* Is the next leaf signed by the certificate in this file? */
static bool signs_with(const char *path) {
    char *pem;
    size_t n;
    struct tls_der_list cert = TLS_DER_LIST_NULL;
    struct provider_answer a = sign();
    assert_int_equal(a.code, CA_OK);
    assert_int_equal(io_read_file(path, 1 << 20, &pem, &n), 0);
    assert_int_equal(tls_certs_from_pem((struct str){pem, n}, 4, &cert), 0);
    bool yes = tls_cert_signed_by(a.chain.items[0].at, a.chain.items[0].n, cert.items[0].at, cert.items[0].n);
    free(pem);
    tls_der_list_deinit(&cert);
    tls_der_list_deinit(&a.chain);
    return yes;
}

static size_t n_roots(void) {
    const struct tls_der_list *roots, *crls;
    provider_local.trust(provider, &roots, &crls);
    return roots->n;
}

static size_t n_crls(void) {
    const struct tls_der_list *roots, *crls;
    provider_local.trust(provider, &roots, &crls);
    return crls->n;
}

static int make(void **state) {
    struct tls_der der;
    assert_int_equal(tls_library_init(), 0);
    unit_directory(base);
    now = (int64_t)time(NULL);
    assert_true(identity_parse(STR("spiffe://cluster.local/ns/default/sa/client"), &identity));
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, &identity, &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, &identity, &csr), 0);
    free(der.at);
    return 0;
}

static int unmake(void **state) {
    char command[600];
    tls_key_free(key);
    tls_csr_free(csr);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

static void fresh_node(const char *root, const char *node) {
    assert_int_equal(ca_dir_init(in(root), STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(in(root), STR("node-1"), in(node), false, now, why), 0);
}

static void unchanged_is_quiet(void **state) {
    fresh_node("r1", "n1");
    open_provider(CA_KIND_FILES, in("n1"));
    shell("touch %s/unrelated", in("n1"));
    turn();
    assert_string_equal(last_event, "");
    assert_int_equal(n_changed, 0);
    provider = provider_local.close(provider);
}

static void sets_that_do_not_match(void **state) {
    char dir[400], keep[400];
    fresh_node("r2", "n2");
    fresh_node("r2-other", "n2-other");
    snprintf(dir, sizeof(dir), "%s", in("n2"));
    snprintf(keep, sizeof(keep), "%s", in("n2-keep"));
    shell("cp -a %s %s", dir, keep);
    static const char *const spoilers[] = {
        "rm $1/ca-key.pem",
        "rm $1/root-cert.pem",
        "rm $1/cert-chain.pem",
        "echo nothing > $1/ca-cert.pem",
        "cp $2/ca-key.pem $1/",
        "cp $2/ca-cert.pem $1/",
        "cp $2/ca-cert.pem $2/ca-key.pem $1/",
        "cp $2/root-cert.pem $1/",
        "cp $2/*.pem $1/",
        "head -c 200 $2/ca-cert.pem > $1/ca-cert.pem",
        "echo '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----' > $1/ca-crl.pem",
        "cp $2/ca-cert.pem $1/tls.crt",
    };
    open_provider(CA_KIND_FILES, dir);
    for (size_t i = 0; i < array_size(spoilers); i++) {
        char command[1200];
        last_event[0] = '\0';
        snprintf(command, sizeof(command), "set -- %s %s; %s", dir, in("n2-other"), spoilers[i]);
        assert_int_equal(system(command), 0);
        turn();
        if (strcmp(last_event, "reload-refused") != 0)
            fail_msg("%s: %s %s", command, last_event, last_text);
        assert_true(signs_with(in("n2-keep/ca-cert.pem")));
        assert_int_equal(n_roots(), 1);
        shell("rm -f %s/*.pem %s/tls.crt && cp -a %s/*.pem %s/", dir, dir, keep, dir);
        turn();
        assert_string_equal(last_event, "reload");
    }
    assert_int_equal(n_changed, 0);
    provider = provider_local.close(provider);
}

static void roots_in_steps(void **state) {
    char dir[400];
    fresh_node("r3", "n3");
    fresh_node("r3-other", "n3-other");
    snprintf(dir, sizeof(dir), "%s", in("n3"));
    open_provider(CA_KIND_FILES, dir);
    shell("cat %s/root-cert.pem %s/root-cert.pem > %s && mv %s %s/root-cert.pem", dir, in("n3-other"), in("both"), in("both"), dir);
    turn();
    assert_string_equal(last_event, "reload");
    assert_int_equal(n_roots(), 2);
    assert_int_equal(n_changed, 1);
    /* The new certificate is below a root that is published but not adopted: the old one signs on. */
    shell("cp %s/ca-cert.pem %s/ca-key.pem %s/cert-chain.pem %s/", in("n3-other"), in("n3-other"), in("n3-other"), dir);
    turn();
    assert_non_null(strstr(last_text, "waits"));
    assert_true(signs_with(in("r3/ca-cert.pem")) || !signs_with(in("n3-other/ca-cert.pem")));
    assert_false(signs_with(in("n3-other/ca-cert.pem")));
    provider_local.acknowledged(provider, now);
    assert_string_equal(last_event, "rollover");
    assert_true(signs_with(in("n3-other/ca-cert.pem")));
    /* The old root may go now; it could not have gone together with the certificate. */
    shell("cp %s/root-cert.pem %s/", in("n3-other"), dir);
    turn();
    assert_string_equal(last_event, "reload");
    assert_int_equal(n_roots(), 1);
    assert_true(signs_with(in("n3-other/ca-cert.pem")));
    provider = provider_local.close(provider);
}

/* The certificate in force ends before anybody has acknowledged: a leaf below the new root is better than none. */
static void no_wait_past_the_end(void **state) {
    char dir[400];
    int64_t begin = now;
    fresh_node("r4", "n4");
    snprintf(dir, sizeof(dir), "%s", in("n4"));
    open_provider(CA_KIND_FILES, dir);
    now = begin + 80 * DAY;
    assert_int_equal(ca_rollover_prepare(in("r4"), now, why), 0);
    assert_int_equal(ca_rollover_activate(in("r4"), DAY, now, why), 0);
    assert_int_equal(ca_dir_issue_node(in("r4"), STR("node-1"), dir, true, now, why), 0);
    turn();
    assert_int_equal(n_roots(), 2);
    assert_false(signs_with(in("n4/ca-cert.pem")));
    now = begin + 91 * DAY;
    turn();
    assert_true(signs_with(in("n4/ca-cert.pem")));
    provider = provider_local.close(provider);
    now = begin;
}

/* A mounted secret: all files change at once, by one rename of a symlink. */
static void data_swap(void **state) {
    size_t n;
    struct str serial = STR("77");
    char dir[400];
    fresh_node("r5", "v1");
    snprintf(dir, sizeof(dir), "%s", in("mount"));
    shell("mkdir %s && mv %s %s/..v1 && ln -s ..v1 %s/..data", dir, in("v1"), dir, dir);
    shell("cd %s && for f in ca-cert ca-key cert-chain root-cert ca-crl; do ln -s ..data/$f.pem $f.pem; done", dir);
    open_provider(CA_KIND_FILES, dir);
    shell("cp -a %s/..v1 %s/..v2", dir, dir);
    assert_int_equal(ca_dir_issue_node(in("r5"), STR("node-1"), in("mount/..v2"), true, now, why), 0);
    assert_int_equal(ca_dir_revoke(in("r5"), &serial, 1, now, &n, why), 0);
    assert_int_equal(ca_dir_publish(in("r5"), in("mount/..v2"), now, why), 0);
    turn();
    assert_string_equal(last_event, "");
    shell("cd %s && ln -s ..v2 ..data_tmp && mv -T ..data_tmp ..data && rm -r ..v1", dir);
    turn();
    assert_string_equal(last_event, "revocation");
    assert_int_equal(n_crls(), 1);
    assert_int_equal(n_changed, 1);
    assert_true(signs_with(in("mount/ca-cert.pem")));
    provider = provider_local.close(provider);
}

static void events_are_debounced(void **state) {
    struct follow *f;
    struct follow_set set;
    int wait_ms;
    uint64_t t = 1000 * NS_PER_S;
    shell("mkdir %s && echo 1 > %s/x", in("f"), in("f"));
    assert_int_equal(follow_new(&f), 0);
    assert_int_equal(follow_add(f, in("f/x")), 0);
    assert_int_equal(follow_add(f, in("f/absent")), 0);
    assert_false(follow_due(f, t, &set, &wait_ms));
    for (unsigned i = 0; i < 9; i++) { /* events every 99 ms put it off */
        shell("echo %u >> %s/x", i, in("f"));
        assert_false(follow_due(f, t, &set, &wait_ms));
        assert_int_equal(wait_ms, FOLLOW_QUIET_MS);
        t += 99 * NS_PER_MS;
    }
    assert_false(follow_due(f, t, &set, &wait_ms));
    assert_true(follow_due(f, t + NS_PER_MS, &set, &wait_ms)); /* quiet for 100 ms */
    assert_true(follow_has(&set, 0));
    assert_false(follow_has(&set, 1));
    for (unsigned i = 0; i < 10; i++) { /* but not for ever */
        shell("echo %u >> %s/absent", i, in("f"));
        assert_false(follow_due(f, t, &set, &wait_ms));
        t += 99 * NS_PER_MS;
    }
    shell("echo >> %s/absent", in("f"));
    assert_true(follow_due(f, t + 10 * NS_PER_MS, &set, &wait_ms));
    assert_false(follow_has(&set, 0));
    assert_true(follow_has(&set, 1));
    /* A folder that is replaced takes its watch with it: the look finds the change. */
    shell("mv %s %s && mkdir %s && echo new > %s/x", in("f"), in("f-old"), in("f"), in("f"));
    t += NS_PER_S;
    follow_due(f, t, &set, &wait_ms);
    assert_true(follow_due(f, t + FOLLOW_LOOK_MS * NS_PER_MS, &set, &wait_ms) || follow_has(&set, 0));
    follow_free(f);
}

/* Ten years in a few turns. */
static void builtin_schedule(void **state) {
    int64_t begin = now, end = begin + (int64_t)CA_ROOT_YEARS * 365 * DAY;
    open_provider(CA_KIND_BUILTIN, in("builtin"));
    shell("cp %s/ca-cert.pem %s", in("builtin"), in("first.pem"));
    assert_true(signs_with(in("first.pem")));
    now = end - 31 * DAY;
    turn();
    assert_int_equal(n_roots(), 1);
    now = end - 30 * DAY;
    turn();
    assert_int_equal(n_roots(), 2);
    assert_int_equal(n_changed, 1);
    assert_true(signs_with(in("first.pem")));
    now = end - 7 * DAY;
    turn(); /* activated on disk, but nobody has acknowledged the root */
    assert_true(signs_with(in("first.pem")));
    provider_local.acknowledged(provider, now);
    assert_false(signs_with(in("first.pem")));
    assert_true(signs_with(in("builtin/ca-cert.pem")));
    assert_int_equal(n_roots(), 2);
    now = end - DAY;
    turn();
    assert_int_equal(n_roots(), 2);
    now = end + 60;
    turn();
    assert_int_equal(n_roots(), 1);
    assert_true(signs_with(in("builtin/ca-cert.pem")));
    provider = provider_local.close(provider);
    /* And a restart finds it so. */
    open_provider(CA_KIND_BUILTIN, in("builtin"));
    assert_true(signs_with(in("builtin/ca-cert.pem")));
    provider = provider_local.close(provider);
    now = begin;
}

/* Whose certificate it is must be said before peers refuse what it signs. */
static void anothers_certificate(void **state) {
    char log[400], *text;
    size_t n;
    fresh_node("r7", "n7");
    assert_int_equal(ca_dir_issue_node(in("r7"), STR("node-9"), in("n9"), false, now, why), 0);
    snprintf(log, sizeof(log), "%s", in("log"));
    static const char *const nodes[] = {"n7", "n9"};
    for (unsigned i = 0; i < 2; i++) {
        int keep = dup(STDERR_FILENO), fd = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_true(keep >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
        open_provider(CA_KIND_FILES, in(nodes[i]));
        provider = provider_local.close(provider);
        assert_true(dup2(keep, STDERR_FILENO) >= 0);
        close(keep);
        close(fd);
        assert_int_equal(io_read_file(log, 1 << 16, &text, &n), 0);
        assert_int_equal(strstr(text, "is of node 'node-9', but this is node 'node-1'") != NULL, i == 1);
        free(text);
    }
}

static void broken_at_start(void **state) {
    void *none = NULL;
    fresh_node("r6", "n6");
    shell("rm %s/ca-key.pem", in("n6"));
    options.dir = in("n6");
    for (enum ca_kind kind = CA_KIND_BUILTIN; kind <= CA_KIND_FILES; kind++) { /* never made anew over what is there */
        options.kind = kind;
        assert_int_equal(provider_local.open(&options, &host, now, &none, why), 1);
        assert_non_null(strstr(why, "ca-key.pem: is missing"));
    }
    options.dir = in("nothing-here");
    assert_int_equal(provider_local.open(&options, &host, now, &none, why), 1);
    assert_null(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(unchanged_is_quiet), cmocka_unit_test(sets_that_do_not_match),
                                       cmocka_unit_test(roots_in_steps),     cmocka_unit_test(no_wait_past_the_end),
                                       cmocka_unit_test(data_swap),          cmocka_unit_test(events_are_debounced),
                                       cmocka_unit_test(builtin_schedule),   cmocka_unit_test(anothers_certificate),
                                       cmocka_unit_test(broken_at_start)};
    return cmocka_run_group_tests(tests, make, unmake);
}
