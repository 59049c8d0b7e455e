/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: lines arrive whole and in each thread's order; a reader that stopped costs lines, never the caller's time; each
 * stream goes where it was told. Method: stderr turned into a pipe, a file or a socket; several threads; a pipe nobody
 * reads. Sinks are tried on their own too. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/base/log.h>
#include <ringwall/base/thread.h>

#include "../../../src/base/log_sink.h"

#include "unit.h"

static int stderr_before = -1;

static void stderr_to(int fd) {
    stderr_before = dup(STDERR_FILENO);
    assert_true(stderr_before >= 0 && dup2(fd, STDERR_FILENO) >= 0);
}
static void stderr_back(void) {
    assert_true(dup2(stderr_before, STDERR_FILENO) >= 0);
    close(stderr_before);
}

static char directory[256];

static int temporary_file(char path[512]) {
    snprintf(path, 512, "%s/log", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

enum { N_THREADS = 3, N_EACH = 2000 };

static void *write_lines(void *p) {
    unsigned id = *(unsigned *)p;
    for (uint64_t i = 0; i < N_EACH; i++) {
        const struct log_field fields[] = {KV_U64("thread", id), KV_U64("number", i)};
        log_write(LOG_PROGRAM, LOG_INFO, "test", fields, 2, "line");
    }
    return NULL;
}

/* Counts whole lines and checks each thread's order. */
static unsigned check_lines(char *text) {
    uint64_t next[N_THREADS] = {0};
    unsigned n = 0;
    for (char *line = text, *end; *line; line = end + 1, n++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        char *fields = strstr(line, "\tinfo\ttest\tline\t");
        unsigned thread;
        unsigned long number;
        assert_non_null(fields);
        assert_int_equal(sscanf(fields, "\tinfo\ttest\tline\tthread=%u number=%lu", &thread, &number), 2);
        assert_true(thread < N_THREADS && number >= next[thread]);
        next[thread] = number + 1;
    }
    return n;
}

static void lines_arrive_whole_and_in_order(void **state) {
    char path[512];
    cleanup_fd int fd = temporary_file(path);
    uint64_t dropped_before = log_dropped();
    stderr_to(fd);
    int r = log_start(&(struct log_options){.level = LOG_INFO, .access_path = "none"});
    pthread_t threads[N_THREADS];
    unsigned ids[N_THREADS] = {0, 1, 2};
    for (unsigned i = 0; i < N_THREADS; i++)
        check(thread_start(&threads[i], "logger", write_lines, &ids[i]) == 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        thread_join(threads[i]);
    log_stop();
    stderr_back();
    assert_int_equal(r, 0);
    cleanup_free char *text = NULL;
    size_t n;
    assert_int_equal(io_read_file(path, 10000000, &text, &n), 0);
    assert_int_equal(check_lines(text), N_THREADS * N_EACH); /* fewer than the queue holds: none is lost */
    assert_int_equal(log_dropped(), dropped_before);
    unlink(path);
}

static void stopped_reader_costs_lines_only(void **state) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    uint64_t dropped_before = log_dropped();
    stderr_to(ends[1]);
    int r = log_start(&(struct log_options){.level = LOG_INFO, .access_path = "none"});
    unsigned id = 0;
    unsigned n_written = 0;
    for (; n_written < 10 * LOG_QUEUE_LINES; n_written += N_EACH) {
        write_lines(&id);
        if (log_dropped() > dropped_before)
            break;
    }
    uint64_t before_ns = clock_mono_ns();
    log_stop(); /* nobody reads: gives up after its second */
    uint64_t took_ns = clock_mono_ns() - before_ns;
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    stderr_back();
    close(ends[1]);
    assert_int_equal(r, 0);
    assert_true(n_written < 10 * LOG_QUEUE_LINES);
    assert_true(took_ns < 5 * NS_PER_S);
    assert_false(flags & O_NONBLOCK); /* shared with others: left as it was */
    static char text[1 << 20];
    size_t n = 0;
    ssize_t n_now;
    while ((n_now = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)n_now;
    close(ends[0]);
    assert_true(n > 0 && text[n - 1] == '\n'); /* what fitted are whole lines */
}

static void reader_comes_back(void **state) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    uint64_t dropped_before = log_dropped();
    stderr_to(ends[1]);
    int r = log_start(&(struct log_options){.level = LOG_INFO, .access_path = "none"});
    unsigned id = 0;
    write_lines(&id); /* more than a pipe holds, less than the queue */
    static char text[1 << 20];
    size_t n = 0;
    unsigned n_lines = 0;
    while (n_lines < N_EACH) {
        ssize_t n_now = read(ends[0], text + n, sizeof(text) - 1 - n);
        check(n_now > 0);
        for (ssize_t i = 0; i < n_now; i++)
            n_lines += text[n + (size_t)i] == '\n';
        n += (size_t)n_now;
    }
    log_stop();
    stderr_back();
    close(ends[0]);
    close(ends[1]);
    text[n] = 0;
    assert_int_equal(r, 0);
    assert_int_equal(check_lines(text), N_EACH);
    assert_int_equal(log_dropped(), dropped_before);
}

static void streams_go_where_told(void **state) {
    char path[512], access_path[512];
    snprintf(access_path, sizeof(access_path), "%s/access", directory);
    cleanup_fd int fd = temporary_file(path);
    stderr_to(fd);
    log_info("early", "before the start");
    int r = log_start(&(struct log_options){.level = LOG_WARN, .format = LOG_JSON, .access_path = access_path});
    log_info("test", "too quiet");
    log_warn("test", "loud");
    log_debug("test", "%s", "not even formatted");
    log_write(LOG_ACCESS, LOG_ERROR, "access", NULL, 0, "connection failed");
    log_set_level(LOG_INFO);
    log_info("test", "now heard");
    log_stop();
    log_stop();
    log_error("late", "after the stop");
    stderr_back();
    assert_int_equal(r, 0);
    cleanup_free char *program = NULL, *access = NULL;
    size_t n;
    assert_int_equal(io_read_file(path, 100000, &program, &n), 0);
    assert_int_equal(io_read_file(access_path, 100000, &access, &n), 0);
    assert_non_null(strstr(program, "\tinfo\tearly\tbefore the start\n"));
    assert_null(strstr(program, "too quiet"));
    assert_non_null(strstr(program, "\"level\":\"warn\""));
    assert_non_null(strstr(program, "\"message\":\"now heard\"}\n"));
    assert_non_null(strstr(program, "after the stop"));
    assert_null(strstr(program, "connection failed"));
    assert_non_null(strstr(access, "\"message\":\"connection failed\"}\n"));
    unlink(path);
    unlink(access_path);
}

static void access_may_share_stderr_or_be_none(void **state) {
    char path[512];
    cleanup_fd int fd = temporary_file(path);
    stderr_to(fd);
    int r = log_start(&(struct log_options){.level = LOG_INFO, .access_path = "stderr"});
    log_info("test", "one");
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "two");
    log_info("test", "three");
    log_stop();
    int r_none = log_start(&(struct log_options){.level = LOG_INFO, .access_path = NULL});
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "unheard");
    log_stop();
    stderr_back();
    assert_int_equal(r, 0);
    assert_int_equal(r_none, 0);
    cleanup_free char *text = NULL;
    size_t n;
    assert_int_equal(io_read_file(path, 100000, &text, &n), 0);
    char *one = strstr(text, "\tone\n"), *two = strstr(text, "\ttwo\n"), *three = strstr(text, "\tthree\n");
    assert_true(one && two && three && one < two && two < three);
    assert_null(strstr(text, "unheard"));
    unlink(path);
}

