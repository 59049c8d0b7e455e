/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/proxy/lab.c - see lab.h */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/trust.h>

#include "unit.h"

enum { PORT_OUTBOUND = 15001, PORT_INBOUND = 15006, PORT_HBONE = 15008 };

unsigned lab_connections_max = 5000;

bool lab_enter(void) {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
        return false;
    static const char *const commands[] = {"ip link set lo up", "ip addr add " LAB_CLIENT4 "/32 dev lo",
                                           "ip addr add " LAB_SERVER4 "/32 dev lo", "ip addr add " LAB_CLIENT6 "/128 dev lo nodad",
                                           "ip addr add " LAB_SERVER6 "/128 dev lo nodad"};
    for (size_t i = 0; i < array_size(commands); i++)
        if (system(commands[i]) != 0)
            return false;
    return true;
}

void lab_pause(void) {
    struct timespec t = {.tv_nsec = 1000000};
    nanosleep(&t, NULL);
}

static struct endpoint endpoint_of(const char *ip, uint16_t port) {
    struct endpoint e = {.port = port};
    check(addr_parse(str_of(ip), &e.addr));
    return e;
}

static int stream_socket(const struct endpoint *bind_to) {
    bool v6 = !addr_is_v4(&bind_to->addr);
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(bind_to, v6, &ss);
    int one = 1;
    struct timeval limit = {.tv_sec = LAB_WAIT_S};
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, n), 0);
    return fd;
}

static int listener(const char *ip, uint16_t port) {
    int one = 1;
    bool any = strcmp(ip, "::") == 0;
    struct endpoint at = any ? (struct endpoint){.port = port} : endpoint_of(ip, port);
    bool v6 = any || !addr_is_v4(&at.addr);
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(&at, v6, &ss);
    if (any) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&ss, &in6, sizeof(in6));
        n = sizeof(in6);
    }
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, n), 0);
    assert_int_equal(listen(fd, 4096), 0);
    return fd;
}

static int lab_origdst(void *context, uint64_t cookie unused_arg, const struct endpoint *client, struct capture_origin *ret) {
    struct lab *l = context;
    uint32_t id = l->dialler;
    if (l->dialled[client->port].port == 0)
        return 1;
    *ret = (struct capture_origin){.dst = l->dialled[client->port], .workload_id = id ? id : LAB_CLIENT_ID};
    return 0;
}

static void publish_world(struct lab *l, unsigned node, const char *text, const char *more) {
    struct mesh next;
    mesh_init(&next);
    mesh_add(&next, text);
    mesh_add(&next, more);
    struct world *built = NULL;
    if (world_build(&next.input, l->n_worlds, &next.diags, &built))
        fail_msg("%s", next.diags.items[0].text);
    world_free(publish_swap(&l->worlds[node], built));
    mesh_deinit(&l->mesh);
    l->mesh = next;
}

void lab_world(struct lab *l, const char *more) {
    l->n_worlds++;
    for (unsigned i = 0; i < _LAB_NODES; i++)
        publish_world(l, i, LAB_MESH, more);
}

void lab_world_at(struct lab *l, unsigned node, const char *text) {
    l->n_worlds++;
    publish_world(l, node, text, "");
}

static void post_all(struct lab *l, unsigned node, struct mail *(*make)(void *, unsigned), void *context) {
    for (unsigned i = 0; i < l->nodes[node].n_workers; i++)
        assert_int_equal(mailbox_post(proxy_mailbox(l->nodes[node].proxy, i), make(context, i)), 0);
}

static struct mail *make_trust(void *context, unsigned worker) { return &mail_trust_new(context, worker, NULL)->mail; }

struct credential_order {
    struct identity identity;
    struct tls_credential *credential;
};
static struct mail *make_credential(void *context, unsigned worker unused_arg) {
    struct credential_order *o = context;
    return &mail_credential_new(&o->identity, o->credential, NULL)->mail;
}

