/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the sockets are where they are asked for, private where they must be, and what stands in the way is named.
 * Method: real sockets in a directory of the test's own and on loopback ports of the kernel's choice. */
#include "listen.h"

#include "unit.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char directory[256];

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static int set_up(void **state) { return unit_directory(directory) ? 0 : 1; }
static int tear_down(void **state) {
    unlink(path_of("deep/er/s.sock"));
    rmdir(path_of("deep/er"));
    rmdir(path_of("deep"));
    unlink(path_of("s.sock"));
    unlink(path_of("file"));
    return rmdir(directory);
}

static int try_connect(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(path) < sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path));
    return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static void unix_is_private(void **state) {
    cleanup_fd int fd = -1;
    char why[LISTEN_WHY_BYTES] = "";
    struct stat st;
    mode_t before = umask(0);
    assert_int_equal(listen_unix(path_of("deep/er/s.sock"), &fd, why), 0);
    umask(before);
    assert_int_equal(stat(path_of("deep/er/s.sock"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(path_of("deep/er"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(try_connect(path_of("deep/er/s.sock")), 0);
}

static void unix_stale_is_replaced(void **state) {
    int fd = -1;
    char why[LISTEN_WHY_BYTES] = "";
    assert_int_equal(listen_unix(path_of("s.sock"), &fd, why), 0);
    close(fd); /* as a killed daemon leaves it */
    assert_int_equal(listen_unix(path_of("s.sock"), &fd, why), 0);
    assert_int_equal(try_connect(path_of("s.sock")), 0);
    int second = -1;
    assert_int_equal(listen_unix(path_of("s.sock"), &second, why), 1);
    assert_non_null(strstr(why, "another daemon"));
    assert_int_equal(second, -1);
    close(fd);
}

static void unix_refusals(void **state) {
    int fd = -1;
    char why[LISTEN_WHY_BYTES] = "", longer[200];
    FILE *f = fopen(path_of("file"), "w");
    fclose(f);
    assert_int_equal(listen_unix(path_of("file"), &fd, why), 1);
    assert_non_null(strstr(why, "is no socket"));
    assert_int_equal(listen_unix(path_of("file/s.sock"), &fd, why), 1);
    memset(longer, 'x', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(listen_unix(longer, &fd, why), 1);
    assert_non_null(strstr(why, "at most 107"));
    assert_int_equal(fd, -1);
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
    return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

/* A port that was free a moment ago. */
static uint16_t free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return port_of(fd);
}

static bool reachable(int family, uint16_t port) {
    struct sockaddr_in six_or_four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    cleanup_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && (family == AF_INET ? connect(fd, (struct sockaddr *)&six_or_four, sizeof(six_or_four))
                                         : connect(fd, (struct sockaddr *)&six, sizeof(six))) == 0;
}

static bool have_ipv6(void) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    cleanup_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static void tcp_hosts(void **state) {
    static const struct {
        const char *host;
        bool four, six;
    } rows[] = {{"*", true, true}, {"localhost", true, true}, {"127.0.0.1", true, false}, {"::1", false, true}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct admin_listen l = {rows[i].host, free_port()};
        int fds[2] = {-1, -1};
        size_t n = 0;
        char why[LISTEN_WHY_BYTES] = "";
        if (!rows[i].four && !have_ipv6())
            continue;
        if (listen_tcp(&l, fds, &n, why) != 0)
            fail_msg("%s: %s", rows[i].host, why);
        assert_int_equal(reachable(AF_INET, l.port), rows[i].four);
        assert_int_equal(reachable(AF_INET6, l.port), rows[i].six && have_ipv6());
        fd_close(fds[0]);
        fd_close(fds[1]);
    }
}

static void tcp_refusals(void **state) {
    int fds[2] = {-1, -1}, more[2] = {-1, -1};
    size_t n = 0;
    char why[LISTEN_WHY_BYTES] = "";
    struct admin_listen l = {"127.0.0.1", free_port()}, word = {"example.org", 15000}, far = {"192.0.2.1", 15000};
    assert_int_equal(listen_tcp(&l, fds, &n, why), 0);
    assert_int_equal(n, 1);
    assert_int_equal(listen_tcp(&l, more, &n, why), 1);
    assert_non_null(strstr(why, "is taken"));
    assert_int_equal(listen_tcp(&word, more, &n, why), 1);
    assert_non_null(strstr(why, "write *, localhost or an IP address"));
    assert_int_equal(listen_tcp(&far, more, &n, why), 1);
    assert_non_null(strstr(why, "does not have the address"));
    assert_int_equal(more[0], -1);
    fd_close(fds[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(unix_is_private, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(unix_stale_is_replaced, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(unix_refusals, set_up, tear_down),
                                       cmocka_unit_test(tcp_hosts), cmocka_unit_test(tcp_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