static void lost_reader_is_counted(void **state) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    uint64_t dropped_before = log_dropped();
    stderr_to(ends[1]);
    close(ends[0]);
    int r = log_start(&(struct log_options){.level = LOG_INFO, .access_path = "none"});
    log_info("test", "nobody hears");
    log_stop();
    stderr_back();
    close(ends[1]);
    assert_int_equal(r, 0);
    assert_int_equal(log_dropped(), dropped_before + 1);
}

static void unusable_path_is_an_error(void **state) {
    char path[512];
    snprintf(path, sizeof(path), "%s/absent/access", directory);
    assert_int_equal(log_start(&(struct log_options){.level = LOG_INFO, .access_path = path}), -ENOENT);
    log_stop(); /* nothing runs */
}

static void sockets_never_wait(void **state) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    stderr_to(ends[1]);
    struct log_sink s;
    int r = log_sink_open(&s, "stderr");
    stderr_back();
    assert_int_equal(r, 0);
    assert_true(s.is_socket);
    static char block[4096];
    const struct iovec iov = {.iov_base = block, .iov_len = sizeof(block)};
    ssize_t n;
    while ((n = log_sink_write(&s, &iov, 1)) > 0)
        ;
    assert_int_equal(n, -EAGAIN);
    close(ends[0]);
    assert_int_equal(log_sink_write(&s, &iov, 1), -EPIPE);
    log_sink_deinit(&s);
    assert_int_equal(s.fd, -1);
    assert_int_equal(log_sink_write(&s, &iov, 1), -EBADF);
    close(ends[1]);
}

static void levels_have_names(void **state) {
    enum log_level level = LOG_WARN;
    assert_true(log_level_parse(STR("debug"), &level) && level == LOG_DEBUG);
    assert_true(log_level_parse(STR("error"), &level) && level == LOG_ERROR);
    assert_false(log_level_parse(STR("Error"), &level) || log_level_parse(STR(""), &level) ||
                 log_level_parse(STR("trace"), &level));
    assert_int_equal(level, LOG_ERROR);
    assert_string_equal(log_level_name(LOG_INFO), "info");
    assert_string_equal(log_level_name(_LOG_LEVEL_MAX), "?");
}

static uint64_t now_ns;
static uint64_t mono(void *context) { return now_ns; }
static int64_t wall(void *context) { return 0; }

