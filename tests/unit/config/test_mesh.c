/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a load sees one whole state of the directory or says why not, and parses only what changed. Method: real
 * directories under TMPDIR, changed between loads or, with a thread, during them. */
#include <pthread.h>
#include <stdatomic.h>

#include "loader.h"
#include "scratch.h"

struct fixture {
    struct scratch s;
    struct mesh_loader *l;
};

static void set_up_with(struct fixture *f, struct mesh_options o) { assert_int_equal(mesh_loader_new(&o, &f->l), 0); }
static void set_up(struct fixture *f) {
    scratch_init(&f->s);
    set_up_with(f, scratch_options(&f->s));
}
static void tear_down(struct fixture *f) {
    mesh_loader_free(f->l);
    scratch_deinit(&f->s);
}

/* Loads and compares errors; gives the number of policies, or -1 when refused. */
static int load(struct fixture *f, const char *errors) {
    struct diag_list all = DIAG_LIST_NULL, diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    int r = mesh_load(f->l, 7, &all, &w);
    for (size_t i = 0; i < all.n; i++)
        if (all.items[i].severity == DIAG_ERROR) {
            struct origin at = {str_of(all.items[i].file), all.items[i].line, all.items[i].column};
            diag_addf(&diags, DIAG_ERROR, &at, "%s", all.items[i].text);
        }
    cleanup_free char *seen = scratch_diags(&f->s, &diags);
    assert_string_equal(seen, errors);
    diag_list_deinit(&diags);
    diag_list_deinit(&all);
    assert_int_equal(r, *errors ? 1 : 0);
    assert_true(!w == (r == 1));
    if (w)
        assert_int_equal(world_number(w), 7);
    return w ? (int)world_n_policies(w) : -1;
}

static void an_empty_directory(void **state) {
    struct fixture f;
    set_up(&f);
    assert_int_equal(load(&f, ""), 0);
    tear_down(&f);
}

static void which_files(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "a.yaml", SCRATCH_NAMESPACE);
    scratch_put(&f.s, "sub/b.yml", SCRATCH_POLICY("b", "ALLOW"));
    scratch_put(&f.s, "sub/sub/c.json", "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"c\"}}");
    scratch_put(&f.s, "readme.txt", "text: [");
    scratch_put(&f.s, ".hidden.yaml", "text: [");
    scratch_put(&f.s, ".hidden/d.yaml", "text: [");
    scratch_put(&f.s, "d.yaml~", "text: [");
    assert_int_equal(load(&f, ""), 1);
    assert_int_equal(mesh_n_files(f.l), 3);
    tear_down(&f);
}

static void unchanged_files_are_not_parsed(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "a.yaml", SCRATCH_NAMESPACE);
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "ALLOW"));
    load(&f, "");
    assert_int_equal(mesh_n_parsed(f.l), 2);
    scratch_put(&f.s, "c.yaml", SCRATCH_POLICY("c", "ALLOW"));
    assert_int_equal(load(&f, ""), 2);
    assert_int_equal(mesh_n_parsed(f.l), 3);
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "ALLOW")); /* a new inode with the same text */
    load(&f, "");
    assert_int_equal(mesh_n_parsed(f.l), 3);
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "DENY"));
    load(&f, "");
    assert_int_equal(mesh_n_parsed(f.l), 4);
    scratch_overwrite(&f.s, "b.yaml", SCRATCH_POLICY("d", "DENY")); /* in place, the same size */
    load(&f, "");
    assert_int_equal(mesh_n_parsed(f.l), 5);
    scratch_drop(&f.s, "b.yaml");
    assert_int_equal(load(&f, ""), 1);
    assert_int_equal(mesh_n_parsed(f.l), 5);
    tear_down(&f);
}

static void says_whether_something_changed(void **state) {
    struct fixture f;
    struct diag_list diags = DIAG_LIST_NULL;
    bool changed;
    set_up(&f);
    scratch_put(&f.s, "a.yaml", SCRATCH_NAMESPACE);
    const char *const steps[] = {SCRATCH_POLICY("b", "ALLOW"), SCRATCH_POLICY("b", "DENY"), NULL};
    assert_int_equal(mesh_refresh(f.l, &diags, &changed), 0);
    assert_true(changed);
    for (size_t i = 0; i < array_size(steps); i++) {
        if (steps[i])
            scratch_put(&f.s, "b.yaml", steps[i]);
        else
            scratch_drop(&f.s, "b.yaml");
        assert_int_equal(mesh_refresh(f.l, &diags, &changed), 0);
        assert_true(changed);
        assert_int_equal(mesh_refresh(f.l, &diags, &changed), 0);
        assert_false(changed);
    }
    diag_list_deinit(&diags);
    tear_down(&f);
}

