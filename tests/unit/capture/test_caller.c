/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a local process is taken for the workload whose cgroup and network namespace it is in, and for no other; one that has
 * ended is nobody. Method: real cgroups, real sockets and children, a map of workloads that the test fills. Needs root. */
#include <bpf/bpf.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../../src/capture/private.h"
#include "unit.h"

struct scene {
    struct capture c;
    char top[CAPTURE_PATH_BYTES], inner[CAPTURE_PATH_BYTES];
    uint64_t top_id, inner_id, cookie;
    int listener;
    struct sockaddr_un at;
    socklen_t at_n;
    char why[CAPTURE_WHY_BYTES];
};
static struct scene *scene; /* one for all; the group makes it */

static int group_make(void **state unused_arg) {
    struct scene *s = calloc(1, sizeof(*s));
    char mount_at[CAPTURE_PATH_BYTES];
    cleanup_fd int a = -1, b = -1, tcp = -1;
    assert_int_equal(cgroup_mount(mount_at), 0);
    assert_true(pin_path(s->top, "%s/rw-capture-caller-%d", mount_at, (int)getpid()) == 0);
    assert_true(pin_path(s->inner, "%s/inner", s->top) == 0);
    assert_int_equal(mkdir(s->top, 0755), 0);
    assert_int_equal(mkdir(s->inner, 0755), 0);
    assert_int_equal(cgroup_open(s->top, &a, &s->top_id), 0);
    assert_int_equal(cgroup_open(s->inner, &b, &s->inner_id), 0);
    tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(netns_cookie(tcp, &s->cookie), 0);
    for (size_t i = 0; i < _KERNEL_MAP_MAX; i++)
        s->c.maps[i] = -1;
    s->c.maps[KERNEL_WORKLOADS] =
        bpf_map_create(BPF_MAP_TYPE_HASH, "test", sizeof(uint64_t), sizeof(struct capture_workload), 16, NULL);
    assert_true(s->c.maps[KERNEL_WORKLOADS] >= 0);
    /* An address without a file: the kernel chooses it. */
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    s->at.sun_family = AF_UNIX;
    assert_int_equal(bind(s->listener, (struct sockaddr *)&s->at, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    s->at_n = sizeof(s->at);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&s->at, &s->at_n), 0);
    scene = s;
    return 0;
}

static int group_unmake(void **state unused_arg) {
    fd_close(scene->listener);
    fd_close(scene->c.maps[KERNEL_WORKLOADS]);
    rmdir(scene->inner);
    rmdir(scene->top);
    free(scene);
    return 0;
}

static void enrol(uint64_t cgroup, uint32_t id, uint64_t cookie, uint32_t flags) {
    struct capture_workload w = {.netns_cookie = cookie, .id = id, .flags = flags};
    assert_int_equal(bpf_map_update_elem(scene->c.maps[KERNEL_WORKLOADS], &cgroup, &w, BPF_ANY), 0);
}

static int unenrol(void **state unused_arg) {
    const uint64_t ids[] = {scene->top_id, scene->inner_id};
    for (size_t i = 0; i < array_size(ids); i++)
        bpf_map_delete_elem(scene->c.maps[KERNEL_WORKLOADS], &ids[i]);
    return 0;
}

/* A child in that cgroup connects, then waits for the end of `alive` (or ends at once). */
struct child {
    pid_t pid;
    int alive, socket;
};
static struct child child_new(const char *cgroup, bool ends, bool keeps_socket) {
    int pipe_[2];
    assert_int_equal(pipe2(pipe_, O_CLOEXEC), 0);
    int shared = socket(AF_UNIX, SOCK_STREAM, 0); /* ours too: it stays connected when the child is gone */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char path[CAPTURE_PATH_BYTES + 32], byte;
        snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
        int fd = open(path, O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1 || connect(shared, (struct sockaddr *)&scene->at, scene->at_n) < 0)
            _exit(1);
        close(pipe_[1]);
        if (!ends)
            ignore_result(read(pipe_[0], &byte, 1)); /* the parent's end */
        _exit(0);
    }
    close(pipe_[0]);
    struct child c = {.pid = pid, .alive = pipe_[1], .socket = accept4(scene->listener, NULL, NULL, SOCK_CLOEXEC)};
    assert_true(c.socket >= 0);
    if (!keeps_socket)
        close(shared);
    return c;
}
static void child_end(struct child *c) {
    int status;
    c->alive = fd_close(c->alive);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_int_equal(status, 0);
    c->socket = fd_close(c->socket);
}

