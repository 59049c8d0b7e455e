/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the signing key lives in the CA thread only, and its mailbox is the only way in.
 * Method: a running CA answers bytes from another thread; the room's library is asked which symbols it exports and which
 * of its objects know the key; what is posted as anything but bytes gets no answer. */
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/thread.h>
#include <ringwall/ca/audit.h>
#include <ringwall/ca/ca.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/world.h>
#include <ringwall/wire/pb.h>

#include "small_world.h"

static char base[256], dir[300];
static struct publish_slot slot;

static struct ca *start(const char *in, bool builtin, char why[512]) {
    struct ca_options o = {.kind = builtin ? CA_KIND_BUILTIN : CA_KIND_FILES,
                           .dir = in,
                           .trust_domain = "cluster.local",
                           .node = "node-1",
                           .ttl_default_s = 3600,
                           .ttl_max_s = 86400,
                           .world = &slot};
    struct ca *ca = NULL;
    int r = ca_start(&o, &ca, why);
    assert_true((r == 0) == (ca != NULL));
    return ca;
}

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    unit_directory(base);
    snprintf(dir, sizeof(dir), "%s/ca", base);
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"}};
    assert_null(publish_swap(&slot, small_world(workloads, 1, 1)));
    return 0;
}

static int unmake(void **state) {
    char command[4096];
    world_free(publish_swap(&slot, NULL));
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

static struct mail_bytes *request(struct mailbox *reply) {
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 3};
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_request(&q, &bytes, &n), 0);
    struct mail_bytes *m = mail_bytes_new(bytes, n, reply);
    assert_non_null(m);
    return m;
}

static void answers_bytes_only(void **state) {
    char why[512] = "";
    struct ca *ca = start(dir, true, why);
    struct mailbox *mine = mailbox_new("test", 16);
    struct mail_world *other = mail_world_new(1);
    assert_int_equal(mailbox_post(ca_mailbox(ca), &other->mail), 0);
    assert_int_equal(mailbox_post(ca_mailbox(ca), &request(mine)->mail), 0);
    struct mail *m = mailbox_wait(mine, 10000);
    assert_non_null(m);
    assert_ptr_equal(m->type, &mail_bytes_type);
    struct arena arena = ARENA_NULL;
    struct ca_response p;
    struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
    assert_int_equal(pb_consume_ca_response(b->bytes, b->n, &arena, &p), 0);
    assert_int_equal(p.id, 3);
    assert_true(p.n_bundles == 1 && p.bundles[0].n_roots == 1);
    mail_free(m);
    arena_deinit(&arena);
    ca = ca_stop(ca);
    assert_null(mailbox_take(mine)); /* the other mail had no answer */
    mailbox_unref(mine);
}

static void same_root_after_restart(void **state) {
    char why[512] = "", command[4096];
    ca_stop(start(dir, true, why));
    snprintf(command, sizeof(command), "cp %s/root-cert.pem %s/before.pem", dir, base);
    assert_int_equal(system(command), 0);
    ca_stop(start(dir, true, why));
    snprintf(command, sizeof(command), "cmp -s %s/root-cert.pem %s/before.pem", dir, base);
    assert_int_equal(system(command), 0);
}

static void refuses_to_start(void **state) {
    char why[512] = "", nowhere[300];
    snprintf(nowhere, sizeof(nowhere), "%s/nowhere", base);
    assert_null(start(nowhere, false, why));
    assert_non_null(strstr(why, "ca-cert.pem"));
    /* The built-in CA never replaces what is broken. */
    char command[4096];
    snprintf(command, sizeof(command), "cp -r %s %s/broken && echo x > %s/broken/ca-key.pem", dir, base, base);
    assert_int_equal(system(command), 0);
    snprintf(nowhere, sizeof(nowhere), "%s/broken", base);
    assert_null(start(nowhere, true, why));
    assert_non_null(strstr(why, "ca-key.pem"));
}

/* Reads `nm` of the room's archive: which functions does the thread's half offer? */
static void no_other_way_in(void **state) {
    char line[256], command[4096];
    snprintf(command, sizeof(command), "nm --defined-only --extern-only %s 2>/dev/null", RW_CA_ARCHIVE);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    bool in_thread_half = false;
    unsigned n_offered = 0;
    while (fgets(line, sizeof(line), f)) {
        if (strstr(line, ".o:"))
            in_thread_half = strstr(line, "ca.c.o") != NULL;
        char *name = strstr(line, " T ");
        if (!in_thread_half || !name)
            continue;
        name[strcspn(name, "\n")] = '\0';
        bool known = !strcmp(name + 3, "ca_start") || !strcmp(name + 3, "ca_stop") || !strcmp(name + 3, "ca_mailbox");
        if (!known)
            fail_msg("ca.c offers %s", name + 3);
        n_offered++;
    }
    assert_int_equal(pclose(f), 0);
    assert_int_equal(n_offered, 3);
}

