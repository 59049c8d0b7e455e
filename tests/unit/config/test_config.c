/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the thread publishes a world for every change, tells its listeners, keeps the last good one past errors, and answers
 * what it knows. Method: real files and inotify; the test waits on the listener's mailbox, and for refusals on the
 * status, asked again and again up to a deadline. */
#include <fcntl.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/config/config.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/world.h>
#include <ringwall/model/world.h>
#include <ringwall/wire/json.h>

#include "scratch.h"

enum { WAIT_MS = 20000 };
struct fixture {
    struct scratch s;
    struct publish_slot slot;
    struct mailbox *box, *answers;
    struct config *c;
};

static void start(struct fixture *f, const char *dir) {
    struct config_options o = {.mesh = scratch_options(&f->s), .slot = &f->slot, .listeners = &f->box, .n_listeners = 1};
    o.mesh.dir = dir;
    f->slot = PUBLISH_SLOT_NULL;
    f->box = mailbox_new("test", 16);
    f->answers = mailbox_new("answers", 16);
    assert_int_equal(config_start(&o, &f->c), 0);
}
static void tear_down(struct fixture *f) {
    config_stop(f->c);
    world_free(publish_swap(&f->slot, NULL));
    mailbox_unref(f->box);
    mailbox_unref(f->answers);
    scratch_deinit(&f->s);
}

/* The number of the next world that is told of. */
static uint64_t next_world(struct fixture *f) {
    struct mail *m = mailbox_wait(f->box, WAIT_MS);
    assert_non_null(m);
    assert_ptr_equal(m->type, &mail_world_type);
    uint64_t n = ((struct mail_world *)m)->number;
    mail_free(m);
    mailbox_clear_event(f->box);
    return n;
}
static uint64_t world_seen(struct fixture *f, size_t *ret_n_policies) {
    publish_reader_online();
    const struct world *w = publish_read(&f->slot);
    uint64_t number = w ? world_number(w) : 0;
    *ret_n_policies = w ? world_n_policies(w) : 0;
    publish_reader_offline();
    return number;
}
static size_t n_policies(struct fixture *f) {
    size_t n;
    assert_true(world_seen(f, &n) > 0);
    return n;
}
static uint64_t world_in_force(struct fixture *f) {
    size_t n;
    return world_seen(f, &n);
}

static struct json *ask(struct fixture *f, enum ask_what what) {
    static uint64_t id;
    char why[128];
    struct mail_ask *a = mail_ask_new(what, ++id, f->answers);
    assert_int_equal(mailbox_post(config_mailbox(f->c), &a->mail), 0);
    struct mail *m = mailbox_wait(f->answers, WAIT_MS);
    assert_non_null(m);
    struct mail_answer *answer = (struct mail_answer *)m;
    assert_ptr_equal(m->type, &mail_answer_type);
    assert_int_equal(answer->id, id);
    struct json *root = what == ASK_STATUS ? json_read((struct str){answer->json.at, answer->json.n}, why) : NULL;
    if (what != ASK_STATUS)
        assert_string_equal(answer->json.at, "null");
    mail_free(m);
    return root;
}

/* Asks until the last attempt was refused (or not) for at least so many attempts. */
static void wait_refused(struct fixture *f, bool refused, const char *first_error) {
    uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS;
    for (;;) {
        struct json *root = ask(f, ASK_STATUS);
        assert_non_null(root);
        bool is = json_truth(json_get(root, "refused"));
        struct str text = json_text(json_get(json_at(json_get(root, "errors"), 0), "text"));
        bool found = is == refused && (!first_error || (text.n && memmem(text.at, text.n, first_error, strlen(first_error))));
        json_free(root);
        if (found)
            return;
        assert_true(clock_mono_ns() < deadline);
    }
}

