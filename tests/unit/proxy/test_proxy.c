/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the promises of the relay with a real kernel, IPv4 and IPv6: bytes arrive unchanged, ends and resets stay what they
 * are, memory is bounded, nothing is left behind. Method: two proxies in this process (lab.h), blocking applications. */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/wire/h2.h>
#include <ringwall/wire/json.h>

#include "../../../src/proxy/limits.h"
#include "lab.h"

#include "unit.h"

static bool able;
static struct lab lab;
static int app_fd = -1; /* the server application */
static uint16_t app_port;
static bool v6;

static const char *server_ip(void) { return v6 ? LAB_SERVER6 : LAB_SERVER4; }

/* Each case runs once a family, with fresh proxies. */
static void begin(bool with_v6) {
    if (!able)
        skip();
    v6 = with_v6;
    lab_init(&lab, 1);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    lab_credential(&lab, LAB_B, "server", NULL, 1);
    app_fd = lab_listen(server_ip(), 0, &app_port);
}

static void finish(void) {
    close(app_fd);
    lab_deinit(&lab);
}

static void nothing_left(void) { lab_wait_for(LAB_COUNT(&lab, LAB_A, flows_open) == 0 && LAB_COUNT(&lab, LAB_B, flows_open) == 0); }

static int pair(int *ret_server) {
    int c = lab_dial(&lab, v6, server_ip(), app_port);
    *ret_server = lab_accept(app_fd);
    return c;
}

/* Open at every station. The server's application hears of a connection before the client's proxy has the reply to its
 * CONNECT, and what waits for that reply is routed again by a new world, not ended. */
static int open_pair(int *ret_server) {
    char text;
    int c = pair(ret_server);
    lab_send(c, "o", 1);
    assert_int_equal(lab_read(*ret_server, &text, 1), 1);
    return c;
}

#define BOTH_FAMILIES(name) \
    static void name##_run(void); \
    static void name##_v4(void **state unused_arg) { \
        begin(false); \
        name##_run(); \
        finish(); \
    } \
    static void name##_v6(void **state unused_arg) { \
        begin(true); \
        name##_run(); \
        finish(); \
    } \
    static void name##_run(void)

BOTH_FAMILIES(echo) {
    char text[32] = "";
    int s, c = pair(&s);
    lab_send(c, "ping", 4);
    assert_int_equal(lab_read(s, text, 4), 4);
    assert_string_equal(text, "ping");
    lab_send(s, "pong!", 5);
    assert_int_equal(lab_read(c, text, 5), 5);
    assert_string_equal(text, "pong!");
    assert_int_equal(LAB_COUNT(&lab, LAB_A, opened_mtls[STATS_OUTBOUND]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, opened_mtls[STATS_INBOUND]), 1);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_FINISHED]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_FINISHED]), 1);
}

enum { BULK = 64 * 1024 * 1024, PIECE = 128 * 1024 };
static uint32_t pattern(size_t i) { return (uint32_t)(i * 2654435761u ^ i >> 7); }

static void *send_bulk(void *fd) {
    static _Thread_local uint32_t piece[PIECE / 4];
    for (size_t at = 0; at < BULK; at += PIECE) {
        for (size_t i = 0; i < PIECE / 4; i++)
            piece[i] = pattern(at / 4 + i);
        lab_send(*(int *)fd, piece, PIECE);
    }
    assert_int_equal(shutdown(*(int *)fd, SHUT_WR), 0);
    return NULL;
}
static void read_bulk(int fd) {
    static uint32_t piece[PIECE / 4];
    for (size_t at = 0; at < BULK; at += PIECE) {
        assert_int_equal(lab_read(fd, piece, PIECE), PIECE);
        for (size_t i = 0; i < PIECE / 4; i++)
            if (piece[i] != pattern(at / 4 + i))
                fail_msg("byte %zu is wrong", at + i * 4);
    }
    assert_int_equal(lab_read_error(fd), 0);
}
static void *read_bulk_thread(void *fd) {
    static _Thread_local uint32_t piece[PIECE / 4];
    for (size_t at = 0; at < BULK; at += PIECE) {
        assert_int_equal(lab_read(*(int *)fd, piece, PIECE), PIECE);
        for (size_t i = 0; i < PIECE / 4; i++)
            assert_int_equal(piece[i], pattern(at / 4 + i));
    }
    assert_int_equal(lab_read_error(*(int *)fd), 0);
    return NULL;
}

