/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log.c - see log.h
 *
 * Two queues, program and access, each with its own LOG_QUEUE_LINES slots, so a stuck access log cannot silence the
 * program. A caller pops a free slot, formats into it, pushes it; the writer takes all pushed slots at once and turns
 * them round. Both stacks are lock-free; the free one carries a tag against ABA (many poppers), the pushed one needs
 * none (its one popper takes everything). Free slots are used last-in first-out, so memory follows the backlog.
 *
 * The slots and the wake-up descriptor live as long as the process: a thread that is late at log_stop may still push.
 * What it pushes then is written by the next log_start or never. Formatting is in log_line.c, descriptors in log_sink.c. */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/base/thread.h>

#include "log_line.h"
#include "log_sink.h"
#include "region.h"

enum { NO_LINE = UINT32_MAX, STOP_MS_MAX = 1000, BATCH_LINES = 64 };

struct slot {
    _Atomic uint32_t next;
    uint32_t n;
    char text[LOG_LINE_BYTES];
};

struct queue {
    struct slot *slots;
    _Atomic uint64_t free_head;   /* tag << 32 | index */
    _Atomic uint32_t pushed_head; /* newest first */
    _Atomic uint32_t n_touched;   /* slots from here on were never used */
    /* The writer's own: */
    struct log_sink sink;
    uint32_t first, last; /* oldest first; NO_LINE: empty */
    size_t n_done;        /* bytes of `first` that are out */
    bool torn;            /* the sink ends with a piece of a line that was then lost: the next line must not run on from it */
};

static struct {
    struct queue queues[_LOG_STREAM_MAX];
    bool prepared; /* log_start's own */
    int event;
    pthread_t writer;
    atomic_bool running; /* callers queue */
    atomic_bool stopping;
    atomic_bool reopen; /* the access log was renamed */
    char access_path[4096];
    _Atomic uint32_t route[_LOG_STREAM_MAX]; /* which queue a stream uses; _LOG_STREAM_MAX: none */
    _Atomic uint64_t n_dropped;
    _Atomic uint32_t level;
    _Atomic uint32_t format;
} self = {.event = -1, .level = LOG_INFO};

/* ---- slots ---- */

static void free_push(struct queue *q, uint32_t i) {
    uint64_t head = atomic_load_explicit(&q->free_head, memory_order_relaxed), next;
    do {
        atomic_store_explicit(&q->slots[i].next, (uint32_t)head, memory_order_relaxed);
        next = ((head >> 32) + 1) << 32 | i;
    } while (!atomic_compare_exchange_weak_explicit(&q->free_head, &head, next, memory_order_release, memory_order_relaxed));
}

static uint32_t free_pop(struct queue *q) {
    uint64_t head = atomic_load_explicit(&q->free_head, memory_order_acquire), next;
    for (;;) {
        uint32_t i = (uint32_t)head;
        if (i == NO_LINE)
            break;
        next = ((head >> 32) + 1) << 32 | atomic_load_explicit(&q->slots[i].next, memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&q->free_head, &head, next, memory_order_acquire, memory_order_acquire))
            return i;
    }
    uint32_t fresh = atomic_load_explicit(&q->n_touched, memory_order_relaxed);
    while (fresh < LOG_QUEUE_LINES)
        if (atomic_compare_exchange_weak_explicit(&q->n_touched, &fresh, fresh + 1, memory_order_relaxed, memory_order_relaxed))
            return fresh;
    return NO_LINE;
}

static void wake_writer(void) {
    uint64_t one = 1;
    ignore_result(write(self.event, &one, sizeof(one))); /* EAGAIN: it is awake already */
}

static void push(struct queue *q, uint32_t i) {
    uint32_t head = atomic_load_explicit(&q->pushed_head, memory_order_relaxed);
    do
        atomic_store_explicit(&q->slots[i].next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&q->pushed_head, &head, i, memory_order_release, memory_order_relaxed));
    if (head == NO_LINE)
        wake_writer();
}

static uint32_t next_of(const struct queue *q, uint32_t i) { return atomic_load_explicit(&q->slots[i].next, memory_order_relaxed); }

static void drop_lines(uint64_t n) { atomic_fetch_add_explicit(&self.n_dropped, n, memory_order_relaxed); }

/* ---- the writer ---- */

/* Moves what was pushed behind the backlog, oldest first. */
static void gather(struct queue *q) {
    uint32_t i = atomic_exchange_explicit(&q->pushed_head, NO_LINE, memory_order_acquire), newest = i, turned = NO_LINE;
    while (i != NO_LINE) {
        uint32_t next = next_of(q, i);
        atomic_store_explicit(&q->slots[i].next, turned, memory_order_relaxed);
        turned = i;
        i = next;
    }
    if (turned == NO_LINE)
        return;
    if (q->first == NO_LINE)
        q->first = turned;
    else
        atomic_store_explicit(&q->slots[q->last].next, turned, memory_order_relaxed);
    q->last = newest;
}