void lab_credential(struct lab *l, unsigned node, const char *sa, const struct identity *holder, uint64_t generation) {
    struct credential_order o = {.identity = pki_identity("cluster.local", "default", sa)};
    struct tls_credential_spec spec = {.identity = holder ? holder : &o.identity, .trust = l->pki.trust, .generation = generation};
    const char *why = NULL;
    post_all(l, node, make_trust, l->pki.trust);
    pki_leaf(&l->pki, NULL, spec.identity, PKI_FLAWLESS, &spec.key, &spec.chain);
    assert_int_equal(tls_credential_new(&spec, clock_wall_s(), &o.credential, &why), 0);
    l->nodes[node].self = *tls_credential_self(o.credential);
    post_all(l, node, make_credential, &o);
    tls_credential_unref(o.credential);
}

void lab_trust(struct lab *l, unsigned node, struct tls_trust *trust) {
    struct lab_node *n = &l->nodes[node];
    for (unsigned i = 0; i < n->n_workers; i++)
        assert_int_equal(mailbox_post(proxy_mailbox(n->proxy, i), &mail_trust_new(trust, i, n->mailbox)->mail), 0);
    for (unsigned done = 0; done < n->n_workers;) {
        struct mail *m = mailbox_wait(n->mailbox, LAB_WAIT_S * 1000);
        assert_non_null(m);
        done += m->type == &mail_trust_type;
        mail_free(m);
    }
}

struct pod_order {
    uint32_t id;
    const char *name, *ip4, *ip6;
    bool outbound;
};
static struct mail *make_pod(void *context, unsigned worker unused_arg) {
    struct pod_order *o = context;
    struct mail_pod *m = mail_pod_new();
    m->id = o->id;
    snprintf(m->uid, sizeof(m->uid), "%s", o->name);
    m->identity = pki_identity("cluster.local", "default", o->name);
    m->addrs[m->n_addrs++] = endpoint_of(o->ip4, 1).addr;
    m->addrs[m->n_addrs++] = endpoint_of(o->ip6, 1).addr;
    m->netns_cookie = 1;
    if (o->outbound) {
        m->listeners[CAPTURE_OUTBOUND4] = listener(o->ip4, PORT_OUTBOUND);
        m->listeners[CAPTURE_OUTBOUND6] = listener(o->ip6, PORT_OUTBOUND);
    } else
        m->listeners[CAPTURE_HBONE] = listener("::", PORT_HBONE);
    return &m->mail;
}

void lab_pod(struct lab *l, unsigned node, uint32_t id, const char *name, const char *ip4, const char *ip6, bool outbound) {
    struct pod_order o = {id, name, ip4, ip6, outbound};
    post_all(l, node, make_pod, &o);
}

static struct mail *make_drain(void *context, unsigned worker unused_arg) {
    struct lab_node *n = context;
    return &mail_drain_new(0, n->mailbox)->mail;
}
static struct mail *make_slow_drain(void *context, unsigned worker unused_arg) {
    struct lab_node *n = context;
    return &mail_drain_new(clock_mono_ns() + NS_PER_S, n->mailbox)->mail;
}

void lab_drain(struct lab *l, unsigned node, uint64_t in_ns) {
    struct lab_node *n = &l->nodes[node];
    post_all(l, node, in_ns ? make_slow_drain : make_drain, n);
    for (unsigned done = 0; done < n->n_workers;) {
        struct mail *m = mailbox_wait(n->mailbox, LAB_WAIT_S * 1000);
        assert_non_null(m);
        done += m->type == &mail_drain_type;
        mail_free(m);
    }
}

uint64_t lab_count(const struct lab *l, unsigned node, size_t offset) {
    uint64_t n = 0;
    for (unsigned i = 0; i < l->nodes[node].n_workers; i++)
        n += counter_get((const struct counter *)((const char *)&l->nodes[node].stats[i] + offset));
    return n;
}