enum { ASKERS = 3, ASKS = 150 };
struct asker {
    pthread_t thread;
    struct mailbox *ca;
    const char *csr;
    unsigned n_ok, n_status;
};

static void *ask_often(void *argument) {
    struct asker *a = argument;
    struct mailbox *mine = mailbox_new("test", 2 * ASKS);
    struct ca_request q = {.kind = CA_MESSAGE_SIGN,
                           .caller = CA_CALLER_NODE,
                           .caller_node = STR("node-1"),
                           .identity = STR("spiffe://cluster.local/ns/default/sa/client"),
                           .csr_pem = str_of(a->csr)};
    unsigned n_posted = 0;
    for (unsigned i = 0; i < ASKS; i++) {
        uint8_t *bytes;
        size_t n;
        q.id = i;
        if (pb_create_ca_request(&q, &bytes, &n) != 0)
            return NULL;
        struct mail_bytes *m = mail_bytes_new(bytes, n, mine);
        struct mail_ask *ask = i % 50 ? NULL : mail_ask_new(ASK_STATUS, i, mine);
        n_posted += mailbox_post(a->ca, &m->mail) == 0;
        n_posted += ask && mailbox_post(a->ca, &ask->mail) == 0;
    }
    for (unsigned i = 0; i < n_posted; i++) {
        struct arena arena = ARENA_NULL;
        struct ca_response p;
        struct mail *m = mailbox_wait(mine, 30000);
        if (!m)
            break;
        if (m->type == &mail_answer_type)
            a->n_status += strstr(container_of(m, struct mail_answer, mail)->json.at, "\"provider\":\"local\"") != NULL;
        else {
            struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
            a->n_ok += pb_consume_ca_response(b->bytes, b->n, &arena, &p) == 0 && p.code == CA_OK;
        }
        mail_free(m);
        arena_deinit(&arena);
    }
    mailbox_unref(mine);
    return NULL;
}

/* Many at once, while the world changes: each gets its answer, and the record holds each once. */
static void many_askers(void **state) {
    char audit[300], why[512] = "";
    struct tls_key *key;
    struct tls_der der;
    struct growing csr = GROWING_NULL;
    struct ca *ca = NULL;
    snprintf(audit, sizeof(audit), "%s/audit.jsonl", base);
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, NULL, &der), 0);
    assert_int_equal(tls_der_to_pem(&der, "CERTIFICATE REQUEST", &csr), 0);
    struct ca_options o = {.kind = CA_KIND_BUILTIN,
                           .dir = dir,
                           .trust_domain = "cluster.local",
                           .node = "node-1",
                           .ttl_default_s = 3600,
                           .ttl_max_s = 86400,
                           .audit_path = audit,
                           .world = &slot};
    assert_int_equal(ca_start(&o, &ca, why), 0);
    struct asker askers[ASKERS];
    for (unsigned i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.ca = ca_mailbox(ca), .csr = csr.at};
        assert_int_equal(thread_start(&askers[i].thread, "asker", ask_often, &askers[i]), 0);
    }
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"}};
    for (unsigned i = 2; i < 10; i++)
        world_free(publish_swap(&slot, small_world(workloads, 1, i)));
    for (unsigned i = 0; i < ASKERS; i++) {
        thread_join(askers[i].thread);
        assert_int_equal(askers[i].n_ok, ASKS);
        assert_int_equal(askers[i].n_status, 3);
    }
    ca = ca_stop(ca);
    struct audit_report report;
    if (audit_verify(audit, &report, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(report.n_lines, ASKERS * ASKS + 1); /* and its start */
    tls_key_free(key);
    growing_deinit(&csr);
    free(der.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_askers), cmocka_unit_test(answers_bytes_only),
                                       cmocka_unit_test(same_root_after_restart), cmocka_unit_test(refuses_to_start),
                                       cmocka_unit_test(no_other_way_in)};
    return cmocka_run_group_tests(tests, make, unmake);
}