BOTH_FAMILIES(bulk_both_ways) {
    int s, c = pair(&s);
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, send_bulk, &c), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, send_bulk, &s), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, read_bulk_thread, &s), 0);
    read_bulk(c);
    for (size_t i = 0; i < array_size(threads); i++)
        pthread_join(threads[i], NULL);
    close(c);
    close(s);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, bytes_sent[STATS_OUTBOUND]), BULK);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, bytes_sent[STATS_INBOUND]), BULK);
}

BOTH_FAMILIES(half_close_each_way) {
    char text[8] = "";
    int s, c = pair(&s);
    lab_send(c, "q", 1);
    shutdown(c, SHUT_WR);
    assert_int_equal(lab_read(s, text, 8), 1);
    lab_send(s, "answer", 6);
    assert_int_equal(lab_read(c, text, 6), 6);
    close(s);
    assert_int_equal(lab_read_error(c), 0);
    close(c);
    c = pair(&s);
    lab_send(s, "q", 1);
    shutdown(s, SHUT_WR);
    assert_int_equal(lab_read(c, text, 8), 1);
    lab_send(c, "answer", 6);
    assert_int_equal(lab_read(s, text, 6), 6);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_FINISHED]), 2);
}

BOTH_FAMILIES(resets_stay_resets) {
    char text[8] = "";
    int s, c = pair(&s);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    lab_abort(c);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    close(s);
    c = pair(&s);
    lab_send(s, "data", 4);
    lab_abort(s);
    assert_int_equal(lab_read(c, text, 4), 4); /* what came before the reset is still there */
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_CLIENT_RESET]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_PEER_RESET]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_SERVER_RESET]), 1);
}

/* Nobody sends anything after the FIN, so nothing but the socket's own state tells of the reset. */
BOTH_FAMILIES(a_reset_behind_a_fin_is_noticed) {
    char text[8] = "";
    struct timeval limit = {.tv_sec = LAB_WAIT_S};
    for (unsigned reversed = 0; reversed < 2; reversed++) {
        int ends[2], *from = &ends[reversed], *to = &ends[!reversed];
        ends[0] = pair(&ends[1]);
        lab_send(*from, "last", 4);
        shutdown(*from, SHUT_WR);
        assert_int_equal(lab_read(*to, text, 8), 4);
        assert_int_equal(setsockopt(*to, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
        lab_send(*to, "more", 4); /* half-closed is no reason to end */
        assert_int_equal(lab_read(*from, text, 4), 4);
        lab_abort(*from);
        nothing_left();
        lab_wait_for(send(*to, "x", 1, MSG_NOSIGNAL) < 0); /* and who goes on sending is told */
        close(*to);
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_CLIENT_RESET]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_SERVER_RESET]), 1);
}