static void limit_counts_what_it_suppressed(void **state) {
    static const struct clock_source source = {.mono_ns = mono, .wall_ns = wall};
    struct log_limit l = {0}, never = {0};
    clock_override(&source);
    now_ns = 5 * NS_PER_S;
    assert_true(log_limit_allows(&l, 2) && l.n_suppressed == 0);
    assert_true(log_limit_allows(&l, 2) && l.n_suppressed == 0);
    assert_false(log_limit_allows(&l, 2));
    assert_false(log_limit_allows(&l, 2));
    now_ns += NS_PER_S;
    assert_true(log_limit_allows(&l, 2) && l.n_suppressed == 2);
    assert_true(log_limit_allows(&l, 2) && l.n_suppressed == 0);
    now_ns += 3 * NS_PER_S;
    assert_true(log_limit_allows(&l, 2) && l.n_suppressed == 0);
    assert_false(log_limit_allows(&never, 0));
    assert_false(log_limit_allows(&never, 0));
    clock_override(NULL);
}

/* A writer that is just waking hears of the stop too: it once could take the wake-up and wait for ever. */
static void every_stop_is_heard(void **state) {
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    stderr_to(nowhere);
    for (unsigned i = 0; i < 8000; i++) {
        if (log_start(&(struct log_options){.level = LOG_INFO, .access_path = "none"}) != 0)
            break;
        log_info("test", "line %u", i);
        for (uint64_t end = clock_mono_ns() + i % 400 * 100; clock_mono_ns() < end;) /* another moment of its waking each time */
            ;
        log_stop();
    }
    stderr_back();
    close(nowhere);
}

static int set_up(void **state) {
    unit_directory(directory);
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR;
}
static int tear_down(void **state) { return rmdir(directory); }

/* A rotated access log: the file is renamed, the next line goes to a new one of the old name. */
static void reopens_the_access_log(void **state) {
    char dir[256], path[300], old[300], text[4096] = "";
    unit_directory(dir);
    snprintf(path, sizeof(path), "%s/access.log", dir);
    snprintf(old, sizeof(old), "%s/access.log.1", dir);
    struct log_options o = {.level = LOG_INFO, .format = LOG_TEXT, .access_path = path};
    assert_int_equal(log_start(&o), 0);
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "first");
    FILE *f;
    do { /* until the writer has written it */
        f = fopen(path, "r");
        assert_non_null(f);
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        fclose(f);
    } while (!strstr(text, "first"));
    assert_int_equal(rename(path, old), 0);
    log_reopen();
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "second");
    log_stop();
    f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(text, "second"));
    assert_null(strstr(text, "first"));
    assert_int_equal(unlink(path) | unlink(old) | rmdir(dir), 0);
}

static unsigned lines_of(const char *path, char text[16384]) {
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, 16383);
    unsigned n_lines = 0;
    assert_true(n >= 0);
    text[n] = '\0';
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n_lines++;
    return n_lines;
}

/* A disk that is full in the middle of a line, here by a limit on the file's size: what is lost is counted, and the first line
 * that finds room again begins a line. */
static void a_full_disk_joins_no_lines(void **state) {
    enum { N = 100, LIMIT = 1000 };
    char path[512], text[16384];
    close(temporary_file(path));
    uint64_t dropped_before = log_dropped();
    struct rlimit before, small;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){.rlim_cur = LIMIT, .rlim_max = before.rlim_max};
    assert_int_equal(log_start(&(struct log_options){.level = LOG_INFO, .access_path = path}), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (unsigned i = 0; i < N; i++)
        log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "before");
    while (lines_of(path, text) + (log_dropped() - dropped_before) < N)
        sched_yield();
    bool torn = text[0] && text[strlen(text) - 1] != '\n';
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "after");
    log_write(LOG_ACCESS, LOG_INFO, "access", NULL, 0, "later");
    log_stop();
    unsigned n = lines_of(path, text);
    unlink(path);
    assert_true(torn); /* else this test shows nothing */
    assert_int_equal(n, N - (log_dropped() - dropped_before) + 1 + 2);
    for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        if ((size_t)(end - line) >= strlen("after") && strncmp(end - strlen("after"), "after", strlen("after")) == 0)
            assert_int_equal(end - line, strlen("2026-01-01T00:00:00.000000Z\tinfo\taccess\tafter"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_arrive_whole_and_in_order),
        cmocka_unit_test(stopped_reader_costs_lines_only),
        cmocka_unit_test(reader_comes_back),
        cmocka_unit_test(streams_go_where_told),
        cmocka_unit_test(access_may_share_stderr_or_be_none),
        cmocka_unit_test(lost_reader_is_counted),
        cmocka_unit_test(unusable_path_is_an_error),
        cmocka_unit_test(sockets_never_wait),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(limit_counts_what_it_suppressed),
        cmocka_unit_test(every_stop_is_heard),
        cmocka_unit_test(reopens_the_access_log),
        cmocka_unit_test(a_full_disk_joins_no_lines),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