static void every_change_is_a_world(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    assert_int_equal(n_policies(&f), 1);
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "ALLOW"));
    assert_int_equal(next_world(&f), 2);
    assert_int_equal(n_policies(&f), 2);
    scratch_put(&f.s, "sub/sub/c.yaml", SCRATCH_POLICY("c", "ALLOW")); /* in directories that are new */
    assert_int_equal(next_world(&f), 3);
    assert_int_equal(n_policies(&f), 3);
    scratch_put(&f.s, "sub/sub/d.yaml", SCRATCH_POLICY("d", "ALLOW")); /* and are watched now */
    assert_int_equal(next_world(&f), 4);
    scratch_drop(&f.s, "a.yaml");
    assert_int_equal(next_world(&f), 5);
    assert_int_equal(n_policies(&f), 3);
    tear_down(&f);
}

static void the_last_good_world_stays(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "DENIE"));
    wait_refused(&f, true, "did you mean DENY?");
    scratch_link(&f.s, "nowhere", "c.yaml");
    wait_refused(&f, true, "leads nowhere");
    assert_int_equal(world_in_force(&f), 1);
    scratch_drop(&f.s, "c.yaml");
    wait_refused(&f, true, "did you mean DENY?");
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "DENY"));
    assert_int_equal(next_world(&f), 2);
    wait_refused(&f, false, NULL);
    tear_down(&f);
}

/* What broke the look is gone and no file changed: the world in force is built again, and the error is no longer told. */
static void a_dangling_symlink_that_goes(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    scratch_link(&f.s, "nowhere", "c.yaml");
    wait_refused(&f, true, "leads nowhere");
    scratch_drop(&f.s, "c.yaml");
    wait_refused(&f, false, NULL);
    tear_down(&f);
}