BOTH_FAMILIES(a_stopped_reader_is_bounded_and_alone) {
    static char piece[PIECE];
    char text[8];
    int s, c = pair(&s), s2, c2 = pair(&s2);
    struct timeval limit = {.tv_usec = 300000};
    setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    while (send(c, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
    uint64_t held = LAB_COUNT(&lab, LAB_A, buffers_used) + LAB_COUNT(&lab, LAB_B, buffers_used);
    print_message("          %llu KiB held for a stopped reader by both proxies\n",
                  (unsigned long long)held * BUF_CHUNK_BYTES / 1024);
    uint64_t ring_buffers = RING_RECV_BUFFERS * (uint64_t)BUF_CHUNK_BYTES; /* the ring holds so many by itself, at most */
    /* Before it stopped, the kernel was a quick reader: a window grows only after more than that takes. */
    for (unsigned node = LAB_A; node <= LAB_B; node++)
        assert_true(LAB_COUNT(&lab, node, buffers_used) * BUF_CHUNK_BYTES < 1024 * 1024 + ring_buffers);
    for (unsigned i = 0; i < 100; i++) { /* the other flow of the same tunnel moves on */
        lab_send(c2, "live", 4);
        assert_int_equal(lab_read(s2, text, 4), 4);
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_A, tunnels_open), 1);
    close(c2);
    close(s2);
    lab_abort(c);
    close(s);
    nothing_left();
}

BOTH_FAMILIES(refusals_are_resets) {
    uint16_t closed_port;
    int closed = lab_listen(server_ip(), 0, &closed_port);
    close(closed);
    int c = lab_dial(&lab, v6, server_ip(), closed_port);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_CONNECT_REFUSED]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_CONNECT_REFUSED]), 1);
    c = lab_dial(&lab, v6, server_ip(), 15008); /* the proxies' own ports are no destinations */
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_LOOP]), 1);
}

BOTH_FAMILIES(policy_decides_now_and_later) {
    char text[8];
    int s, c = pair(&s);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    lab_world(&lab, "policy ALLOW default/only-others\nrule from principals=cluster.local/ns/default/sa/other\n");
    assert_int_equal(lab_read_error(c), ECONNRESET);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    close(c);
    close(s);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_POLICY_CHANGED]), 1);
    c = lab_dial(&lab, v6, server_ip(), app_port);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_B, closed[STATS_INBOUND][CLOSE_POLICY_DENIED]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_POLICY_DENIED]), 1);
    lab_world(&lab, "");
    lab_wait_for(LAB_COUNT(&lab, LAB_B, world_number) == lab.n_worlds);
    c = pair(&s);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    close(c);
    close(s);
    nothing_left();
}

#define CLIENT_MESH \
    "node node-1\ndomain cluster.local\nroot istio-system\nns default ambient\n" \
    "pod default/client ip=" LAB_CLIENT4 "," LAB_CLIENT6 " sa=client node=node-1 uid=client\n"
#define SERVER_POD(sa, uid) \
    "pod default/server ip=" LAB_SERVER4 "," LAB_SERVER6 " sa=" sa " node=node-2 uid=" uid " labels=app:server"

/* Only the source's node hears of the change: what ends is ended there. */
BOTH_FAMILIES(who_is_at_the_far_end_is_asked_again) {
    static const struct {
        const char *world;
        enum close_reason why; /* NONE: it goes on */
    } changes[] = {
        {CLIENT_MESH, CLOSE_WORKLOAD_GONE},
        {CLIENT_MESH SERVER_POD("server", "successor"), CLOSE_WORKLOAD_GONE},
        {CLIENT_MESH SERVER_POD("other", "server"), CLOSE_POLICY_CHANGED},
        {CLIENT_MESH SERVER_POD("server", "server") " waypoint=way", CLOSE_POLICY_CHANGED},
        {CLIENT_MESH SERVER_POD("server", "server") " dying", CLOSE_NONE},
        {CLIENT_MESH SERVER_POD("server", "server") " none", CLOSE_NONE},
        {CLIENT_MESH SERVER_POD("server", "server") "\nauth default/off DISABLE", CLOSE_NONE},
    };
    enum { N = 8 };
    uint64_t n_ended[2] = {0};
    for (size_t i = 0; i < array_size(changes); i++) {
        int s[N], c[N];
        char text[2];
        for (unsigned k = 0; k < N; k++)
            c[k] = open_pair(&s[k]);
        lab_world_at(&lab, LAB_A, changes[i].world);
        lab_wait_for(LAB_COUNT(&lab, LAB_A, world_number) == lab.n_worlds);
        for (unsigned k = 0; k < N; k++) {
            if (changes[i].why != CLOSE_NONE) {
                assert_int_equal(lab_read_error(c[k]), ECONNRESET);
                assert_int_equal(lab_read_error(s[k]), ECONNRESET);
            } else {
                lab_send(c[k], "x", 1);
                assert_int_equal(lab_read(s[k], text, 1), 1);
            }
            close(c[k]);
            close(s[k]);
        }
        nothing_left();
        n_ended[0] += changes[i].why == CLOSE_WORKLOAD_GONE ? N : 0;
        n_ended[1] += changes[i].why == CLOSE_POLICY_CHANGED ? N : 0;
        assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_WORKLOAD_GONE]), n_ended[0]);
        assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_POLICY_CHANGED]), n_ended[1]);
        lab_world(&lab, "");
        lab_wait_for(LAB_COUNT(&lab, LAB_A, world_number) == lab.n_worlds && LAB_COUNT(&lab, LAB_B, world_number) == lab.n_worlds);
    }
}

