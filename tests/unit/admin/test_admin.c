/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the admin thread answers each door as it should, bounds what comes in, and waits for nobody who is stuck. Method:
 * a real one on a Unix socket and loopback ports; another thread plays config, identity, main and worker 0, while worker
 * 1 never answers. */
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/thread.h>

#include "view_unit.h"

struct stage {
    struct unit_view u;
    struct publish_slot slot;
    struct admin *admin;
    char directory[256], path[300];
    struct mailbox *actors[4];
    atomic_bool ending;
    pthread_t thread;
};

static void act(struct mailbox *box, const char *status, const char *other) {
    for (struct mail *mail; (mail = mailbox_take(box)); mail_free(mail)) {
        if (mail->type != &mail_ask_type)
            continue;
        struct mail_ask *ask = container_of(mail, struct mail_ask, mail);
        struct mail_answer *m = mail_answer_new(ask->id);
        growing_add(&m->json, str_of(ask->what == ASK_STATUS ? status : other));
        if (mailbox_post(ask->reply, &m->mail) != 0)
            mail_free(&m->mail);
    }
}

static void *play(void *argument) {
    static const char *const status[] = {"{\"attempts\":1}", "{\"identities\":1}", "{}", "{}"},
                             *const other[] = {"null", "[{\"identity\":\"spiffe://x\"}]", "{\"pods\":[]}", "[{\"id\":1}]"};
    struct stage *s = argument;
    while (!atomic_load(&s->ending)) {
        struct pollfd fds[4];
        for (size_t i = 0; i < array_size(fds); i++)
            fds[i] = (struct pollfd){.fd = mailbox_eventfd(s->actors[i]), .events = POLLIN};
        poll(fds, array_size(fds), 50);
        for (size_t i = 0; i < array_size(fds); i++) {
            mailbox_clear_event(s->actors[i]);
            act(s->actors[i], status[i], other[i]);
        }
    }
    return NULL;
}

/* A port that was free a moment ago. */
static uint16_t free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin_port);
}

