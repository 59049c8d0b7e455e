/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a door's socket is found listening and open to everybody or not at all, replaces a dead one, and never takes or
 * removes what is another's. Method: real sockets in a directory of the test's own. */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "private.h"
#include "unit.h"

struct scene {
    char dir[256], path[300];
    int fd;
    dev_t dev;
    ino_t ino;
    char why[256];
};

static int make(void **state) {
    struct scene *s = calloc(1, sizeof(*s));
    unit_directory(s->dir);
    snprintf(s->path, sizeof(s->path), "%s/a.sock", s->dir);
    s->fd = -1;
    *state = s;
    return 0;
}
static int unmake(void **state) {
    struct scene *s = *state;
    fd_close(s->fd);
    unlink(s->path);
    rmdir(s->dir);
    free(s);
    return 0;
}

static int open_it(struct scene *s) { return listen_local(s->path, &s->fd, &s->dev, &s->ino, s->why); }

static bool answers(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", path);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static void open_to_everybody(void **state) {
    struct scene *s = *state;
    struct stat st;
    assert_int_equal(open_it(s), 0);
    assert_int_equal(lstat(s->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0666);
    assert_true(st.st_dev == s->dev && st.st_ino == s->ino);
    assert_true(answers(s->path));
    char beside[310];
    snprintf(beside, sizeof(beside), "%s.new", s->path);
    assert_true(lstat(beside, &st) < 0);
    listen_remove(s->path, s->dev, s->ino);
    assert_true(lstat(s->path, &st) < 0);
}

static void a_dead_one_is_replaced(void **state) {
    struct scene *s = *state;
    assert_int_equal(open_it(s), 0);
    s->fd = fd_close(s->fd);
    assert_false(answers(s->path));
    dev_t dev = s->dev;
    ino_t ino = s->ino;
    assert_int_equal(open_it(s), 0);
    assert_true(answers(s->path));
    if (ino != s->ino) /* the number may have been given again */
        listen_remove(s->path, dev, ino);
    assert_true(answers(s->path)); /* the older life removes only its own */
}

static void what_is_anothers_stays(void **state) {
    struct scene *s = *state;
    assert_int_equal(open_it(s), 0);
    int second = -1;
    assert_int_equal(listen_local(s->path, &second, &s->dev, &s->ino, s->why), 1);
    assert_non_null(strstr(s->why, "somebody listens"));
    assert_true(answers(s->path));
    unlink(s->path);
    fclose(fopen(s->path, "w"));
    assert_int_equal(listen_local(s->path, &second, &s->dev, &s->ino, s->why), 1);
    assert_non_null(strstr(s->why, "no socket"));
    unlink(s->path);
    assert_int_equal(symlink("nowhere", s->path), 0);
    assert_int_equal(listen_local(s->path, &second, &s->dev, &s->ino, s->why), 1);
    assert_int_equal(second, -1);
}

static void directories(void **state) {
    struct scene *s = *state;
    char inner[300];
    struct stat st;
    snprintf(inner, sizeof(inner), "%s/x", s->dir);
    snprintf(s->path, sizeof(s->path), "%.200s/x/a.sock", s->dir);
    assert_int_equal(open_it(s), 0);
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    unlink(s->path);
    rmdir(inner);
    char long_path[400];
    memset(long_path, 'x', sizeof(long_path));
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = 0;
    int fd = -1;
    assert_int_equal(listen_local(long_path, &fd, &s->dev, &s->ino, s->why), 1);
    assert_non_null(strstr(s->why, "too long"));
    assert_int_equal(listen_local("/proc/version/a.sock", &fd, &s->dev, &s->ino, s->why), 1);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {CASE(open_to_everybody), CASE(a_dead_one_is_replaced), CASE(what_is_anothers_stays),
                                       CASE(directories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