void lab_init(struct lab *l, unsigned n_workers) {
    memset(l, 0, sizeof(*l));
    mesh_init(&l->mesh);
    pki_init(&l->pki, "cluster.local", clock_wall_s());
    lab_world(l, "");
    for (unsigned i = 0; i < _LAB_NODES; i++) {
        struct lab_node *n = &l->nodes[i];
        char why[256] = "";
        n->mailbox = mailbox_new("lab", 1000);
        n->n_workers = n_workers;
        assert_true(n->mailbox && n_workers <= array_size(n->stats));
        struct proxy_options o = {.n_workers = n_workers,
                                  .world = &l->worlds[i],
                                  .origdst = lab_origdst,
                                  .origdst_context = l,
                                  .identity = n->mailbox,
                                  .stats = n->stats,
                                  .ports = {PORT_OUTBOUND, PORT_INBOUND, PORT_HBONE},
                                  .connections_max = lab_connections_max};
        if (proxy_start(&o, &n->proxy, why) < 0)
            fail_msg("%s", why);
    }
    lab_pod(l, LAB_A, LAB_CLIENT_ID, "client", LAB_CLIENT4, LAB_CLIENT6, true);
    lab_pod(l, LAB_B, LAB_SERVER_ID, "server", LAB_SERVER4, LAB_SERVER6, false);
}

static void drop_mail(struct lab_node *n) {
    struct mail *m;
    while ((m = mailbox_take(n->mailbox)))
        mail_free(m);
}

void lab_deinit(struct lab *l) {
    for (unsigned i = 0; i < _LAB_NODES; i++) {
        struct lab_node *n = &l->nodes[i];
        n->proxy = proxy_stop(n->proxy);
        drop_mail(n);
        mailbox_unref(n->mailbox);
    }
    for (unsigned i = 0; i < _LAB_NODES; i++)
        world_free(publish_swap(&l->worlds[i], NULL));
    mesh_deinit(&l->mesh);
    pki_deinit(&l->pki);
}

/* ---- applications ---- */

int lab_listen(const char *ip, uint16_t port, uint16_t *ret_port) {
    struct endpoint at = endpoint_of(ip, port), local;
    int fd = stream_socket(&at);
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
    assert_true(endpoint_from_sockaddr(&ss, &local));
    *ret_port = local.port;
    return fd;
}

int lab_accept(int fd) {
    int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    struct timeval limit = {.tv_sec = LAB_WAIT_S};
    assert_true(c >= 0);
    assert_int_equal(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    return c;
}

int lab_try_dial(struct lab *l, bool v6, const char *to, uint16_t port) {
    struct endpoint from = endpoint_of(v6 ? LAB_CLIENT6 : LAB_CLIENT4, 0), local;
    struct endpoint listening = endpoint_of(v6 ? LAB_CLIENT6 : LAB_CLIENT4, PORT_OUTBOUND);
    int fd = stream_socket(&from), one = 1;
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
    assert_true(endpoint_from_sockaddr(&ss, &local));
    l->dialled[local.port] = endpoint_of(to, port);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    n = endpoint_to_sockaddr(&listening, v6, &ss);
    if (connect(fd, (struct sockaddr *)&ss, n) < 0) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

int lab_dial(struct lab *l, bool v6, const char *to, uint16_t port) {
    int fd = lab_try_dial(l, v6, to, port);
    if (fd < 0)
        fail_msg("connect: %s", strerror(-fd));
    return fd;
}

void lab_send(int fd, const void *bytes, size_t n) {
    const char *at = bytes;
    while (n) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            fail_msg("send: %s", strerror(errno));
        at += k;
        n -= (size_t)k;
    }
}

size_t lab_read(int fd, void *to, size_t n) {
    size_t got = 0;
    while (got < n) {
        ssize_t k = recv(fd, (char *)to + got, n - got, 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            fail_msg("recv: %s", strerror(errno));
        if (k == 0)
            break;
        got += (size_t)k;
    }
    return got;
}

int lab_read_error(int fd) {
    char sink[65536];
    for (;;) {
        ssize_t k = recv(fd, sink, sizeof(sink), 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? errno : 0;
    }
}

void lab_abort(int fd) {
    struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
}