BOTH_FAMILIES(a_lost_peer_is_a_reset) {
    char text[8];
    int s, c = pair(&s);
    lab_send(s, "half of it", 10);
    assert_int_equal(lab_read(c, text, 4), 4);
    lab_drain(&lab, LAB_B, 0);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    close(c);
    close(s);
    nothing_left();
}

BOTH_FAMILIES(many_one_after_another) {
    char text[8];
    for (unsigned i = 0; i < 500; i++) {
        int s, c = pair(&s);
        lab_send(c, "x", 1);
        assert_int_equal(lab_read(s, text, 1), 1);
        close(i % 2 ? c : s);
        assert_int_equal(lab_read_error(i % 2 ? s : c), 0);
        close(i % 2 ? s : c);
    }
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_FINISHED]), 500);
    assert_int_equal(LAB_COUNT(&lab, LAB_A, handshakes), 1);
}

enum { MANY = 300 };
BOTH_FAMILIES(many_at_once) {
    static int c[MANY], s[MANY]; /* accepted in any order: each client says which one it is */
    for (unsigned i = 0; i < MANY; i++)
        c[i] = lab_dial(&lab, v6, server_ip(), app_port);
    for (unsigned i = 0; i < MANY; i++)
        lab_send(c[i], &i, sizeof(i));
    for (unsigned i = 0; i < MANY; i++) {
        unsigned who = MANY;
        int fd = lab_accept(app_fd);
        assert_int_equal(lab_read(fd, &who, sizeof(who)), sizeof(who));
        assert_true(who < MANY);
        s[who] = fd;
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_A, tunnels_open), 3);
    for (unsigned i = 0; i < MANY; i++) {
        close(c[i]);
        assert_int_equal(lab_read_error(s[i]), 0);
        close(s[i]);
    }
    nothing_left();
}

static void waits_for_a_certificate(void **state unused_arg) {
    char text[8];
    if (!able)
        skip();
    v6 = false;
    lab_init(&lab, 1);
    app_fd = lab_listen(server_ip(), 0, &app_port);
    int c = lab_dial(&lab, v6, server_ip(), app_port);
    struct mail *m = mailbox_wait(lab.nodes[LAB_A].mailbox, LAB_WAIT_S * 1000);
    assert_non_null(m);
    assert_ptr_equal(m->type, &mail_credential_want_type);
    assert_string_equal(container_of(m, struct mail_credential_want, mail)->identity.text,
                        "spiffe://cluster.local/ns/default/sa/client");
    mail_free(m);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    m = mailbox_wait(lab.nodes[LAB_B].mailbox, LAB_WAIT_S * 1000); /* the server side waits too */
    assert_non_null(m);
    mail_free(m);
    lab_credential(&lab, LAB_B, "server", NULL, 1);
    int s = lab_accept(app_fd);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    close(c);
    close(s);
    nothing_left();
    finish();
}

static void no_certificate_no_connection(void **state unused_arg) {
    if (!able)
        skip();
    v6 = false;
    lab_init(&lab, 1);
    app_fd = lab_listen(server_ip(), 0, &app_port);
    int c = lab_dial(&lab, v6, server_ip(), app_port);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_NO_IDENTITY]), 1);
    finish();
}

