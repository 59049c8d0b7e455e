/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a ring that cannot be made says what forbids it and how to allow it, and leaves nothing behind.
 * Method: the text from given facts; a seccomp filter and descriptor limits in a child process. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "ring_unit.h"

static void test_each_obstacle_has_its_fix(void **state) {
    static const struct {
        int r;
        struct ring_obstacles o;
        const char *say;
    } cases[] = {
        {-EPERM, {.disabled = 2, .memlock_bytes = RLIM_INFINITY}, "sysctl -w kernel.io_uring_disabled=0"},
        {-EPERM, {.disabled = 1, .seccomp = 2, .memlock_bytes = RLIM_INFINITY}, "CAP_SYS_ADMIN"},
        {-EPERM, {.disabled = 0, .seccomp = 2, .memlock_bytes = RLIM_INFINITY}, "seccomp profile from deploy/"},
        {-EPERM, {.disabled = -1, .memlock_bytes = RLIM_INFINITY}, "security module"},
        {-EACCES, {.disabled = 0, .memlock_bytes = RLIM_INFINITY}, "security module"},
        {-ENOSYS, {.disabled = -1, .seccomp = 2, .memlock_bytes = RLIM_INFINITY}, "seccomp profile from deploy/"},
        {-ENOSYS, {.disabled = -1, .memlock_bytes = RLIM_INFINITY}, "CONFIG_IO_URING"},
        {-ENOMEM, {.memlock_bytes = 65536}, "RLIMIT_MEMLOCK is 64 KiB"},
        {-ENOMEM, {.memlock_bytes = RLIM_INFINITY}, "LimitMEMLOCK"},
        {-EMFILE, {.memlock_bytes = RLIM_INFINITY}, "LimitNOFILE"},
        {-ENFILE, {.memlock_bytes = RLIM_INFINITY}, "fs.file-max"},
        {-EINVAL, {.memlock_bytes = RLIM_INFINITY}, "5.19 or newer"},
        {-EIO, {.memlock_bytes = RLIM_INFINITY}, "error"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        char why[256];
        ring_explain("a step whose name is as long as they get", cases[i].r, &cases[i].o, why);
        assert_true(strlen(why) < sizeof(why) - 1);
        if (!strstr(why, cases[i].say) || !strstr(why, strerror(-cases[i].r)))
            fail_msg("case %zu: %s", i, why);
    }
}

static int new_ring(char why[256]) {
    struct ring_options o = {.n_entries = 8, .n_recv_buffers = 4, .recv_buffer_bytes = 1024};
    struct ring *r = NULL;
    int k = ring_new(&o, &r, why);
    ring_free(r);
    return k;
}

/* Runs in a child. Returns the error, or 0, and the reason through the pipe. */
static int in_child(void (*prepare)(void), char why[256]) {
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char said[256] = "";
        prepare();
        unsigned before = count_fds();
        int k = new_ring(said);
        bool whole = write(pipes[1], said, sizeof(said)) == sizeof(said);
        _exit(!whole || count_fds() != before ? 255 : -k);
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], why, 256), 256);
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 255);
    return -WEXITSTATUS(status);
}

static void deny_with(int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = array_size(code), .filter = code};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}
static void deny_eperm(void) { deny_with(EPERM); }
static void deny_enosys(void) { deny_with(ENOSYS); }

static void test_a_seccomp_filter_is_named(void **state) {
    char why[256];
    assert_int_equal(in_child(deny_eperm, why), -EPERM);
    assert_non_null(strstr(why, "seccomp"));
    assert_int_equal(in_child(deny_enosys, why), -ENOSYS);
    assert_non_null(strstr(why, "seccomp"));
}

static unsigned n_spare;
static void leave_few_fds(void) {
    struct rlimit l = {.rlim_cur = 64, .rlim_max = 64};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
    int last = -1, fds[64], n = 0;
    while ((last = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        fds[n++] = last;
    for (unsigned i = 0; i < n_spare; i++)
        close(fds[--n]);
}

static void test_running_out_of_descriptors_at_any_step(void **state) {
    /* One is needed to count descriptors, so the child always has that one. */
    char why[256];
    bool worked = false;
    for (n_spare = 1; n_spare < 8 && !worked; n_spare++) {
        int k = in_child(leave_few_fds, why);
        worked = k == 0;
        if (k) {
            assert_int_equal(k, -EMFILE);
            assert_non_null(strstr(why, "RLIMIT_NOFILE"));
        }
    }
    assert_true(worked && n_spare > 2);
}

static void nothing(void) {}
static void test_a_ring_in_a_child_works(void **state) {
    char why[256];
    assert_int_equal(in_child(nothing, why), 0);
    assert_string_equal(why, "");
}

static void make_odd(void *p) {
    char why[256];
    struct ring *r = NULL;
    ignore_result(ring_new(p, &r, why));
}
static void test_odd_sizes_are_bugs(void **state) {
    struct ring_options odd[] = {
        {.n_entries = 7, .n_recv_buffers = 4, .recv_buffer_bytes = 1},
        {.n_entries = 0, .n_recv_buffers = 4, .recv_buffer_bytes = 1},
        {.n_entries = 8, .n_recv_buffers = 5, .recv_buffer_bytes = 1},
        {.n_entries = 8, .n_recv_buffers = 4, .recv_buffer_bytes = 0},
        {.n_entries = 65536, .n_recv_buffers = 4, .recv_buffer_bytes = 1},
        {.n_entries = 8, .n_recv_buffers = 65536, .recv_buffer_bytes = 1},
    };
    for (size_t i = 0; i < array_size(odd); i++)
        assert_true(unit_dies(make_odd, &odd[i]));
}

static void test_many_sizes_work(void **state) {
    assert_null(ring_free(NULL));
    for (unsigned entries = 1; entries <= 1024; entries *= 4)
        for (unsigned buffers = 1; buffers <= 1024; buffers *= 4) {
            struct ring_options o = {.n_entries = entries, .n_recv_buffers = buffers, .recv_buffer_bytes = 512};
            struct ring *r = NULL;
            char why[256];
            assert_int_equal(ring_new(&o, &r, why), 0);
            assert_int_equal(ring_turn(r, 0, NULL), 0);
            assert_null(ring_free(r));
        }
    char text[64];
    assert_non_null(strstr(ring_library_text(text, sizeof(text)), "liburing 2."));
    assert_non_null(strstr(text, "kernel TLS is"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_obstacle_has_its_fix),
        cmocka_unit_test(test_a_seccomp_filter_is_named),
        cmocka_unit_test(test_running_out_of_descriptors_at_any_step),
        cmocka_unit_test(test_a_ring_in_a_child_works),
        cmocka_unit_test(test_odd_sizes_are_bugs),
        cmocka_unit_test(test_many_sizes_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
