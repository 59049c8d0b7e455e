/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_netns.c - goal: only network namespaces are taken for one, and a visit always ends at home. Method: our own
 * namespace, things that are none, and, with the privilege, a child's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../src/capture/private.h"

static uint64_t here(void) {
    int fd = -1;
    uint64_t ino = 0;
    assert_int_equal(netns_open("/proc/thread-self/ns/net", &fd, &ino), 0);
    fd_close(fd);
    return ino;
}

static void test_open(void **state) {
    static const char *const bad[] = {"/proc/self/ns/mnt", "/proc/self/ns/user", "/dev/null", "/proc", "/nowhere", "",
                                      "/proc/0/ns/net"};
    int fd = -1;
    uint64_t ino = 0;
    for (size_t i = 0; i < array_size(bad); i++)
        assert_int_equal(netns_open(bad[i], &fd, &ino), 1);
    assert_int_equal(fd, -1);
    assert_true(here() != 0);
    assert_int_equal(netns_find(here(), &fd), 0);
    assert_int_equal(netns_ino(fd, &ino), 0);
    assert_int_equal(ino, here());
    fd_close(fd);
    assert_int_equal(netns_find(1, &fd), 1);
}

/* A FIFO whose writer never comes must not hold the daemon. */
static void test_open_does_not_wait(void **state) {
    char dir[] = P_tmpdir "/rw-capture-XXXXXX", path[CAPTURE_PATH_BYTES];
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pin_path(path, "%s/fifo", dir), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = -1;
    uint64_t ino;
    assert_int_equal(netns_open(path, &fd, &ino), 1);
    unlink(path);
    rmdir(dir);
}

static void test_visit(void **state) {
    int up[2];
    assert_int_equal(pipe(up), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char made = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
        if (write(up[1], &made, 1) == 1 && made == 'y')
            pause();
        _exit(0);
    }
    char made = 'n', path[64];
    assert_int_equal(read(up[0], &made, 1), 1);
    close(up[0]);
    close(up[1]);
    if (made != 'y') {
        waitpid(pid, NULL, 0);
        skip();
    }
    snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    int fd = -1, s = -1, h = -1;
    uint64_t there = 0, home = here(), cookie = 0, own = 0;
    assert_int_equal(netns_open(path, &fd, &there), 0);
    assert_true(there != home);
    {
        cleanup_visit struct netns_visit v = NETNS_VISIT_NULL;
        assert_int_equal(netns_enter(fd, &v), 0);
        assert_int_equal(here(), there);
    }
    assert_int_equal(here(), home);
    assert_int_equal(capture_netns_socket(fd, AF_INET, &s), 0);
    assert_int_equal(here(), home);
    assert_int_equal(netns_cookie(s, &cookie), 0);
    h = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(netns_cookie(h, &own), 0);
    assert_true(cookie != own);
    assert_true(capture_netns_socket(h, AF_INET, &h) < 0); /* no namespace */
    assert_true(capture_netns_socket(fd, 4711, &h) < 0);   /* no family: and home again */
    assert_int_equal(here(), home);
    fd_close(s);
    fd_close(h);
    fd_close(fd);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open), cmocka_unit_test(test_open_does_not_wait),
                                       cmocka_unit_test(test_visit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
