/* SPDX-License-Identifier: GPL-3.0-or-later
 * admin.c - the admin thread: doors (listening sockets), visitors (connections), requests
 *
 * libmicrohttpd runs inside this one thread, which waits in poll for all doors, for mail and for the next deadline. A
 * request that needs other threads is suspended until they have answered or the deadline has come, so a stuck thread
 * delays only who asked for it. The thread is an online reader of the world only while it makes a page.
 * Every answer closes its connection. A visitor has REQUEST_MS to bring its request and ANSWER_MS to take the answer. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>
#include <ringwall/model/addr.h>

#include "listen.h"
#include "private.h"

enum {
    DOORS_MAX = 7, /* the Unix socket; two families each for address, metrics and ready */
    UNIX_VISITORS_MAX = 16,
    TCP_VISITORS_MAX = (ADMIN_CONNECTIONS_MAX - UNIX_VISITORS_MAX) / (DOORS_MAX - 1), /* a door: none starves another */
    PER_ADDRESS_MAX = TCP_VISITORS_MAX / 4, /* of one client address at a door: one host cannot keep a probe out */
    HEAD_MAX = 8 * 1024,
    VISITOR_BYTES = 20 * 1024, /* libmicrohttpd's memory a visitor: its request's head and our answer's */
    REQUEST_MS = 5000,
    ANSWER_MS = 60000,
    ADMIN_MAIL_MAX = 8192,
};

struct door_open {
    struct admin *admin;
    enum door kind;
    bool loopback; /* a Host that is no local name is a browser led astray */
    struct MHD_Daemon *daemon;
    int epoll_fd; /* the daemon's */
};

struct visitor {
    struct list link;
    struct MHD_Connection *connection;
    uint64_t deadline_ns; /* UINT64_MAX: none */
    bool arrived;         /* its request is here, whole or refused; or it was cut */
};

struct request {
    struct list link; /* in admin.waiting while it is suspended */
    struct door_open *door;
    struct MHD_Connection *connection;
    const struct route *route;
    enum { ARRIVED, BODY, ASKED } phase;
    bool readable; /* the target parsed */
    size_t body_bytes;
    struct question question;
    struct query query;
};

struct admin {
    struct admin_options options;
    struct mailbox *mailbox;
    struct door_open doors[DOORS_MAX];
    size_t n_doors;
    struct list visitors, waiting; /* of struct visitor, of struct request */
    uint64_t n_gone;               /* visitors that left since start */
    uint64_t next_id;
    struct counter answers[6];
    enum log_level first_level;
    int stop_fd;
    pthread_t thread;
    bool running;
    dev_t socket_dev;
    ino_t socket_ino; /* 0: no socket of ours */
};

const char *admin_library_text(char *to, size_t n) {
    snprintf(to, n, "libmicrohttpd %s", MHD_get_version());
    return to;
}

/* ---- answers ---- */

static struct visitor *visitor_of(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Its request is here: from now on this is its deadline. */
static void visitor_arrived(struct MHD_Connection *c, uint64_t deadline_ns) {
    struct visitor *v = visitor_of(c);
    if (!v)
        return;
    v->arrived = true;
    v->deadline_ns = deadline_ns;
}

static void add_headers(struct MHD_Response *m, const struct request *r, const struct reply *reply) {
    static const struct {
        const char *name, *value;
    } always[] = {
        {"Connection", "close"},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
                                    "form-action 'none'; frame-ancestors 'none'"},
    };
    bool ok = true;
    for (size_t i = 0; i < array_size(always); i++)
        ok &= MHD_add_response_header(m, always[i].name, always[i].value) == MHD_YES;
    ok &= MHD_add_response_header(m, "Content-Type", reply->type) == MHD_YES;
    if (reply->status == 405)
        ok &= MHD_add_response_header(m, "Allow", r->route && r->route->post ? "POST" : "GET, HEAD") == MHD_YES;
    char bytes[1024];
    struct text missing = TEXT_OVER(bytes);
    question_missing(&r->question, &missing);
    if (missing.n)
        ok &= MHD_add_response_header(m, "Ringwall-Incomplete", bytes) == MHD_YES;
    check(ok); /* only our own bytes are in them */
}

/* Takes the reply's body. */
static enum MHD_Result answer(struct request *r, struct reply *reply) {
    if (reply->body.failed) {
        growing_deinit(&reply->body);
        reply_text(reply, 500, "out of memory");
    }
    size_t n = reply->body.n;
    char *bytes = take_ptr(reply->body.at);
    reply->body = GROWING_NULL;
    struct MHD_Response *m = bytes ? MHD_create_response_from_buffer_with_free_callback(n, bytes, free)
                                   : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!m) {
        free(bytes);
        return MHD_NO;
    }
    add_headers(m, r, reply);
    enum MHD_Result done = MHD_queue_response(r->connection, reply->status, m);
    MHD_destroy_response(m);
    counter_add(&r->door->admin->answers[min_of(reply->status / 100, 5u)], 1);
    visitor_arrived(r->connection, clock_mono_ns() + ANSWER_MS * NS_PER_MS);
    return done;
}