static void pop_first(struct queue *q) {
    uint32_t i = q->first;
    q->first = next_of(q, i);
    q->n_done = 0;
    free_push(q, i);
}

/* Writes what the sink takes now. */
static void drain(struct queue *q) {
    while (q->first != NO_LINE) {
        struct iovec with_end[1 + BATCH_LINES] = {{.iov_base = (char[]){'\n'}, .iov_len = 1}}, *iov = with_end + 1;
        unsigned n = 0;
        size_t n_bytes = q->torn, n_skip = q->n_done;
        for (uint32_t i = q->first; i != NO_LINE && n < BATCH_LINES; i = next_of(q, i)) {
            size_t n_line = q->slots[i].n - n_skip;
            if (n && n_bytes + n_line > q->sink.n_batch_max)
                break;
            iov[n++] = (struct iovec){.iov_base = q->slots[i].text + n_skip, .iov_len = n_line};
            n_bytes += n_line;
            n_skip = 0;
        }
        ssize_t r = log_sink_write(&q->sink, iov - q->torn, n + q->torn);
        if (r == -EAGAIN)
            return;
        if (r < 0) { /* the reader is gone or the disk is full: these lines are lost, the next ones are tried again */
            q->torn |= q->n_done > 0;
            drop_lines(n);
            for (; n > 0; n--)
                pop_first(q);
            continue;
        }
        size_t left = (size_t)r - (r > 0 && q->torn);
        q->torn &= r == 0;
        while (left > 0) {
            size_t n_line = q->slots[q->first].n - q->n_done;
            if (left < n_line) {
                q->n_done += left;
                break;
            }
            left -= n_line;
            pop_first(q);
        }
    }
}

static void drop_backlog(struct queue *q) {
    for (; q->first != NO_LINE; pop_first(q))
        drop_lines(1);
}

static void reopen_access(void) {
    struct log_sink *s = &self.queues[LOG_ACCESS].sink, fresh = LOG_SINK_NULL;
    if (!s->is_file || log_sink_open(&fresh, self.access_path) != 0)
        return;
    log_sink_deinit(s);
    *s = fresh;
}

static void *writer_main(void *unused) {
    uint64_t stop_ms = 0; /* not stopping */
    for (;;) {
        struct pollfd polls[_LOG_STREAM_MAX + 1] = {{.fd = self.event, .events = POLLIN}};
        bool backlog = false;
        uint64_t count;
        ignore_result(read(self.event, &count, sizeof(count))); /* EAGAIN: nothing new, the sinks have room again */
        /* Looked at after the wake-up was taken: one that is taken between the two would be lost, and the wait endless. */
        bool stopping = atomic_load_explicit(&self.stopping, memory_order_acquire);
        if (atomic_exchange_explicit(&self.reopen, false, memory_order_acquire))
            reopen_access();
        for (unsigned i = 0; i < _LOG_STREAM_MAX; i++) {
            struct queue *q = &self.queues[i];
            gather(q);
            drain(q);
            bool waits = q->first != NO_LINE;
            polls[i + 1] = (struct pollfd){.fd = waits ? q->sink.fd : -1, .events = POLLOUT};
            backlog |= waits;
        }
        int wait_ms = -1;
        if (stopping) {
            uint64_t now_ms = clock_mono_ns() / NS_PER_MS;
            stop_ms = stop_ms ? stop_ms : now_ms + STOP_MS_MAX;
            if (!backlog || now_ms >= stop_ms)
                break;
            wait_ms = (int)(stop_ms - now_ms);
        }
        check(poll(polls, array_size(polls), wait_ms) >= 0 || errno == EINTR);
    }
    for (unsigned i = 0; i < _LOG_STREAM_MAX; i++)
        drop_backlog(&self.queues[i]);
    return NULL;
}

/* ---- life ---- */

static int prepare(void) {
    if (self.prepared)
        return 0;
    for (unsigned i = 0; i < _LOG_STREAM_MAX; i++) {
        struct queue *q = &self.queues[i];
        if (!q->slots)
            q->slots = region_map(sizeof(struct slot) * LOG_QUEUE_LINES);
        if (!q->slots)
            return err_origin(-ENOMEM);
        atomic_store(&q->free_head, (uint64_t)NO_LINE);
        atomic_store(&q->pushed_head, (uint32_t)NO_LINE);
        q->first = q->last = NO_LINE;
        q->sink = LOG_SINK_NULL;
    }
    self.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self.event < 0)
        return err_origin(-errno);
    self.prepared = true;
    return 0;
}

static void close_sinks(void) {
    for (unsigned i = 0; i < _LOG_STREAM_MAX; i++) {
        log_sink_deinit(&self.queues[i].sink);
        self.queues[i].torn = false;
    }
}