static int ask(struct child *c, uint32_t *ret_id) {
    struct capture_peer p = CAPTURE_PEER_NULL;
    int r = capture_peer_open(c->socket, &p);
    if (r == CAPTURE_CALLER_KNOWN) {
        assert_int_equal(p.pid, c->pid);
        r = capture_caller(&scene->c, &p, ret_id, scene->why);
    }
    capture_peer_close(&p);
    return r;
}

static void nearest_enrolled_cgroup(void **state unused_arg) {
    uint32_t id = 0;
    struct child c = child_new(scene->inner, false, false);
    assert_int_equal(ask(&c, &id), CAPTURE_CALLER_STRANGER);
    assert_non_null(strstr(scene->why, scene->inner));
    enrol(scene->top_id, 5, scene->cookie, CAPTURE_WL_CAPTURED);
    assert_int_equal(ask(&c, &id), CAPTURE_CALLER_KNOWN);
    assert_int_equal(id, 5);
    enrol(scene->inner_id, 6, scene->cookie, CAPTURE_WL_CAPTURED);
    assert_int_equal(ask(&c, &id), CAPTURE_CALLER_KNOWN);
    assert_int_equal(id, 6);
    child_end(&c);
}

static void namespace_must_agree(void **state unused_arg) {
    uint32_t id = 77;
    struct child c = child_new(scene->inner, false, false);
    const struct {
        uint64_t cookie;
        uint32_t flags;
    } wrong[] = {{scene->cookie + 1, CAPTURE_WL_CAPTURED}, {0, CAPTURE_WL_CAPTURED}, {scene->cookie, 0}};
    for (size_t i = 0; i < array_size(wrong); i++) {
        enrol(scene->inner_id, 6, wrong[i].cookie, wrong[i].flags);
        enrol(scene->top_id, 5, scene->cookie, CAPTURE_WL_CAPTURED); /* the nearest decides, not the one that fits */
        assert_int_equal(ask(&c, &id), CAPTURE_CALLER_MISMATCH);
        assert_int_equal(id, 77);
    }
    child_end(&c);
}

static void who_has_ended_is_nobody(void **state unused_arg) {
    uint32_t id = 77;
    enrol(scene->inner_id, 6, scene->cookie, CAPTURE_WL_CAPTURED);
    struct child c = child_new(scene->inner, false, true);
    struct capture_peer p = CAPTURE_PEER_NULL;
    assert_int_equal(capture_peer_open(c.socket, &p), CAPTURE_CALLER_KNOWN);
    assert_int_equal(capture_caller(&scene->c, &p, &id, scene->why), CAPTURE_CALLER_KNOWN);
    int socket = fcntl(c.socket, F_DUPFD_CLOEXEC, 0);
    child_end(&c);
    id = 77;
    assert_int_equal(capture_caller(&scene->c, &p, &id, scene->why), CAPTURE_CALLER_GONE);
    assert_int_equal(id, 77);
    capture_peer_close(&p);
    /* Its socket lives on in another process's hands: asked for anew it is nobody either. */
    p = CAPTURE_PEER_NULL;
    int r = capture_peer_open(socket, &p);
    if (r == CAPTURE_CALLER_KNOWN)
        r = capture_caller(&scene->c, &p, &id, scene->why);
    assert_int_equal(r, CAPTURE_CALLER_GONE);
    capture_peer_close(&p);
    fd_close(socket);
}

static void a_zombie_is_nobody(void **state unused_arg) {
    uint32_t id = 77;
    enrol(scene->inner_id, 6, scene->cookie, CAPTURE_WL_CAPTURED);
    struct child c = child_new(scene->inner, true, true);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(ask(&c, &id), CAPTURE_CALLER_GONE);
    assert_int_equal(id, 77);
    child_end(&c);
}

int main(void) {
    if (geteuid() != 0) {
        printf("skipped: cgroups and BPF maps need root\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nearest_enrolled_cgroup, unenrol),
        cmocka_unit_test_teardown(namespace_must_agree, unenrol),
        cmocka_unit_test_teardown(who_has_ended_is_nobody, unenrol),
        cmocka_unit_test_teardown(a_zombie_is_nobody, unenrol),
    };
    return cmocka_run_group_tests(tests, group_make, group_unmake);
}