static void errors_from_the_start(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", "kind: [");
    start(&f, f.s.dir);
    wait_refused(&f, true, "is not closed");
    assert_int_equal(world_in_force(&f), 0);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    assert_int_equal(next_world(&f), 1);
    tear_down(&f);
}

static void the_directory_comes_later(void **state) {
    struct fixture f;
    char path[512];
    scratch_init(&f.s);
    start(&f, scratch_path(&f.s, "mesh.d", path));
    wait_refused(&f, true, "cannot be opened");
    scratch_put(&f.s, "v1/a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_link(&f.s, "v1", "mesh.d");
    assert_int_equal(next_world(&f), 1);
    /* The directory itself is a symlink that is swapped. */
    scratch_put(&f.s, "v2/a.yaml", SCRATCH_POLICY("a", "ALLOW") "---\n" SCRATCH_POLICY("b", "ALLOW"));
    char from[512], to[512];
    scratch_link(&f.s, "v2", "next");
    assert_int_equal(rename(scratch_path(&f.s, "next", from), scratch_path(&f.s, "mesh.d", to)), 0);
    assert_int_equal(next_world(&f), 2);
    assert_int_equal(n_policies(&f), 2);
    tear_down(&f);
}

static void a_data_swap_is_one_change(void **state) {
    struct fixture f;
    char from[512], to[512];
    scratch_init(&f.s);
    scratch_put(&f.s, "..1/a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_put(&f.s, "..1/b.yaml", SCRATCH_POLICY("b", "ALLOW"));
    scratch_link(&f.s, "..1", "..data");
    scratch_link(&f.s, "..data/a.yaml", "a.yaml");
    scratch_link(&f.s, "..data/b.yaml", "b.yaml");
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    scratch_put(&f.s, "..2/a.yaml", SCRATCH_POLICY("c", "ALLOW"));
    scratch_put(&f.s, "..2/b.yaml", SCRATCH_POLICY("d", "ALLOW") "---\n" SCRATCH_POLICY("a", "ALLOW"));
    scratch_link(&f.s, "..2", "..data_tmp");
    assert_int_equal(rename(scratch_path(&f.s, "..data_tmp", from), scratch_path(&f.s, "..data", to)), 0);
    assert_int_equal(next_world(&f), 2);
    assert_int_equal(n_policies(&f), 3);
    assert_null(mailbox_take(f.box));
    tear_down(&f);
}

/* Written in place by a slow writer: no world between its first byte and its close has half of the file. */
static void half_written_files_are_waited_for(void **state) {
    struct fixture f;
    char path[512];
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    static const char half[] = SCRATCH_POLICY("b", "ALLOW"), rest[] = "---\n" SCRATCH_POLICY("c", "ALLOW");
    int fd = open(scratch_path(&f.s, "b.yaml", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0 && write(fd, half, strlen(half)) == (ssize_t)strlen(half));
    /* Well past the debounce, well before the longest wait: the writer is still at work, and nothing is published. */
    struct mail *early = mailbox_wait(f.box, CONFIG_DEBOUNCE_MS * 5);
    assert_null(early);
    assert_true(write(fd, rest, strlen(rest)) == (ssize_t)strlen(rest));
    assert_int_equal(close(fd), 0);
    while (n_policies(&f) != 3) /* a machine that stood still past the longest wait gave two worlds */
        next_world(&f);
    tear_down(&f);
}

static void the_same_text_again_is_no_change(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    int64_t before = 0, now = 0;
    struct json *root = ask(&f, ASK_STATUS);
    assert_true(json_number(json_get(root, "attempts"), &before));
    json_free(root);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    for (uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS; now <= before;) {
        assert_true(clock_mono_ns() < deadline);
        root = ask(&f, ASK_STATUS);
        assert_true(json_number(json_get(root, "attempts"), &now));
        json_free(root);
    }
    assert_null(mailbox_take(f.box));
    assert_int_equal(world_in_force(&f), 1);
    tear_down(&f);
}

static void what_is_asked(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml",
                SCRATCH_POLICY("a", "ALLOW") "---\n" SCRATCH_NAMESPACE "---\n" SCRATCH_WORKLOAD("w", "10.0.0.1", "node-1"));
    start(&f, f.s.dir);
    assert_int_equal(next_world(&f), 1);
    struct json *root = ask(&f, ASK_STATUS);
    static const char *const keys[] = {"world", "files", "workloads", "policies"};
    for (size_t i = 0; i < array_size(keys); i++) {
        int64_t n = 0;
        assert_true(json_number(json_get(root, keys[i]), &n));
        assert_int_equal(n, 1);
    }
    json_free(root);
    ask(&f, ASK_CERTS); /* not ours: null, and no crash */
    tear_down(&f);
}

/* A listener that does not take its mail is told once it has room again. */
static void a_full_listener_is_told_later(void **state) {
    struct fixture f;
    scratch_init(&f.s);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    struct config_options o = {.mesh = scratch_options(&f.s), .slot = &f.slot, .n_listeners = 1};
    f.slot = PUBLISH_SLOT_NULL;
    f.box = mailbox_new("small", 1);
    f.answers = mailbox_new("answers", 16);
    o.listeners = &f.box;
    struct mail_world *m = mail_world_new(99);
    assert_int_equal(mailbox_post(f.box, &m->mail), 0);
    assert_int_equal(config_start(&o, &f.c), 0);
    wait_refused(&f, false, NULL);
    for (uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS; !world_in_force(&f);)
        assert_true(clock_mono_ns() < deadline);
    assert_int_equal(next_world(&f), 99);
    assert_int_equal(next_world(&f), 1);
    tear_down(&f);
}

int main(void) {
    log_set_level(LOG_ERROR);
    publish_reader_register();
    publish_reader_offline();
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_change_is_a_world),
                                       cmocka_unit_test(the_last_good_world_stays),
                                       cmocka_unit_test(a_dangling_symlink_that_goes),
                                       cmocka_unit_test(errors_from_the_start),
                                       cmocka_unit_test(the_directory_comes_later),
                                       cmocka_unit_test(a_data_swap_is_one_change),
                                       cmocka_unit_test(half_written_files_are_waited_for),
                                       cmocka_unit_test(the_same_text_again_is_no_change),
                                       cmocka_unit_test(what_is_asked),
                                       cmocka_unit_test(a_full_listener_is_told_later)};
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    publish_reader_unregister();
    return r;
}