static void an_error_refuses_the_set_whole(void **state) {
    struct fixture f;
    char twice[512];
    set_up(&f);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "DENIE"));
    scratch_put(&f.s, "c.yaml", "kind: [");
    load(&f, "b.yaml:5:11: error: AuthorizationPolicy shop/b: action is \"DENIE\": did you mean DENY? Write ALLOW, DENY, AUDIT or "
             "CUSTOM\n"
             "c.yaml:2:1: error: list is not closed: write ]\n");
    scratch_drop(&f.s, "c.yaml");
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("a", "DENY"));
    snprintf(twice, sizeof(twice),
             "b.yaml:3:18: error: AuthorizationPolicy shop/a is given twice, first at %s/a.yaml:3: remove one of them\n", f.s.dir);
    load(&f, twice);
    tear_down(&f);
}

static void a_misspelt_action_hides_nothing(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "a.yaml",
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec:\n"
                "  action: alow\n  rules:\n  - form: []\n");
    load(&f, "a.yaml:5:11: error: AuthorizationPolicy shop/a: action is \"alow\": did you mean ALLOW? Write ALLOW, DENY, AUDIT or "
             "CUSTOM\n"
             "a.yaml:7:5: error: AuthorizationPolicy shop/a: unknown key \"form\" in a rule: did you mean \"from\"?\n");
    tear_down(&f);
}

static void an_entry_that_its_node_cannot_capture(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "a.yaml",
                "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: a\n  namespace: shop\n"
                "  labels: {istio.io/dataplane-mode: ambient}\n  annotations:\n    ringwall.io/node: node-1\n"
                "spec: {address: 10.0.0.1}\n");
    struct diag_list diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    assert_int_equal(mesh_load(f.l, 1, &diags, &w), 0);
    cleanup_free char *seen = scratch_diags(&f.s, &diags);
    assert_string_equal(seen, "a.yaml:8:23: warning: WorkloadEntry shop/a: annotation ringwall.io/node without ringwall.io/netns "
                              "and ringwall.io/cgroup: its node does not capture it, and the mesh cannot reach it: write both\n");
    diag_list_deinit(&diags);
    tear_down(&f);
}

static void dangling_and_odd_entries(void **state) {
    struct fixture f;
    char path[512];
    set_up(&f);
    scratch_link(&f.s, "nowhere", "a.yaml");
    scratch_link(&f.s, "loop", "loop");
    assert_int_equal(mkfifo(scratch_path(&f.s, "pipe.yaml", path), 0600), 0);
    load(&f, "a.yaml:0:0: error: this symlink leads nowhere: remove it, or put its target back\n"
             "loop:0:0: error: this symlink leads nowhere: remove it, or put its target back\n"
             "pipe.yaml:0:0: error: this is no regular file: remove it, or give it another name\n");
    scratch_drop(&f.s, "a.yaml");
    scratch_drop(&f.s, "loop");
    scratch_drop(&f.s, "pipe.yaml");
    assert_int_equal(load(&f, ""), 0);
    tear_down(&f);
}

static void a_missing_directory(void **state) {
    struct fixture f;
    struct mesh_options o;
    char path[512];
    scratch_init(&f.s);
    o = scratch_options(&f.s);
    o.dir = scratch_path(&f.s, "none", path);
    set_up_with(&f, o);
    load(&f, "none:0:0: error: the directory cannot be opened (No such file or directory): create it, or write another meshDir in "
             "the node file\n");
    tear_down(&f);
}

static void bytes_and_depth_have_bounds(void **state) {
    struct fixture f;
    struct mesh_options o;
    char deep[256] = "";
    scratch_init(&f.s);
    o = scratch_options(&f.s);
    o.bytes_max = 300;
    set_up_with(&f, o);
    scratch_put(&f.s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_put(&f.s, "b.yaml", SCRATCH_POLICY("b", "ALLOW"));
    assert_int_equal(load(&f, ""), 2);
    scratch_put(&f.s, "c.yaml", SCRATCH_POLICY("c", "ALLOW"));
    load(&f,
         "c.yaml:0:0: error: with this file the mesh directory has more than limits.meshBytes (300 bytes): remove files, or raise "
         "limits.meshBytes in the node file\n");
    scratch_drop(&f.s, "c.yaml");
    assert_int_equal(load(&f, ""), 2);
    for (unsigned i = 0; i <= MESH_DEPTH_MAX; i++)
        strcat(deep, "d/");
    strcat(deep, "x.txt");
    scratch_put(&f.s, deep, "");
    load(&f, "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d:0:0: error: directories are nested deeper than 16: put the manifests higher up\n");
    tear_down(&f);
}

static void links_count_once(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "..2026_1/a.yaml", SCRATCH_POLICY("a", "ALLOW")); /* as a ConfigMap is mounted */
    scratch_link(&f.s, "..2026_1", "..data");
    scratch_link(&f.s, "..data/a.yaml", "a.yaml");
    scratch_link(&f.s, "a.yaml", "b.yaml"); /* and the same file by another name */
    scratch_put(&f.s, "sub/c.yaml", SCRATCH_POLICY("c", "ALLOW"));
    scratch_link(&f.s, "sub/c.yaml", "c.yaml");
    scratch_link(&f.s, "..", "sub/up"); /* a cycle */
    scratch_link(&f.s, "sub", "again");
    assert_int_equal(load(&f, ""), 2);
    tear_down(&f);
}