static void the_peer_must_be_who_was_asked_for(void **state unused_arg) {
    struct identity other = pki_identity("cluster.local", "default", "other");
    if (!able)
        skip();
    v6 = false;
    lab_init(&lab, 1);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    lab_credential(&lab, LAB_B, "server", &other, 1);
    app_fd = lab_listen(server_ip(), 0, &app_port);
    int c = lab_dial(&lab, v6, server_ip(), app_port);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    close(c);
    nothing_left();
    assert_int_equal(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_PEER_WRONG_IDENTITY]), 1);
    assert_int_equal(LAB_COUNT(&lab, LAB_B, opened[STATS_INBOUND]), 0);
    finish();
}

/* Failures in a row make the next attempt wait, and it is made: nobody is refused for what happened to others before. */
static void a_peer_that_recovered_is_tried_again(void **state unused_arg) {
    enum { FAILURES = 4 };
    struct identity other = pki_identity("cluster.local", "default", "other");
    char text[8];
    if (!able)
        skip();
    v6 = false;
    lab_init(&lab, 1);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    lab_credential(&lab, LAB_B, "server", &other, 1);
    app_fd = lab_listen(server_ip(), 0, &app_port);
    int c, s;
    for (unsigned i = 0; i < FAILURES; i++) {
        c = lab_dial(&lab, v6, server_ip(), app_port);
        assert_int_equal(lab_read_error(c), ECONNRESET);
        close(c);
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_A, handshakes_failed), FAILURES); /* each one was an attempt */
    lab_credential(&lab, LAB_B, "server", NULL, 2);
    c = pair(&s);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    close(c);
    close(s);
    nothing_left();
    finish();
}

/* Two thirds of the connections are the most that one pod gets while there are others; these find room. */
static void one_pod_does_not_take_all(void **state unused_arg) {
    enum { CONNECTIONS = 30, SHARE = 20, ASKED = 25, OTHER = 7 };
    int c[ASKED], s[SHARE], other_s;
    char text[8];
    lab_connections_max = CONNECTIONS;
    begin(false);
    lab_connections_max = 5000;
    lab_world(&lab, "pod default/other ip=10.9.0.9 sa=other node=node-1 uid=other\n");
    lab_credential(&lab, LAB_A, "other", NULL, 1);
    lab_pod(&lab, LAB_A, OTHER, "other", LAB_SERVER4, LAB_SERVER6, true);
    lab_wait_for(LAB_COUNT(&lab, LAB_A, world_number) == lab.n_worlds && LAB_COUNT(&lab, LAB_B, world_number) == lab.n_worlds);
    for (unsigned i = 0; i < ASKED; i++)
        c[i] = lab_dial(&lab, v6, server_ip(), app_port);
    for (unsigned i = 0; i < SHARE; i++)
        s[i] = lab_accept(app_fd);
    lab_wait_for(LAB_COUNT(&lab, LAB_A, closed[STATS_OUTBOUND][CLOSE_POD_LIMIT]) == ASKED - SHARE);
    lab.dialler = OTHER;
    int other_c = pair(&other_s);
    lab_send(other_c, "x", 1);
    assert_int_equal(lab_read(other_s, text, 1), 1);
    close(other_c);
    close(other_s);
    lab.dialler = 0;
    for (unsigned i = 0; i < ASKED; i++)
        close(c[i]);
    for (unsigned i = 0; i < SHARE; i++)
        close(s[i]);
    nothing_left();
    c[0] = pair(&s[0]); /* and the pod has its share again */
    close(c[0]);
    close(s[0]);
    nothing_left();
    finish();
}

static void a_new_certificate_makes_a_new_tunnel(void **state unused_arg) {
    char text[8];
    begin(false);
    int s, c = pair(&s);
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    lab_credential(&lab, LAB_A, "client", NULL, 2);
    int s2, c2 = pair(&s2); /* mail is read before the next connection is routed, or just after: ask again until it was */
    for (unsigned i = 0; i < 100 && LAB_COUNT(&lab, LAB_A, handshakes) < 2; i++) {
        close(c2);
        assert_int_equal(lab_read_error(s2), 0);
        close(s2);
        c2 = pair(&s2);
    }
    assert_int_equal(LAB_COUNT(&lab, LAB_A, handshakes), 2);
    lab_send(c, "y", 1); /* the old one carries its flow to the end */
    assert_int_equal(lab_read(s, text, 1), 1);
    close(c);
    close(s);
    close(c2);
    close(s2);
    nothing_left();
    lab_wait_for(LAB_COUNT(&lab, LAB_A, tunnels_open) == 1);
    finish();
}