static enum MHD_Result printf_like(3, 4) refuse(struct request *r, unsigned status, const char *fmt, ...) {
    char bytes[512];
    struct text t = TEXT_OVER(bytes);
    struct reply reply = {0};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    reply_text(&reply, status, "%s", bytes);
    return answer(r, &reply);
}

static enum MHD_Result make_page(struct request *r) {
    struct admin *a = r->door->admin;
    struct reply reply = {0};
    publish_reader_online();
    struct view v = {.options = &a->options,
                     .world = publish_read(a->options.world),
                     .query = &r->query,
                     .question = &r->question,
                     .answers = a->answers,
                     .first_level = a->first_level};
    r->route->make(&v, &reply);
    publish_reader_offline();
    return answer(r, &reply);
}

/* ---- requests ---- */

static bool peer_may_act(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static bool head_is_too_large(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return !info || info->header_size > HEAD_MAX;
}

static bool body_is_too_large(struct MHD_Connection *c) {
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    uint64_t n;
    return length && !str_u64(str_of(length), ADMIN_BODY_MAX, &n);
}

static enum MHD_Result refuse_path(struct request *r) {
    struct reply reply = {0};
    reply_text(&reply, 404, "no such page here; these are:");
    route_list(r->door->kind, &reply.body);
    return answer(r, &reply);
}

/* Looks at the head. Answers at once what is refused; else the body may come. */
static enum MHD_Result judge_head(struct request *r, const char *method) {
    const char *host = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Host");
    bool looks = !strcmp(method, "GET") || !strcmp(method, "HEAD"), unix_socket = r->door->kind == DOOR_UNIX;
    if (head_is_too_large(r->connection))
        return refuse(r, 431, "the request's head has more than %d bytes", HEAD_MAX);
    if (!r->readable)
        return refuse(r, 400, "the request's target cannot be read");
    if (r->door->loopback && !host_is_local(str_of(host)))
        return refuse(r, 403, "Host: write localhost or an address: a request that a foreign name led here is not answered");
    if (!looks && !unix_socket)
        return refuse(r, 405, "this listener only shows: use the Unix socket (ringwallctl log-level, ringwallctl drain)");
    r->route = route_find(r->query.path, r->door->kind);
    if (!r->route)
        return refuse_path(r);
    if (r->route->post ? !unix_socket || strcmp(method, "POST") != 0 : !looks)
        return refuse(r, 405, "%s",
                      r->route->post ? "POST it, on the Unix socket (ringwallctl log-level, ringwallctl drain)" : "GET it");
    if (r->route->post && !peer_may_act(r->connection))
        return refuse(r, 403, "only root and the daemon's own user may do this");
    if (body_is_too_large(r->connection))
        return refuse(r, 413, "the body has more than %d bytes", ADMIN_BODY_MAX);
    r->phase = BODY;
    return MHD_YES;
}

/* Suspends the request until its question is answered; a page that needs nothing is made now. */
static enum MHD_Result ask(struct request *r) {
    struct admin *a = r->door->admin;
    r->phase = ASKED;
    if (r->route->needs && question_begin(&r->question, r->route->needs, &a->options, a->mailbox, &a->next_id) < 0)
        return refuse(r, 503, "out of memory");
    if (r->question.n_waiting == 0)
        return make_page(r);
    list_push_back(&a->waiting, &r->link);
    visitor_arrived(r->connection, UINT64_MAX);
    MHD_suspend_connection(r->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                  const char *body, size_t *body_n, void **context) {
    struct request *r = *context;
    if (!r)
        return MHD_NO;
    switch (r->phase) {
    case ARRIVED:
        r->connection = c;
        return judge_head(r, method);
    case BODY:
        r->body_bytes += *body_n;
        if (r->body_bytes > ADMIN_BODY_MAX)
            return MHD_NO; /* its length was not told: the connection is cut */
        if (*body_n == 0)
            return ask(r);
        *body_n = 0;
        return MHD_YES;
    case ASKED:
        return make_page(r);
    }
    unreachable_because("a request has no other phase");
}

/* The target as it came, before the library takes it apart. What is returned is the request's context. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *c) {
    struct request *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->door = cls;
    r->connection = c;
    r->readable = query_parse(str_of(target), &r->query);
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode code) {
    struct request *r = *context;
    if (!r)
        return;
    list_unlink(&r->link);
    question_deinit(&r->question);
    free(r);
    *context = NULL;
}

static void on_visitor(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code) {
    struct door_open *door = cls;
    struct visitor *v = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        v = calloc(1, sizeof(*v));
        if (!v)
            return; /* the library's own time-out still holds */
        *v = (struct visitor){.connection = c, .deadline_ns = clock_mono_ns() + REQUEST_MS * NS_PER_MS};
        list_push_back(&door->admin->visitors, &v->link);
        *context = v;
        return;
    }
    door->admin->n_gone++;
    if (v) {
        list_unlink(&v->link);
        free(v);
        *context = NULL;
    }
}

