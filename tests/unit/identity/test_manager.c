/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the identity thread lives by its mailbox: it asks, answers questions, and ends. Method: the real thread, the test as CA. */
#include <string.h>

#include <ringwall/mail/ask.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/wire/pb.h>

#include "unit.h"

#include <ringwall/identity/manager.h>

static void asks_answers_ends(void **state) {
    assert_int_equal(tls_library_init(), 0);
    struct mailbox *own = mailbox_new("own", 64), *ca = mailbox_new("ca", 64), *worker = mailbox_new("worker", 64);
    struct identity_options o = {.mailbox = own,
                                 .ca = ca,
                                 .workers = &worker,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = 3600,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    struct identity_manager *m = NULL;
    assert_int_equal(identity_start(&o, &m), 0);
    struct mail_identities *set = mail_identities_new(1);
    assert_true(identity_parse(STR("spiffe://cluster.local/ns/default/sa/one"), &set->items[0]));
    assert_int_equal(mailbox_post(own, &set->mail), 0);
    struct mail *request = mailbox_wait(ca, 10000);
    assert_non_null(request);
    struct mail_bytes *bytes = container_of(request, struct mail_bytes, mail);
    struct arena a = ARENA_NULL;
    struct ca_request q;
    assert_int_equal(pb_consume_ca_request(bytes->bytes, bytes->n, &a, &q), 0);
    if (q.kind == CA_MESSAGE_BUNDLE) { /* asked first of all; the request for the certificate comes next */
        mail_free(request);
        request = mailbox_wait(ca, 10000);
        assert_non_null(request);
        bytes = container_of(request, struct mail_bytes, mail);
        assert_int_equal(pb_consume_ca_request(bytes->bytes, bytes->n, &a, &q), 0);
    }
    struct ca_response p = {.kind = CA_MESSAGE_SIGN, .id = q.id, .code = CA_PERMISSION_DENIED, .message = STR("not yours")};
    uint8_t *reply;
    size_t n;
    assert_int_equal(pb_create_ca_response(&p, &reply, &n), 0);
    struct mail_bytes *answer = mail_bytes_new(reply, n, NULL);
    assert_int_equal(mailbox_post(bytes->reply, &answer->mail), 0);
    mail_free(request);
    struct mail *told = mailbox_wait(worker, 10000);
    assert_non_null(told);
    assert_string_equal(container_of(told, struct mail_credential, mail)->why, "not yours");
    mail_free(told);
    struct mailbox *mine = mailbox_new("mine", 4);
    struct mail_ask *ask = mail_ask_new(ASK_CERTS, 5, mine);
    assert_int_equal(mailbox_post(own, &ask->mail), 0);
    struct mail *certs = mailbox_wait(mine, 10000);
    assert_non_null(certs);
    assert_non_null(strstr(container_of(certs, struct mail_answer, mail)->json.at, "Unavailable: not yours"));
    mail_free(certs);
    arena_deinit(&a);
    assert_null(identity_stop(m));
    mailbox_unref(mine);
    mailbox_unref(own);
    mailbox_unref(ca);
    mailbox_unref(worker);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(asks_answers_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
