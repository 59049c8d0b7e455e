/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every change in a watched directory is heard, none elsewhere, and a file that is being written in place is known
 * until it is closed. Method: real inotify; its events are there when the call that made them has returned. */
#include <fcntl.h>
#include <poll.h>

#include "scratch.h"
#include "watch.h"

struct fixture {
    struct scratch s;
    struct watch *w;
};
static void set_up(struct fixture *f) {
    bool complete, added;
    scratch_init(&f->s);
    struct str dir = str_of(f->s.dir);
    assert_int_equal(watch_new(&f->w), 0);
    assert_int_equal(watch_set(f->w, STR_NULL, STR_NULL, &dir, 1, &complete, &added), 0);
    assert_true(complete);
    assert_false(watch_drain(f->w));
}
static void tear_down(struct fixture *f) {
    watch_free(f->w);
    scratch_deinit(&f->s);
}

static void changes_are_heard(void **state) {
    struct fixture f;
    char path[512];
    set_up(&f);
    scratch_put(&f.s, "a.yaml", "x");
    struct pollfd p = {.fd = watch_fd(f.w), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_true(watch_drain(f.w));
    assert_false(watch_drain(f.w));
    scratch_overwrite(&f.s, "a.yaml", "y");
    assert_true(watch_drain(f.w));
    assert_int_equal(chmod(scratch_path(&f.s, "a.yaml", path), 0600), 0);
    assert_true(watch_drain(f.w));
    scratch_link(&f.s, "a.yaml", "..data");
    assert_true(watch_drain(f.w));
    scratch_drop(&f.s, "a.yaml");
    assert_true(watch_drain(f.w));
    tear_down(&f);
}

static void writers_are_known_until_they_close(void **state) {
    struct fixture f;
    char path[512];
    set_up(&f);
    int fd = open(scratch_path(&f.s, "a.yaml", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0 && write(fd, "half", 4) == 4);
    assert_true(watch_drain(f.w));
    assert_true(watch_is_writing(f.w));
    assert_true(write(fd, "half", 4) == 4);
    assert_true(watch_drain(f.w) && watch_is_writing(f.w));
    assert_int_equal(close(fd), 0);
    assert_true(watch_drain(f.w));
    assert_false(watch_is_writing(f.w));
    /* Neither logs nor hidden files of editors hold a load back. */
    fd = open(scratch_path(&f.s, "a.log", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    int hidden = open(scratch_path(&f.s, ".a.yaml", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(write(fd, "x", 1) == 1 && write(hidden, "x", 1) == 1);
    assert_true(watch_drain(f.w));
    assert_false(watch_is_writing(f.w));
    assert_int_equal(close(fd) + close(hidden), 0);
    tear_down(&f);
}

static void more_writers_than_are_remembered(void **state) {
    enum { N = 100 };
    struct fixture f;
    char path[512], name[16];
    int fds[N];
    set_up(&f);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "%u.yaml", i);
        fds[i] = open(scratch_path(&f.s, name, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fds[i] >= 0 && write(fds[i], "x", 1) == 1);
    }
    assert_true(watch_drain(f.w) && watch_is_writing(f.w));
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(close(fds[i]), 0);
    assert_true(watch_drain(f.w));
    assert_false(watch_is_writing(f.w));
    tear_down(&f);
}

static void the_set_can_change(void **state) {
    struct fixture f;
    char path[512];
    bool complete, added;
    set_up(&f);
    scratch_put(&f.s, "sub/a.yaml", "x");
    struct str dirs[] = {str_of(f.s.dir), str_of(scratch_path(&f.s, "sub", path)), STR("/nowhere/at/all")};
    assert_int_equal(watch_set(f.w, STR_NULL, STR_NULL, dirs, 3, &complete, &added), 0);
    assert_false(complete);
    assert_int_equal(watch_set(f.w, STR_NULL, STR_NULL, dirs, 2, &complete, &added), 0);
    assert_true(complete);
    watch_drain(f.w);
    scratch_put(&f.s, "sub/a.yaml", "y");
    assert_true(watch_drain(f.w));
    assert_int_equal(watch_set(f.w, STR_NULL, STR_NULL, dirs, 1, &complete, &added), 0);
    watch_drain(f.w); /* the kernel tells of the watch that was given back */
    scratch_put(&f.s, "sub/a.yaml", "z");
    assert_false(watch_drain(f.w));
    /* A directory that goes takes its watch along; a new one of that name is watched anew. */
    assert_int_equal(watch_set(f.w, STR_NULL, STR_NULL, dirs, 2, &complete, &added), 0);
    scratch_drop(&f.s, "sub/a.yaml");
    scratch_drop(&f.s, "sub");
    assert_true(watch_drain(f.w));
    scratch_put(&f.s, "sub/a.yaml", "x");
    assert_int_equal(watch_set(f.w, STR_NULL, STR_NULL, dirs, 2, &complete, &added), 0);
    watch_drain(f.w);
    scratch_put(&f.s, "sub/a.yaml", "y");
    assert_true(watch_drain(f.w));
    tear_down(&f);
}

/* Of the parent only the one name counts; a parent that is watched for itself counts whole. */
static void a_name_in_the_parent(void **state) {
    struct fixture f;
    char path[512];
    bool complete, added;
    set_up(&f);
    scratch_put(&f.s, "mesh.d/a.yaml", "x");
    struct str parent = str_of(f.s.dir), dirs[] = {str_of(scratch_path(&f.s, "mesh.d", path)), str_of(f.s.dir)};
    assert_int_equal(watch_set(f.w, parent, STR("mesh.d"), dirs, 1, &complete, &added), 0);
    assert_true(complete && added);
    watch_drain(f.w);
    scratch_put(&f.s, "other.yaml", "x");
    assert_false(watch_drain(f.w));
    scratch_put(&f.s, "mesh.d/a.yaml", "y");
    assert_true(watch_drain(f.w));
    char to[512];
    assert_int_equal(rename(path, scratch_path(&f.s, "gone", to)), 0);
    assert_true(watch_drain(f.w));
    assert_int_equal(rename(to, path), 0);
    assert_int_equal(watch_set(f.w, parent, STR("mesh.d"), dirs, 2, &complete, &added), 0);
    assert_false(added);
    watch_drain(f.w);
    scratch_put(&f.s, "other.yaml", "y");
    assert_true(watch_drain(f.w));
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(changes_are_heard), cmocka_unit_test(writers_are_known_until_they_close),
                                       cmocka_unit_test(more_writers_than_are_remembered), cmocka_unit_test(the_set_can_change),
                                       cmocka_unit_test(a_name_in_the_parent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
