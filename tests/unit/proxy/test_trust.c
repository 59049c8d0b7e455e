/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what is no longer trusted carries nothing: open tunnels of a revoked certificate, on either end, and of a root that
 * went are cut with a reason, new ones are refused, and what is still trusted notices nothing.
 * Method: two proxies with real rings and TLS (lab.h); new bundles come to one of them or both while a connection is open. */
#include <errno.h>
#include <sys/socket.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>

#include "lab.h"

#include "unit.h"

static bool able;
static struct lab lab;
static int app_fd = -1;
static uint16_t app_port;

static void begin(unsigned n_workers) {
    if (!able)
        skip();
    lab_init(&lab, n_workers);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    lab_credential(&lab, LAB_B, "server", NULL, 1);
    app_fd = lab_listen(LAB_SERVER4, 0, &app_port);
}

static void finish(void) {
    close(app_fd);
    lab_deinit(&lab);
}

static int pair(int *ret_server) {
    int c = lab_dial(&lab, false, LAB_SERVER4, app_port);
    *ret_server = lab_accept(app_fd);
    return c;
}

static void works(int c, int s) {
    char text[4];
    lab_send(c, "ping", 4);
    assert_int_equal(lab_read(s, text, 4), 4);
    lab_send(s, "pong", 4);
    assert_int_equal(lab_read(c, text, 4), 4);
}

static void put(unsigned node, struct tls_trust *trust) {
    lab_trust(&lab, node, trust);
    tls_trust_unref(trust);
}

static struct tls_trust *revoking(unsigned node, uint64_t generation) {
    const struct tls_peer *self = &lab.nodes[node].self;
    return pki_trust_revoking(&lab.pki, &self, 1, generation);
}

static uint64_t closed(unsigned node, enum close_reason why) {
    return LAB_COUNT(&lab, node, closed[STATS_INBOUND][why]) + LAB_COUNT(&lab, node, closed[STATS_OUTBOUND][why]);
}

static void both_are_reset(int c, int s) {
    assert_int_equal(lab_read_error(c), ECONNRESET);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    close(c);
    close(s);
    lab_wait_for(LAB_COUNT(&lab, LAB_A, flows_open) == 0 && LAB_COUNT(&lab, LAB_B, flows_open) == 0);
}

static void is_refused(void) {
    int c = lab_dial(&lab, false, LAB_SERVER4, app_port);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
}

/* `at` learns that `whose` certificate is revoked. */
static void revoked(unsigned at, unsigned whose) {
    begin(2);
    int s, c = pair(&s);
    works(c, s);
    put(at, revoking(whose, 2));
    both_are_reset(c, s);
    assert_int_equal(closed(at, CLOSE_CERT_REVOKED), 1);
    assert_int_equal(closed(1 - at, CLOSE_CERT_REVOKED), 0);
    if (at != whose) {
        is_refused();
        lab_wait_for(LAB_COUNT(&lab, at, handshakes_failed) + closed(at, CLOSE_PEER_UNTRUSTED) > 0);
    }
    lab_credential(&lab, whose, whose == LAB_A ? "client" : "server", NULL, 2); /* the identity is not revoked */
    lab_trust(&lab, whose, lab.pki.trust); /* older than what is there, so nothing changes; but mail before it has been taken */
    c = pair(&s);
    works(c, s);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    finish();
}
static void client_by_server(void **state) { revoked(LAB_B, LAB_A); }
static void server_by_client(void **state) { revoked(LAB_A, LAB_B); }
static void client_by_itself(void **state) { revoked(LAB_A, LAB_A); }
static void server_by_itself(void **state) { revoked(LAB_B, LAB_B); }

static void what_is_trusted_goes_on(void **state) {
    begin(2);
    struct pki next;
    pki_init(&next, "cluster.local", lab.pki.now_s);
    int s, c = pair(&s);
    struct tls_der both[] = {next.root, lab.pki.root};
    struct tls_der_list roots = {.items = both, .n = 2};
    struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundle), 0);
    for (unsigned generation = 2; generation < 40; generation++) {
        struct tls_trust *trust = tls_trust_new(&bundle, 1, generation);
        lab_trust(&lab, LAB_A, trust);
        put(LAB_B, trust);
        works(c, s);
    }
    put(LAB_A, pki_trust_revoking(&lab.pki, NULL, 0, 40));
    works(c, s);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    lab_wait_for(closed(LAB_A, CLOSE_FINISHED) == 1 && closed(LAB_B, CLOSE_FINISHED) == 1);
    pki_deinit(&next);
    tls_bundle_unref(bundle);
    finish();
}

/* The peer's root goes: cut by the one who trusts it no more. */
static void a_root_that_went(void **state) {
    begin(2);
    struct pki next;
    pki_init(&next, "cluster.local", lab.pki.now_s);
    int s, c = pair(&s);
    works(c, s);
    put(LAB_B, tls_trust_new(next.trust->bundles, 1, 2));
    both_are_reset(c, s);
    assert_int_equal(closed(LAB_B, CLOSE_TRUST_CHANGED), 1);
    is_refused();
    pki_deinit(&next);
    finish();
}

/* The server's new certificate sends its clients to new tunnels; what the old ones carry is carried to its end. */
static void the_servers_rotation(void **state) {
    begin(1);
    int s, c = pair(&s);
    works(c, s);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, handshakes), 1);
    lab_credential(&lab, LAB_B, "server", NULL, 2);
    for (unsigned i = 0; i < 1000 && LAB_COUNT(&lab, LAB_B, handshakes) < 2; i++) { /* until the GOAWAY has arrived */
        int s2, c2 = pair(&s2);
        works(c2, s2);
        close(c2);
        assert_int_equal(lab_read_error(s2), 0);
        close(s2);
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_B, handshakes), 2);
    works(c, s);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    lab_wait_for(LAB_COUNT(&lab, LAB_A, flows_open) == 0 && LAB_COUNT(&lab, LAB_B, flows_open) == 0);
    assert_int_equal(closed(LAB_B, CLOSE_FINISHED), closed(LAB_A, CLOSE_FINISHED));
    finish();
}

int main(void) {
    able = lab_enter();
    if (!able)
        print_message("needs root and network namespaces: skipped\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_by_server),     cmocka_unit_test(server_by_client),        cmocka_unit_test(client_by_itself),
        cmocka_unit_test(server_by_itself),     cmocka_unit_test(what_is_trusted_goes_on), cmocka_unit_test(a_root_that_went),
        cmocka_unit_test(the_servers_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
