/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what may be given out is kept as long as somebody may have it, and versions follow from contents alone. Method: mails as
 * the other threads send them, in any order; contents that come twice, change, and go. */
#include <string.h>

#include <ringwall/tls/crl.h>

#include "pki.h"
#include "unit.h"
#include "vault.h"

struct scene {
    struct vault v;
    struct pki pki, other;
    struct identity one, two;
};

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    struct scene *s = calloc(1, sizeof(*s));
    pki_init(&s->pki, "cluster.local", PKI_NOW);
    pki_init(&s->other, "other.example", PKI_NOW);
    s->one = pki_identity("cluster.local", "a", "one");
    s->two = pki_identity("cluster.local", "a", "two");
    assert_int_equal(vault_init(&s->v, STR("cluster.local")), 0);
    *state = s;
    return 0;
}
static int unmake(void **state) {
    struct scene *s = *state;
    vault_deinit(&s->v);
    pki_deinit(&s->pki);
    pki_deinit(&s->other);
    free(s);
    return 0;
}

static struct vault_pod *put(struct scene *s, uint32_t id, const struct identity *i) {
    struct mail_pod *m = mail_pod_new();
    m->id = id;
    m->identity = *i;
    struct vault_pod *p = vault_pod_put(&s->v, m);
    mail_free(&m->mail);
    assert_non_null(p);
    return p;
}

static struct holder *give(struct scene *s, const struct identity *i, struct tls_credential *c) {
    struct mail_credential *m = mail_credential_new(i, c, c ? NULL : "gone");
    struct holder *h = vault_credential(&s->v, m);
    mail_free(&m->mail);
    return h;
}

static void holders_last_as_long_as_needed(void **state) {
    struct scene *s = *state;
    struct tls_credential *c = pki_credential(&s->pki, NULL, &s->one, PKI_FLAWLESS, NULL);
    assert_null(give(s, &s->one, NULL)); /* nobody has it */
    struct holder *h = give(s, &s->one, c);
    assert_true(h && h->version != 0); /* before its workload */
    uint64_t version = h->version;
    struct vault_pod *p = put(s, 1, &s->one), *q = put(s, 2, &s->one);
    assert_true(p->holder == h && q->holder == h && h->n_workloads == 2);
    assert_ptr_equal(vault_pod(&s->v, 1), p);
    assert_null(vault_pod(&s->v, 3));
    vault_pod_remove(&s->v, p);
    assert_int_equal(h->n_workloads, 1);
    assert_ptr_equal(give(s, &s->one, NULL), h);
    assert_int_equal(h->version, 0);
    assert_string_equal(h->why, "gone");
    assert_ptr_equal(give(s, &s->one, c), h);
    assert_true(h->version == version); /* the same content */
    assert_ptr_equal(put(s, 2, &s->two), q);
    assert_true(q->holder != h && h->n_workloads == 0);
    give(s, &s->one, NULL);
    vault_holder_settle(&s->v, h);
    assert_int_equal(s->v.holders.n_nodes, 1);
    vault_pod_remove(&s->v, q);
    assert_int_equal(s->v.holders.n_nodes, 0);
    tls_credential_unref(c);
}

static void versions_follow_contents(void **state) {
    struct scene *s = *state;
    assert_true(vault_all_version(&s->v) == 0 && !vault_bundle(&s->v, STR("cluster.local")));
    assert_int_equal(vault_trust(&s->v, s->pki.trust, PKI_NOW), 0);
    uint64_t own = vault_bundle(&s->v, STR("cluster.local"))->version, all = vault_all_version(&s->v);
    assert_true(own != 0 && all != 0);
    struct tls_trust *both = pki_trust_both(&s->pki, &s->other);
    assert_int_equal(vault_trust(&s->v, both, PKI_NOW), 0);
    assert_true(vault_bundle(&s->v, STR("cluster.local"))->version == own);
    assert_true(vault_bundle(&s->v, STR("other.example"))->version != own);
    assert_true(vault_all_version(&s->v) != all);
    assert_int_equal(vault_trust(&s->v, s->pki.trust, PKI_NOW), 0);
    assert_true(vault_all_version(&s->v) == all);
    tls_trust_unref(both);
    assert_int_equal(vault_jwks(&s->v, STR_NULL), 0);
    assert_string_equal(s->v.jwks, "");
    uint64_t none = s->v.jwks_version;
    assert_int_equal(vault_jwks(&s->v, STR("{}")), 0);
    assert_true(s->v.jwks_version != none);
}

static void lists_come_and_go_with_time(void **state) {
    struct scene *s = *state;
    struct tls_der crl = {0};
    struct tls_der_list roots = TLS_DER_LIST_NULL, crls = TLS_DER_LIST_NULL;
    struct tls_issuer issuer = {.key = s->pki.key, .cert = s->pki.root.at, .cert_n = s->pki.root.n};
    struct tls_crl_spec spec = {.number = 1, .this_update = PKI_NOW, .next_update = PKI_NOW + 100};
    struct tls_bundle *b = NULL;
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_der_list_add(&roots, s->pki.root.at, s->pki.root.n), 0);
    assert_int_equal(tls_der_list_add(&crls, crl.at, crl.n), 0);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &b), 0);
    struct tls_trust *t = tls_trust_new(&b, 1, 1);
    assert_int_equal(vault_trust(&s->v, t, PKI_NOW - 1), 0);
    const struct vault_bundle *mine = vault_bundle(&s->v, STR("cluster.local"));
    assert_false(mine->crls);
    uint64_t without = mine->version;
    assert_true(vault_refresh(&s->v, PKI_NOW));
    assert_true(mine->crls && mine->version != without);
    assert_false(vault_refresh(&s->v, PKI_NOW + 99));
    assert_true(vault_refresh(&s->v, PKI_NOW + 100));
    assert_true(!mine->crls && mine->version == without);
    tls_trust_unref(t);
    tls_bundle_unref(b);
    tls_der_list_deinit(&roots);
    tls_der_list_deinit(&crls);
    free(crl.at);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {CASE(holders_last_as_long_as_needed), CASE(versions_follow_contents),
                                       CASE(lists_come_and_go_with_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
