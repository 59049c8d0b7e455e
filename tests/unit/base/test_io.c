/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: files are read whole and within their bound, written whole or not at all. Method: a directory of its own with
 * files, links, a FIFO and what is not allowed; the directory is listed afterwards for leftovers. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <ringwall/base/io.h>

#include "unit.h"

static char directory[256];

static int set_up(void **state) {
    unit_directory(directory);
    return 0;
}

static const char *path_of(const char *name) {
    static char paths[32][512];
    static unsigned i;
    char *path = paths[i++ % 32];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static unsigned n_entries(void) {
    DIR *d = opendir(directory);
    assert_non_null(d);
    unsigned n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* itself and its parent */
}

static int tear_down(void **state) { return rmdir(directory); }

static void assert_content(const char *path, const void *bytes, size_t n) {
    cleanup_free char *content = NULL;
    size_t n_content;
    assert_int_equal(io_read_file(path, n, &content, &n_content), 0);
    assert_int_equal(n_content, n);
    assert_memory_equal(content, bytes, n);
    assert_int_equal(content[n], 0);
}

static void round_trip(void **state) {
    static uint8_t bytes[300000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 4098, sizeof(bytes)};
    const char *path = path_of("file");
    for (size_t i = 0; i < array_size(sizes); i++) {
        assert_int_equal(io_write_file(path, bytes, sizes[i], 0640), 0);
        assert_content(path, bytes, sizes[i]);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(n_entries(), 1);
    unlink(path);
}

static void reading_is_bounded(void **state) {
    const char *path = path_of("file");
    char *untouched = (char *)1;
    size_t n = 77;
    assert_int_equal(io_write_file(path, "12345", 5, 0600), 0);
    assert_int_equal(io_read_file(path, 4, &untouched, &n), -EFBIG);
    assert_int_equal(io_read_file(path_of("absent"), 4, &untouched, &n), -ENOENT);
    assert_int_equal(io_read_file(directory, 4, &untouched, &n), -ENOTSUP);
    assert_int_equal(io_read_file("/dev/zero", 4, &untouched, &n), -ENOTSUP);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(io_read_file(path_of("fifo"), 4, &untouched, &n), -ENOTSUP);
    assert_int_equal(symlink("nowhere", path_of("dangling")), 0);
    assert_int_equal(io_read_file(path_of("dangling"), 4, &untouched, &n), -ENOENT);
    assert_int_equal(symlink("file", path_of("link")), 0);
    assert_content(path_of("link"), "12345", 5);
    assert_ptr_equal(untouched, (char *)1);
    assert_int_equal(n, 77);
    unlink(path_of("fifo"));
    unlink(path_of("dangling"));
    unlink(path_of("link"));
    unlink(path);
}

static void files_without_a_size_are_read(void **state) {
    cleanup_free char *content = NULL, *again = NULL;
    size_t n;
    assert_int_equal(io_read_file("/proc/self/status", 65536, &content, &n), 0);
    assert_true(n > 100 && n == strlen(content));
    assert_int_equal(io_read_file("/proc/self/status", 100, &again, &n), -EFBIG);
    assert_null(again);
}

static void failed_writes_leave_nothing(void **state) {
    assert_int_equal(io_write_file(path_of("absent/file"), "x", 1, 0600), -ENOENT);
    assert_int_equal(mkdir(path_of("directory"), 0700), 0);
    assert_int_equal(io_write_file(path_of("directory"), "x", 1, 0600), -EISDIR);
    assert_int_equal(io_write_file(path_of("directory/"), "x", 1, 0600), -EISDIR);
    assert_int_equal(n_entries(), 1);
    rmdir(path_of("directory"));

    const char *path = path_of("kept");
    assert_int_equal(io_write_file(path, "old", 3, 0600), 0);
    struct rlimit before, none = {0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0); /* as a full disk */
    assert_int_equal(io_write_file(path, "newer", 5, 0600), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_content(path, "old", 3);
    assert_int_equal(n_entries(), 1);
    unlink(path);
}

static void relative_paths_work(void **state) {
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(io_write_file("plain", "x", 1, 0600), 0);
    assert_int_equal(io_make_dirs("a//b/c/", 0700), 0);
    assert_int_equal(io_write_file("a/b/c/file", "y", 1, 0600), 0);
    assert_content("a/b/c/file", "y", 1);
    unlink("a/b/c/file");
    rmdir("a/b/c");
    rmdir("a/b");
    rmdir("a");
    unlink("plain");
    assert_int_equal(chdir(before), 0);
}

static void directories_are_made(void **state) {
    assert_int_equal(io_make_dirs(path_of("x/y/z"), 0700), 0);
    assert_int_equal(io_make_dirs(path_of("x/y/z"), 0700), 0);
    assert_int_equal(io_make_dirs("/", 0700), 0);
    assert_int_equal(io_make_dirs("", 0700), -ENOENT);
    assert_int_equal(io_write_file(path_of("x/file"), "", 0, 0600), 0);
    assert_int_equal(io_make_dirs(path_of("x/file"), 0700), -ENOTDIR);
    assert_int_equal(io_make_dirs(path_of("x/file/deep"), 0700), -ENOTDIR);
    unlink(path_of("x/file"));
    rmdir(path_of("x/y/z"));
    rmdir(path_of("x/y"));
    rmdir(path_of("x"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(reading_is_bounded),
        cmocka_unit_test(files_without_a_size_are_read),
        cmocka_unit_test(failed_writes_leave_nothing),
        cmocka_unit_test(relative_paths_work),
        cmocka_unit_test(directories_are_made),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