static void a_pod_that_left_takes_all_with_it(void **state unused_arg) {
    begin(false);
    int s, c = pair(&s);
    struct mail_pod_gone *gone = mail_pod_gone_new(LAB_CLIENT_ID, lab.nodes[LAB_A].mailbox);
    assert_int_equal(mailbox_post(proxy_mailbox(lab.nodes[LAB_A].proxy, 0), &gone->mail), 0);
    assert_int_equal(lab_read_error(c), ECONNRESET);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    struct mail *m = mailbox_wait(lab.nodes[LAB_A].mailbox, LAB_WAIT_S * 1000);
    assert_non_null(m);
    assert_ptr_equal(m->type, &mail_pod_gone_type);
    mail_free(m);
    close(c);
    close(s);
    assert_int_equal(lab_try_dial(&lab, false, LAB_SERVER4, app_port), -ECONNREFUSED);
    finish();
}

static void a_drain_lets_flows_end(void **state unused_arg) {
    char text[8];
    begin(false);
    int s, c = pair(&s);
    struct mail_drain *d = mail_drain_new(clock_mono_ns() + LAB_WAIT_S * NS_PER_S, lab.nodes[LAB_B].mailbox);
    assert_int_equal(mailbox_post(proxy_mailbox(lab.nodes[LAB_B].proxy, 0), &d->mail), 0);
    lab_wait_for(lab_try_dial(&lab, false, LAB_SERVER4, 1) >= -ECONNREFUSED); /* any turn of A will do */
    lab_send(c, "x", 1);
    assert_int_equal(lab_read(s, text, 1), 1);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    struct mail *m = mailbox_wait(lab.nodes[LAB_B].mailbox, LAB_WAIT_S * 1000);
    assert_non_null(m);
    assert_ptr_equal(m->type, &mail_drain_type);
    mail_free(m);
    finish();
}

static void reports_name_both_ends(void **state unused_arg) {
    begin(false);
    int s, c = pair(&s);
    for (unsigned node = 0; node < _LAB_NODES; node++) {
        struct mail_ask *ask = mail_ask_new(ASK_CONNECTIONS, 7, lab.nodes[node].mailbox);
        assert_int_equal(mailbox_post(proxy_mailbox(lab.nodes[node].proxy, 0), &ask->mail), 0);
        struct mail *m = mailbox_wait(lab.nodes[node].mailbox, LAB_WAIT_S * 1000);
        assert_non_null(m);
        assert_ptr_equal(m->type, &mail_answer_type);
        struct mail_answer *answer = container_of(m, struct mail_answer, mail);
        assert_int_equal(answer->id, 7);
        assert_non_null(strstr(answer->json.at, "spiffe://cluster.local/ns/default/sa/client"));
        assert_non_null(strstr(answer->json.at, "spiffe://cluster.local/ns/default/sa/server"));
        mail_free(m);
    }
    close(c);
    close(s);
    nothing_left();
    finish();
}

/* Sums what all workers of a node answer: rows for which `field` is `value`. */
static unsigned count_rows(unsigned node, enum ask_what what, const char *field, const char *value) {
    unsigned n = 0;
    char why[128];
    for (unsigned i = 0; i < lab.nodes[node].n_workers; i++) {
        struct mail_ask *ask = mail_ask_new(what, 7, lab.nodes[node].mailbox);
        assert_int_equal(mailbox_post(proxy_mailbox(lab.nodes[node].proxy, i), &ask->mail), 0);
        struct mail *m = mailbox_wait(lab.nodes[node].mailbox, LAB_WAIT_S * 1000);
        assert_non_null(m);
        const struct growing *text = &container_of(m, struct mail_answer, mail)->json;
        struct json *rows = json_read((struct str){text->at, text->n}, why);
        assert_non_null(rows);
        for (size_t r = 0; r < json_count(rows); r++)
            n += str_is(json_text(json_get(json_at(rows, r), field)), str_of(value));
        json_free(rows);
        mail_free(m);
    }
    return n;
}