static int set_up(void **state) {
    struct stage *s = calloc(1, sizeof(*s));
    char why[256] = "";
    unit_view_init(&s->u, "pod app/web ip=10.1.0.1\n");
    unit_directory(s->directory);
    snprintf(s->path, sizeof(s->path), "%s/admin.sock", s->directory);
    publish_swap(&s->slot, s->u.mesh.world);
    s->u.options.socket_path = s->path;
    s->u.options.world = &s->slot;
    s->u.options.address = (struct admin_listen){"127.0.0.1", free_port()};
    s->u.options.metrics = (struct admin_listen){"*", free_port()};
    s->u.options.ready = (struct admin_listen){"localhost", free_port()};
    if (admin_start(&s->u.options, &s->admin, why) != 0)
        fail_msg("%s", why);
    s->actors[0] = s->u.options.config;
    s->actors[1] = s->u.options.identity;
    s->actors[2] = s->u.options.main;
    s->actors[3] = s->u.workers[0];
    assert_int_equal(thread_start(&s->thread, "actors", play, s), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state) {
    struct stage *s = *state;
    struct stat st;
    s->admin = admin_stop(s->admin);
    atomic_store(&s->ending, true);
    thread_join(s->thread);
    publish_swap(&s->slot, NULL);
    unit_view_deinit(&s->u);
    assert_int_equal(stat(s->path, &st), -1); /* the socket went with its daemon */
    assert_int_equal(rmdir(s->directory), 0);
    free(s);
    return 0;
}

static int open_tcp(uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static int open_unix(const struct stage *s) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", s->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void say(int fd, struct str text) {
    while (text.n > 0) {
        ssize_t n = send(fd, text.at, text.n, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused already: what came back is looked at */
        text = (struct str){text.at + n, text.n - (size_t)n};
    }
}

/* Everything until the end, at most 10 s; then the socket is closed. */
static char *hear(int fd) {
    struct timeval patience = {.tv_sec = 10};
    struct growing all = GROWING_NULL;
    char block[4096];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (ssize_t n; (n = recv(fd, block, sizeof(block), 0)) > 0;)
        growing_add(&all, (struct str){block, (size_t)n});
    growing_add(&all, STR(" "));
    close(fd);
    return all.at;
}

static char *ask(int fd, const char *request) {
    say(fd, str_of(request));
    return hear(fd);
}

/* Takes the answer. */
static void check_answer(char *all, const char *request, const char *status, const char *part) {
    char line[64];
    snprintf(line, sizeof(line), "HTTP/1.1 %s", status);
    if (!str_has_prefix(str_of(all), str_of(line)) || !strstr(all, part))
        fail_msg("%.60s: %s", request, all);
    free(all);
}
static void expect(int fd, const char *request, const char *status, const char *part) {
    check_answer(ask(fd, request), request, status, part);
}
/* While the ends of others of this address are not noticed yet, one more is refused without a word: it comes again. */
static void expect_in_the_end(uint16_t port, const char *request, const char *status, const char *part) {
    uint64_t until = clock_mono_ns() + 10 * NS_PER_S;
    char *all = NULL;
    do {
        free(all);
        all = ask(open_tcp(port), request);
    } while (!all[strspn(all, " ")] && clock_mono_ns() < until);
    check_answer(all, request, status, part);
}
#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void pages(void **state) {
    struct stage *s = *state;
    const struct admin_options *o = &s->u.options;
    expect(open_unix(s), GET("/status"), "200", "\"attempts\":1");
    expect(open_unix(s), GET("/certs"), "200", "spiffe://x");
    expect(open_unix(s), GET("/workloads"), "200", "10.1.0.1");
    expect(open_tcp(o->address.port), GET("/capture"), "200", "{\"pods\":[]}");
    expect(open_tcp(o->address.port), GET("/"), "200", "frame-ancestors 'none'");
    expect(open_tcp(o->address.port), "GET /status HTTP/1.0\r\n\r\n", "200", "Connection: close");
    expect(open_tcp(o->metrics.port), GET("/metrics"), "200", "ringwall_workloads 1");
    expect(open_tcp(o->metrics.port), GET("/stats/prometheus"), "200", "ringwall_ready 1");
    expect(open_tcp(o->ready.port), GET("/healthz/ready"), "200", "ready\n");
    s->u.ready = false;
    expect(open_tcp(o->ready.port), GET("/healthz/ready"), "503", "not ready: 1 of 2");
    char *head = ask(open_tcp(o->ready.port), "HEAD /healthz/ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(str_has_prefix(str_of(head), STR("HTTP/1.1 503")));
    assert_null(strstr(head, "not ready"));
    free(head);
}

static void doors(void **state) {
    struct stage *s = *state;
    const struct admin_options *o = &s->u.options;
    expect(open_tcp(o->metrics.port), GET("/config_dump"), "404", "/metrics");
    expect(open_tcp(o->ready.port), GET("/metrics"), "404", "/healthz/ready");
    expect(open_tcp(o->address.port), GET("/nothing"), "404", "/config_dump");
    expect(open_tcp(o->address.port), GET("/quitquitquit"), "405", "Unix socket");
    expect(open_tcp(o->address.port), "POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405",
           "Allow: GET, HEAD");
    expect(open_tcp(o->address.port), "DELETE /status HTTP/1.1\r\nHost: localhost\r\n\r\n", "405", "only shows");
    expect(open_unix(s), GET("/logging"), "405", "Allow: POST");
    expect(open_unix(s), "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405", "GET it");
    expect(open_unix(s), "POST /logging?level=nonsense HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "400",
           "write error");
}

static void foreign_hosts(void **state) {
    struct stage *s = *state;
    const struct admin_options *o = &s->u.options;
    expect(open_tcp(o->address.port), "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403", "foreign name");
    expect(open_tcp(o->address.port), "GET /status HTTP/1.1\r\nHost: localhost.evil.example:15000\r\n\r\n", "403", "foreign name");
    expect(open_tcp(o->address.port), "GET /workloads HTTP/1.1\r\nHost: 127.0.0.1:15000\r\n\r\n", "200", "10.1.0.1");
    /* The scrape port is for the network, where names are usual. */
    expect(open_tcp(o->metrics.port), "GET /metrics HTTP/1.1\r\nHost: node-1.example\r\n\r\n", "200", "ringwall_ready");
}

static void bounds(void **state) {
    struct stage *s = *state;
    uint16_t port = s->u.options.address.port;
    static char request[80 * 1024];
    memset(request, 'x', sizeof(request) - 1); /* its last byte stays NUL */
    snprintf(request, 64, "GET /workloads HTTP/1.1\r\nHost: localhost\r\nX: ");
    request[strlen(request)] = 'x';
    memcpy(request + 9000, "\r\n\r\n", 5);
    expect(open_tcp(port), request, "431", "");
    memset(request + 9000, 'x', sizeof(request) - 9001);
    char *all = ask(open_tcp(port), request); /* a head that never ends */
    assert_false(str_has_prefix(str_of(all), STR("HTTP/1.1 200")));
    free(all);
    expect(open_tcp(port), "GET /workloads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n", "413", "65536");
    expect(open_tcp(port), "GET /workloads?a=%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "target");
    expect(open_tcp(port), "GET http://localhost/workloads HTTP/1.1\r\nHost: localhost\r\n\r\n", "400", "target");
    all = ask(open_tcp(port), "\x16\x03\x01 garbage\r\n\r\n\r\n");
    assert_false(str_has_prefix(str_of(all), STR("HTTP/1.1 200")));
    free(all);
    /* Chunks whose sum is past the bound: the connection is cut, the daemon goes on. */
    static const char chunked[] = "GET /workloads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    int fd = open_tcp(port);
    say(fd, STR(chunked));
    for (unsigned i = 0; i < 70; i++) {
        say(fd, STR("400\r\n"));
        say(fd, (struct str){request + 4096, 1024});
        say(fd, STR("\r\n"));
    }
    say(fd, STR("0\r\n\r\n"));
    all = hear(fd);
    assert_false(str_has_prefix(str_of(all), STR("HTTP/1.1 200")));
    free(all);
    expect(open_tcp(port), GET("/workloads"), "200", "10.1.0.1");
}

static void stuck_worker(void **state) {
    struct stage *s = *state;
    uint64_t began = clock_mono_ns();
    int waiting = open_unix(s);
    say(waiting, STR(GET("/connections")));
    /* Others are served meanwhile. */
    expect(open_unix(s), GET("/workloads"), "200", "10.1.0.1");
    expect(open_tcp(s->u.options.ready.port), GET("/healthz/ready"), "200", "ready");
    assert_true(clock_mono_ns() - began < ADMIN_ASK_TIMEOUT_MS * NS_PER_MS);
    char *all = hear(waiting);
    uint64_t took = clock_mono_ns() - began;
    assert_true(str_has_prefix(str_of(all), STR("HTTP/1.1 200")));
    assert_non_null(strstr(all, "\r\nRingwall-Incomplete: worker 1\r\n"));
    assert_non_null(strstr(all, "{\"id\":1}"));
    assert_true(took >= ADMIN_ASK_TIMEOUT_MS * NS_PER_MS && took < 2 * ADMIN_ASK_TIMEOUT_MS * NS_PER_MS);
    free(all);
}

static void asker_leaves(void **state) {
    struct stage *s = *state;
    int fd = open_unix(s);
    say(fd, STR(GET("/connections")));
    close(fd); /* its answer meets nobody */
    expect(open_unix(s), GET("/connections"), "200", "worker 1");
}

static void stop_with_waiting(void **state) {
    struct stage *s = *state;
    int fd = open_unix(s), other = open_unix(s);
    say(fd, STR(GET("/connections")));
    expect(other, GET("/workloads"), "200", "10.1.0.1"); /* now the first one waits too */
    uint64_t began = clock_mono_ns();
    s->admin = admin_stop(s->admin);
    assert_true(clock_mono_ns() - began < ADMIN_ASK_TIMEOUT_MS * NS_PER_MS);
    char *all = hear(fd);
    assert_true(str_has_prefix(str_of(all), STR("HTTP/1.1 200")));
    free(all);
}

static void slow_heads_and_crowds(void **state) {
    struct stage *s = *state;
    uint16_t port = s->u.options.address.port;
    int crowd[ADMIN_CONNECTIONS_MAX];
    uint64_t began = clock_mono_ns();
    for (size_t i = 0; i < array_size(crowd); i++) {
        crowd[i] = open_tcp(port);
        say(crowd[i], STR("GET /workl"));
    }
    expect(open_tcp(s->u.options.ready.port), GET("/healthz/ready"), "200", "ready");
    expect(open_unix(s), GET("/workloads"), "200", "10.1.0.1");
    free(hear(crowd[0])); /* cut, though it sent nothing wrong */
    uint64_t took = clock_mono_ns() - began;
    assert_true(took > 4 * NS_PER_S && took < 9 * NS_PER_S);
    for (size_t i = 1; i < array_size(crowd); i++)
        close(crowd[i]);
    expect_in_the_end(port, GET("/workloads"), "200", "10.1.0.1");
}

/* One host holds all connections it can get at a door, and its queue: a probe from another address is answered at once. */
static void one_address_leaves_room(void **state) {
    struct stage *s = *state;
    uint16_t port = s->u.options.ready.port;
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int crowd[ADMIN_CONNECTIONS_MAX / 4];
    uint64_t began = clock_mono_ns();
    for (size_t i = 0; i < array_size(crowd); i++)
        crowd[i] = open_tcp(port);
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(probe, (struct sockaddr *)&other, sizeof(other)), 0);
    assert_int_equal(connect(probe, (struct sockaddr *)&to, sizeof(to)), 0);
    expect(probe, GET("/healthz/ready"), "200", "ready");
    assert_true(clock_mono_ns() - began < 4 * NS_PER_S); /* before any of the crowd was cut */
    for (size_t i = 0; i < array_size(crowd); i++)
        close(crowd[i]);
}

static void quit(void **state) {
    struct stage *s = *state;
    /* main is played by a thread that drops what is no question: the answer is what counts here */
    expect(open_unix(s), "POST /quitquitquit HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "200", "draining");
}

static void refuses_to_start(void **state) {
    struct stage *s = *state;
    struct admin *second = NULL;
    struct admin_options o = s->u.options;
    struct stat st;
    char why[256] = "", path[320];
    assert_int_equal(admin_start(&o, &second, why), 1);
    assert_non_null(strstr(why, "another daemon"));
    snprintf(path, sizeof(path), "%s/other.sock", s->directory);
    o.socket_path = path;
    assert_int_equal(admin_start(&o, &second, why), 1);
    assert_non_null(strstr(why, "is taken"));
    assert_null(second);
    assert_int_equal(stat(path, &st), -1);
    expect(open_unix(s), GET("/workloads"), "200", "10.1.0.1");
}

static void library(void **state) {
    char text[64];
    assert_non_null(strstr(admin_library_text(text, sizeof(text)), "libmicrohttpd "));
}

#define STAGED(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {STAGED(pages),
                                       STAGED(doors),
                                       STAGED(foreign_hosts),
                                       STAGED(bounds),
                                       STAGED(stuck_worker),
                                       STAGED(asker_leaves),
                                       STAGED(stop_with_waiting),
                                       STAGED(slow_heads_and_crowds),
                                       STAGED(one_address_leaves_room),
                                       STAGED(quit),
                                       STAGED(refuses_to_start),
                                       cmocka_unit_test(library)};
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
