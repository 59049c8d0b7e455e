/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_listener.c - goal: a set of listeners is whole or not there, and a taken port is a verdict that names it. Method:
 * in this process's own namespace on unusual ports. IP_TRANSPARENT needs CAP_NET_ADMIN: without it these are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../src/capture/private.h"

enum { WORKERS = 3, FDS = WORKERS * _CAPTURE_LISTENER_MAX };

static uint16_t port_of(int fd) {
    struct sockaddr_in6 a;
    socklen_t n = sizeof(a);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin6_port); /* at the same place as sin_port */
}

/* Free now, on loopback and everywhere. */
static uint16_t free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    uint16_t port = port_of(fd);
    close(fd);
    return port;
}

static bool may(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool ok = setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0;
    close(fd);
    return ok;
}

static void test_all_or_none(void **state) {
    if (!may())
        skip();
    uint16_t ports[_CAPTURE_LISTENER_MAX];
    ports[CAPTURE_OUTBOUND4] = ports[CAPTURE_OUTBOUND6] = free_port();
    ports[CAPTURE_INBOUND] = free_port();
    ports[CAPTURE_HBONE] = free_port();
    int fds[FDS];
    char why[CAPTURE_WHY_BYTES] = "";
    assert_int_equal(listener_open_all(ports, WORKERS, fds, why), 0);
    for (int i = 0; i < FDS; i++) {
        bool optional = i / WORKERS == CAPTURE_OUTBOUND6;
        assert_true(fds[i] >= 0 || optional);
        if (fds[i] >= 0)
            assert_int_equal(port_of(fds[i]), ports[i / WORKERS]);
    }
    for (int i = 0; i < FDS; i++)
        fd_close(fds[i]);

    /* Another program holds the last kind's port: what was opened before it is closed. */
    struct sockaddr_in a = {.sin_family = AF_INET};
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(other, 1), 0);
    ports[CAPTURE_HBONE] = port_of(other);
    assert_int_equal(listener_open_all(ports, WORKERS, fds, why), CAPTURE_BUSY);
    char text[16];
    snprintf(text, sizeof(text), "port %u", ports[CAPTURE_HBONE]);
    assert_non_null(strstr(why, text));
    for (int i = 0; i < FDS; i++)
        assert_int_equal(fds[i], -1);
    close(other);
    assert_int_equal(listener_open_all(ports, WORKERS, fds, why), 0);
    for (int i = 0; i < FDS; i++)
        fd_close(fds[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_or_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