static void what_was_is_remembered(void **state unused_arg) {
    begin(false);
    int s, c = pair(&s);
    lab_world(&lab, "policy ALLOW default/only-others\nrule from principals=cluster.local/ns/default/sa/other\n");
    assert_int_equal(lab_read_error(c), ECONNRESET);
    assert_int_equal(lab_read_error(s), ECONNRESET);
    close(c);
    close(s);
    for (unsigned i = 0; i < 2; i++) {
        c = lab_dial(&lab, v6, server_ip(), app_port);
        assert_int_equal(lab_read_error(c), ECONNRESET);
        close(c);
    }
    nothing_left();
    assert_int_equal(count_rows(LAB_B, ASK_DENIALS, "policy", "default/only-others"), 3);
    assert_int_equal(count_rows(LAB_B, ASK_DENIALS, "reason", "policy-changed"), 1);
    assert_int_equal(count_rows(LAB_B, ASK_DENIALS, "reason", "policy-denied"), 2);
    assert_int_equal(count_rows(LAB_A, ASK_DENIALS, "reason", "policy-denied"), 2); /* as the other node said */
    assert_int_equal(count_rows(LAB_A, ASK_DENIALS, "policy", "default/only-others"), 0);
    assert_true(count_rows(LAB_B, ASK_RECENT, "to", "default/server") > 0);
    assert_int_equal(count_rows(LAB_B, ASK_RECENT, "reason", "finished"), 0);
    lab_world(&lab, "");
    lab_wait_for(LAB_COUNT(&lab, LAB_B, world_number) == lab.n_worlds * lab.nodes[LAB_B].n_workers);
    c = pair(&s);
    close(c);
    assert_int_equal(lab_read_error(s), 0);
    close(s);
    nothing_left();
    assert_int_equal(count_rows(LAB_B, ASK_DENIALS, "direction", "inbound"), 3);
    assert_int_equal(count_rows(LAB_B, ASK_RECENT, "reason", "finished"), 1);
    assert_int_equal(count_rows(LAB_A, ASK_RECENT, "reason", "finished"), 1);
    finish();
}

#define TWICE(name) cmocka_unit_test(name##_v4), cmocka_unit_test(name##_v6)

int main(void) {
    able = lab_enter();
    if (!able)
        print_message("needs root and network namespaces: skipped\n");
    const struct CMUnitTest tests[] = {
        TWICE(echo),
        TWICE(bulk_both_ways),
        TWICE(half_close_each_way),
        TWICE(resets_stay_resets),
        TWICE(a_reset_behind_a_fin_is_noticed),
        TWICE(a_stopped_reader_is_bounded_and_alone),
        TWICE(refusals_are_resets),
        TWICE(policy_decides_now_and_later),
        TWICE(who_is_at_the_far_end_is_asked_again),
        TWICE(a_lost_peer_is_a_reset),
        TWICE(many_one_after_another),
        TWICE(many_at_once),
        cmocka_unit_test(waits_for_a_certificate),
        cmocka_unit_test(no_certificate_no_connection),
        cmocka_unit_test(the_peer_must_be_who_was_asked_for),
        cmocka_unit_test(a_peer_that_recovered_is_tried_again),
        cmocka_unit_test(one_pod_does_not_take_all),
        cmocka_unit_test(a_new_certificate_makes_a_new_tunnel),
        cmocka_unit_test(a_pod_that_left_takes_all_with_it),
        cmocka_unit_test(a_drain_lets_flows_end),
        cmocka_unit_test(reports_name_both_ends),
        cmocka_unit_test(what_was_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