/* ---- the thread ---- */

static void request_resume(struct request *r) {
    list_unlink(&r->link);
    visitor_arrived(r->connection, clock_mono_ns() + REQUEST_MS * NS_PER_MS);
    MHD_resume_connection(r->connection);
}

static void take_answer(struct admin *a, struct mail *mail) {
    if (mail->type == &mail_answer_type) {
        struct mail_answer *m = container_of(mail, struct mail_answer, mail);
        list_for_each_safe (it, &a->waiting) {
            struct request *r = list_entry(it, struct request, link);
            if (!question_take(&r->question, m))
                continue;
            if (r->question.n_waiting == 0)
                request_resume(r);
            break;
        }
    }
    mail_free(mail);
}

static void give_up_overdue(struct admin *a, uint64_t now) {
    list_for_each_safe (it, &a->waiting) {
        struct request *r = list_entry(it, struct request, link);
        if (now < r->question.deadline_ns)
            continue;
        question_give_up(&r->question);
        request_resume(r);
    }
}

static int visitor_fd(const struct visitor *v) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(v->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* The library sees the end of the connection and closes it. */
static void visitor_cut(struct visitor *v) {
    shutdown(visitor_fd(v), SHUT_RDWR);
    v->arrived = true;
    v->deadline_ns = UINT64_MAX;
}

static void cut_overdue(struct admin *a, uint64_t now) {
    list_for_each (it, &a->visitors) {
        struct visitor *v = list_entry(it, struct visitor, link);
        if (now >= v->deadline_ns)
            visitor_cut(v);
    }
}

/* Visitors that ended in the middle of a request: the library does not look for an end that came together with bytes,
 * and would keep the place until the deadline. */
static bool cut_ended(struct admin *a) {
    bool any = false;
    list_for_each (it, &a->visitors) {
        struct visitor *v = list_entry(it, struct visitor, link);
        char byte;
        if (v->arrived || recv(visitor_fd(v), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
            continue;
        visitor_cut(v);
        any = true;
    }
    return any;
}

static int wait_ms(struct admin *a) {
    uint64_t now = clock_mono_ns(), due = UINT64_MAX, ms = 60000;
    list_for_each (it, &a->waiting)
        due = min_of(due, list_entry(it, struct request, link)->question.deadline_ns);
    list_for_each (it, &a->visitors)
        due = min_of(due, list_entry(it, struct visitor, link)->deadline_ns);
    if (due != UINT64_MAX)
        ms = min_of(ms, due > now ? (due - now) / NS_PER_MS + 1 : 0);
    for (size_t i = 0; i < a->n_doors; i++) {
        MHD_UNSIGNED_LONG_LONG left;
        if (MHD_get_timeout(a->doors[i].daemon, &left) == MHD_YES)
            ms = min_of(ms, (uint64_t)left);
    }
    return (int)ms;
}

/* A full door opens again only in the library's next turn after a visitor has left, and nothing would wake us for it. */
static void serve(struct admin *a) {
    uint64_t n_gone;
    do {
        n_gone = a->n_gone;
        for (size_t i = 0; i < a->n_doors; i++)
            MHD_run(a->doors[i].daemon);
    } while (cut_ended(a) || a->n_gone != n_gone);
}

/* False: asked to stop. */
static bool turn(struct admin *a) {
    struct pollfd fds[DOORS_MAX + 2] = {{.fd = a->stop_fd, .events = POLLIN},
                                        {.fd = mailbox_eventfd(a->mailbox), .events = POLLIN}};
    for (size_t i = 0; i < a->n_doors; i++)
        fds[i + 2] = (struct pollfd){.fd = a->doors[i].epoll_fd, .events = POLLIN};
    ignore_result(poll(fds, a->n_doors + 2, wait_ms(a))); /* EINTR: everything is looked at anyway */
    mailbox_clear_event(a->mailbox);
    for (struct mail *m; (m = mailbox_take(a->mailbox));)
        take_answer(a, m);
    uint64_t now = clock_mono_ns();
    give_up_overdue(a, now);
    cut_overdue(a, now);
    serve(a);
    return !(fds[0].revents & POLLIN);
}

static void *run(void *argument) {
    struct admin *a = argument;
    publish_reader_register();
    publish_reader_offline();
    while (turn(a))
        ;
    /* Whoever still waits gets what is there; the library may not be stopped with suspended requests. */
    give_up_overdue(a, UINT64_MAX);
    serve(a);
    mailbox_close(a->mailbox);
    publish_reader_unregister();
    return NULL;
}

/* ---- start and stop ---- */

/* Takes the socket on success. */
static int open_door(struct admin *a, enum door kind, bool loopback, int *fd, char why[LISTEN_WHY_BYTES]) {
    struct door_open *d = &a->doors[a->n_doors];
    check(a->n_doors < DOORS_MAX);
    *d = (struct door_open){.admin = a, .kind = kind, .loopback = loopback};
    d->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, d, MHD_OPTION_LISTEN_SOCKET, *fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, d, MHD_OPTION_NOTIFY_COMPLETED, on_completed, d, MHD_OPTION_NOTIFY_CONNECTION,
        on_visitor, d, MHD_OPTION_CONNECTION_LIMIT, kind == DOOR_UNIX ? (unsigned)UNIX_VISITORS_MAX : (unsigned)TCP_VISITORS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)VISITOR_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(REQUEST_MS / 1000), MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d->daemon ? MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!d->daemon) {
        snprintf(why, LISTEN_WHY_BYTES, "libmicrohttpd does not start: too many open files?");
        return 1;
    }
    take_fd(*fd);
    d->epoll_fd = info ? info->epoll_fd : -1;
    a->n_doors++;
    return 0;
}

static int open_unix(struct admin *a, char why[LISTEN_WHY_BYTES]) {
    const char *path = a->options.socket_path;
    cleanup_fd int fd = -1;
    struct stat st;
    if (!path || !path[0])
        return 0;
    int r = listen_unix(path, &fd, why);
    if (r != 0)
        return err_trace(r);
    if (lstat(path, &st) == 0) {
        a->socket_dev = st.st_dev;
        a->socket_ino = st.st_ino;
    }
    return open_door(a, DOOR_UNIX, false, &fd, why);
}

static bool is_loopback(const char *host) {
    struct addr addr;
    return !strcmp(host, "localhost") || (addr_parse(str_of(host), &addr) && addr_is_loopback(&addr));
}

static int open_tcp(struct admin *a, enum door kind, const struct admin_listen *l, char why[LISTEN_WHY_BYTES]) {
    int fds[2] = {-1, -1};
    size_t n = 0;
    if (!l->host || l->port == 0)
        return 0;
    int r = listen_tcp(l, fds, &n, why);
    for (size_t i = 0; i < n && r == 0; i++)
        r = open_door(a, kind, is_loopback(l->host), &fds[i], why);
    fd_close(fds[0]);
    fd_close(fds[1]);
    return err_trace(r);
}

static int open_doors(struct admin *a, char why[LISTEN_WHY_BYTES]) {
    int r = open_unix(a, why);
    if (r == 0)
        r = open_tcp(a, DOOR_ADDRESS, &a->options.address, why);
    if (r == 0)
        r = open_tcp(a, DOOR_METRICS, &a->options.metrics, why);
    if (r == 0)
        r = open_tcp(a, DOOR_READY, &a->options.ready, why);
    return err_trace(r);
}

/* The socket file goes only while it is still ours. */
static void remove_socket(const struct admin *a) {
    struct stat st;
    if (a->socket_ino && lstat(a->options.socket_path, &st) == 0 && st.st_dev == a->socket_dev && st.st_ino == a->socket_ino)
        unlink(a->options.socket_path);
}

struct admin *admin_stop(struct admin *a) {
    if (!a)
        return NULL;
    if (a->running) {
        uint64_t one = 1;
        ignore_result(write(a->stop_fd, &one, sizeof(one))); /* an eventfd takes it */
        thread_join(a->thread);
    }
    remove_socket(a);
    for (size_t i = 0; i < a->n_doors; i++)
        MHD_stop_daemon(a->doors[i].daemon);
    if (a->mailbox)
        mailbox_unref(a->mailbox);
    fd_close(a->stop_fd);
    free(a);
    return NULL;
}
DEFINE_FREEP(struct admin, admin_stop)

int admin_start(const struct admin_options *o, struct admin **ret, char why[256]) {
    cleanup(admin_stopp) struct admin *a = calloc(1, sizeof(*a));
    if (!a)
        return err_origin(-ENOMEM);
    a->options = *o;
    a->next_id = 1;
    a->first_level = log_get_level();
    list_init(&a->visitors);
    list_init(&a->waiting);
    a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->mailbox = mailbox_new("admin", ADMIN_MAIL_MAX);
    if (a->stop_fd < 0 || !a->mailbox)
        return err_origin(-ENOMEM);
    int r = open_doors(a, why);
    if (r != 0)
        return err_trace(r);
    r = thread_start(&a->thread, "admin", run, a);
    if (r != 0)
        return err_trace(r);
    a->running = true;
    *ret = take_ptr(a);
    return 0;
}