static int open_sinks(const char *access_path) {
    int r = log_sink_open(&self.queues[LOG_PROGRAM].sink, "stderr");
    if (r)
        return err_trace(r);
    uint32_t access = LOG_ACCESS;
    if (!access_path || !strcmp(access_path, "none"))
        access = _LOG_STREAM_MAX;
    else if (!strcmp(access_path, "stderr"))
        access = LOG_PROGRAM; /* one queue for one descriptor: lines of the two never mix */
    if (access == LOG_ACCESS) {
        snprintf(self.access_path, sizeof(self.access_path), "%s", access_path);
        r = log_sink_open(&self.queues[LOG_ACCESS].sink, access_path);
        if (r)
            return err_trace(r);
    }
    atomic_store(&self.route[LOG_PROGRAM], (uint32_t)LOG_PROGRAM);
    atomic_store(&self.route[LOG_ACCESS], access);
    return 0;
}

int log_start(const struct log_options *o) {
    check(!atomic_load(&self.running));
    check(o->level < _LOG_LEVEL_MAX);
    int r = prepare();
    if (r)
        return err_trace(r);
    r = open_sinks(o->access_path);
    if (!r) {
        atomic_store(&self.stopping, false);
        r = thread_start(&self.writer, "log", writer_main, NULL);
    }
    if (r) {
        close_sinks();
        return err_trace(r);
    }
    log_set_level(o->level);
    atomic_store(&self.format, o->format);
    atomic_store_explicit(&self.running, true, memory_order_release);
    return 0;
}

void log_stop(void) {
    if (!atomic_load(&self.running))
        return;
    atomic_store(&self.running, false);
    atomic_store_explicit(&self.stopping, true, memory_order_release);
    wake_writer();
    thread_join(self.writer);
    close_sinks();
}

void log_reopen(void) {
    if (!atomic_load(&self.running))
        return;
    atomic_store_explicit(&self.reopen, true, memory_order_release);
    wake_writer();
}

void log_set_level(enum log_level level) { atomic_store_explicit(&self.level, level, memory_order_relaxed); }
enum log_level log_get_level(void) { return (enum log_level)atomic_load_explicit(&self.level, memory_order_relaxed); }
uint64_t log_dropped(void) { return atomic_load_explicit(&self.n_dropped, memory_order_relaxed); }

static const char *const level_names[_LOG_LEVEL_MAX] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

const char *log_level_name(enum log_level level) { return level < _LOG_LEVEL_MAX ? level_names[level] : "?"; }

bool log_level_parse(struct str s, enum log_level *ret) {
    for (unsigned i = 0; i < _LOG_LEVEL_MAX; i++)
        if (str_is(s, str_of(level_names[i]))) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

void log_write(enum log_stream stream, enum log_level level, const char *scope, const struct log_field *fields, size_t n_fields,
               const char *fmt, ...) {
    if (level > log_get_level())
        return;
    struct log_record record = {.level = level,
                                .format = (enum log_format)atomic_load_explicit(&self.format, memory_order_relaxed),
                                .scope = scope,
                                .fields = fields,
                                .n_fields = n_fields};
    va_list ap;
    va_start(ap, fmt);
    if (!atomic_load_explicit(&self.running, memory_order_acquire)) {
        char line[LOG_LINE_BYTES];
        size_t n = log_line_create(line, &record, fmt, ap);
        int errno_before = errno;
        ignore_result(write(STDERR_FILENO, line, n)); /* where else could it be said */
        errno = errno_before;
    } else {
        uint32_t route = atomic_load_explicit(&self.route[stream], memory_order_relaxed);
        struct queue *q = route < _LOG_STREAM_MAX ? &self.queues[route] : NULL;
        uint32_t i = q ? free_pop(q) : NO_LINE;
        if (i != NO_LINE) {
            int errno_before = errno;
            q->slots[i].n = (uint32_t)log_line_create(q->slots[i].text, &record, fmt, ap);
            push(q, i);
            errno = errno_before;
        } else if (q) {
            drop_lines(1);
        }
    }
    va_end(ap);
}

bool log_limit_allows(struct log_limit *state, unsigned n_per_s) {
    uint64_t now_ns = clock_mono_ns();
    if (state->n == 0 || now_ns - state->window_ns >= NS_PER_S) {
        /* Calls past the limit are counted in n, so n shows whether the window that ends here suppressed any. */
        if (state->n <= n_per_s)
            state->n_suppressed = 0;
        state->window_ns = now_ns;
        state->n = 0;
    }
    if (state->n < UINT32_MAX)
        state->n++;
    if (state->n == 1 && n_per_s > 0)
        return true; /* the count of the window before stays, for the caller to print */
    if (state->n <= n_per_s) {
        state->n_suppressed = 0;
        return true;
    }
    state->n_suppressed = state->n - n_per_s;
    return false;
}