/* A directory that a symlink of a file leads to is still walked for its own sake. */
static void a_linked_directory_is_walked(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "sub/c.yaml", SCRATCH_POLICY("c", "ALLOW"));
    scratch_put(&f.s, "sub/d.yaml", SCRATCH_POLICY("d", "ALLOW"));
    scratch_link(&f.s, "sub/c.yaml", "a.yaml");
    assert_int_equal(load(&f, ""), 2);
    tear_down(&f);
}

static void swap(const struct scratch *s, const char *to) {
    char link[512], data[512];
    scratch_path(s, "..data_tmp", link);
    scratch_path(s, "..data", data);
    assert_int_equal(symlink(to, link), 0);
    assert_int_equal(rename(link, data), 0);
}

static void a_data_swap(void **state) {
    struct fixture f;
    set_up(&f);
    scratch_put(&f.s, "..1/a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_link(&f.s, "..data/a.yaml", "a.yaml");
    swap(&f.s, "..1");
    assert_int_equal(load(&f, ""), 1);
    scratch_put(&f.s, "..2/a.yaml", SCRATCH_POLICY("a", "ALLOW") "---\n" SCRATCH_POLICY("b", "ALLOW"));
    swap(&f.s, "..2");
    assert_int_equal(load(&f, ""), 2);
    tear_down(&f);
}

/* Two states, each with two files that belong together; a thread swaps them in a tight loop. */
struct swapper {
    const struct scratch *s;
    atomic_bool stop;
};
static void *swap_on(void *argument) {
    struct swapper *sw = argument;
    for (unsigned i = 0; !atomic_load(&sw->stop); i++)
        swap(sw->s, i % 2 ? "..1" : "..2");
    return NULL;
}
static void swaps_in_a_tight_loop(void **state) {
    struct fixture f;
    pthread_t t;
    unsigned n_loaded = 0, n_refused = 0;
    set_up(&f);
    scratch_put(&f.s, "..1/a.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_put(&f.s, "..1/b.yaml", SCRATCH_POLICY("b", "ALLOW"));
    /* Half of each would give the name a twice, or neither. */
    scratch_put(&f.s, "..2/a.yaml", SCRATCH_POLICY("b", "ALLOW"));
    scratch_put(&f.s, "..2/b.yaml", SCRATCH_POLICY("a", "ALLOW"));
    scratch_link(&f.s, "..data/a.yaml", "a.yaml");
    scratch_link(&f.s, "..data/b.yaml", "b.yaml");
    swap(&f.s, "..1");
    struct swapper sw = {.s = &f.s};
    assert_int_equal(pthread_create(&t, NULL, swap_on, &sw), 0);
    for (unsigned i = 0; i < 300; i++) {
        struct diag_list diags = DIAG_LIST_NULL;
        struct world *w = NULL;
        int r = mesh_load(f.l, i, &diags, &w);
        assert_true(r == 0 || r == 1);
        if (r == 1) {
            if (!strstr(diags.items[0].text, "keeps changing"))
                fail_msg("%s: %s", diags.items[0].file, diags.items[0].text);
            n_refused++;
        } else {
            assert_int_equal(world_n_policies(w), 2);
            n_loaded++;
        }
        world_free(w);
        diag_list_deinit(&diags);
    }
    atomic_store(&sw.stop, true);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(n_loaded + n_refused, 300);
    assert_int_equal(load(&f, ""), 2); /* and once it is quiet, it loads */
    tear_down(&f);
}

static void many_files(void **state) {
    enum { N_FILES = 2000 };
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < N_FILES; i++) {
        char name[64], text[256];
        snprintf(name, sizeof(name), "d%u/p%u.yaml", i % 10, i);
        snprintf(text, sizeof(text),
                 "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p%u, namespace: shop}\nspec: {}\n",
                 i);
        char path[512];
        if (i < 10) {
            scratch_put(&f.s, name, text); /* makes the directory */
            continue;
        }
        FILE *file = fopen(scratch_path(&f.s, name, path), "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(load(&f, ""), N_FILES);
    scratch_put(&f.s, "d3/p3.yaml", SCRATCH_POLICY("p3", "DENY"));
    assert_int_equal(load(&f, ""), N_FILES);
    assert_int_equal(mesh_n_parsed(f.l), N_FILES + 1);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_empty_directory),
                                       cmocka_unit_test(which_files),
                                       cmocka_unit_test(unchanged_files_are_not_parsed),
                                       cmocka_unit_test(says_whether_something_changed),
                                       cmocka_unit_test(an_error_refuses_the_set_whole),
                                       cmocka_unit_test(a_misspelt_action_hides_nothing),
                                       cmocka_unit_test(an_entry_that_its_node_cannot_capture),
                                       cmocka_unit_test(dangling_and_odd_entries),
                                       cmocka_unit_test(a_missing_directory),
                                       cmocka_unit_test(bytes_and_depth_have_bounds),
                                       cmocka_unit_test(links_count_once),
                                       cmocka_unit_test(a_linked_directory_is_walked),
                                       cmocka_unit_test(a_data_swap),
                                       cmocka_unit_test(swaps_in_a_tight_loop),
                                       cmocka_unit_test(many_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
