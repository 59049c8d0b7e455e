/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: whatever lies in the mesh directory costs bounded time and memory, is told in a clear text, and leaves what was good
 * in force. Method: directories at and beyond their bound, texts that swell, a file replaced as fast as can be while it is
 * loaded; the processor's time and the growth of the process are compared with generous limits. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "loader.h"
#include "scratch.h"

#ifdef RINGWALL_CHECK_SLOW /* a sanitizer costs ten times */
enum { TIMES_SLOWER = 10 };
#else
enum { TIMES_SLOWER = 1 };
#endif

static double cpu_s(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of the process since peak_begin. */
static size_t peak_bytes(void) {
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (!kib && fgets(line, sizeof(line), f))
        ignore_result(sscanf(line, "VmHWM: %lu kB", &kib)); /* most lines are another */
    fclose(f);
    return kib * 1024;
}
static size_t peak_begin(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    assert_non_null(f);
    fputs("5", f);
    assert_int_equal(fclose(f), 0);
    return peak_bytes();
}

static struct mesh_loader *loader(const struct scratch *s) {
    struct mesh_options o = scratch_options(s);
    struct mesh_loader *l = NULL;
    o.bytes_max = 512u << 20;
    assert_int_equal(mesh_loader_new(&o, &l), 0);
    return l;
}

/* mesh_load's result; the first error's text, or "" */
static int load(struct mesh_loader *l, char text[512]) {
    struct diag_list diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    int r = mesh_load(l, 1, &diags, &w);
    text[0] = 0;
    for (size_t i = 0; i < diags.n && !text[0]; i++)
        if (diags.items[i].severity == DIAG_ERROR)
            snprintf(text, 512, "%u:%u: %s", diags.items[i].line, diags.items[i].column, diags.items[i].text);
    assert_true((r == 0) == (w != NULL) && (r == 0) == !text[0] && diags.n <= DIAG_MAX);
    diag_list_deinit(&diags);
    return r;
}

static void put_fast(const char *dir, unsigned i) {
    char path[512];
    snprintf(path, sizeof(path), "%s/d%u/n%u.yaml", dir, i % 100, i);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "apiVersion: v1\nkind: Namespace\nmetadata: {name: n%u}\n", i);
    assert_int_equal(fclose(f), 0);
}

static void as_many_files_as_there_may_be(void **state) {
    struct scratch s;
    char text[512], path[512];
    scratch_init(&s);
    cleanup(mesh_loader_freep) struct mesh_loader *l = loader(&s);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "%s/d%u", s.dir, i);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (unsigned i = 0; i < MESH_FILES_MAX; i++)
        put_fast(s.dir, i);
    size_t before = peak_begin();
    double start = cpu_s();
    assert_int_equal(load(l, text), 0);
    assert_true(cpu_s() - start < 20 * TIMES_SLOWER);
    assert_true(peak_bytes() - before < (size_t)MESH_FILES_MAX * 8192 * TIMES_SLOWER);
    assert_int_equal(mesh_n_files(l), MESH_FILES_MAX);
    put_fast(s.dir, MESH_FILES_MAX);
    start = cpu_s();
    assert_int_equal(load(l, text), 1);
    assert_non_null(strstr(text, "more than 100000 manifest files"));
    assert_true(cpu_s() - start < 20 * TIMES_SLOWER);
    snprintf(path, sizeof(path), "%s/d%u/n%u.yaml", s.dir, MESH_FILES_MAX % 100, MESH_FILES_MAX);
    assert_int_equal(remove(path), 0);
    assert_int_equal(load(l, text), 0);
    assert_true(mesh_n_parsed(l) <= MESH_FILES_MAX + 100); /* a refusal makes nobody forget */
    scratch_deinit(&s);
}

struct swelling {
    const char *what, *head, *repeated, *tail;
    size_t n;
    const char *error; /* part of it; NULL: it loads */
};

static void texts_that_swell(void **state) {
    static const char object[] =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n";
    static const struct swelling rows[] = {
        {"anchors and aliases", "a: &a [x,x,x,x,x,x,x,x,x]\n", "b: [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", "", 1000,
         "anchors (&name) are not supported"},
        {"an alias without anchor", "", "a: *x\n", "", 1, "aliases (*name) are not supported"},
        {"merge keys", "<<: {a: b}\n", "", "", 0, "merge key"},
        {"deep lists", "a: ", "[", "", 1000000, "longer than 256 KiB"},
        {"deep mappings", "a: ", "{a: ", "", 1000000, "longer than 256 KiB"},
        {"deep blocks", "a:", "\n- ", "", 1, "a value is missing"},
        {"many dashes in a line", "a:\n", "- ", "", 1000000, "nested deeper than 64 levels"},
        {"many keys in a line", "", "? ", "", 1000000, "cannot be a key"},
        {"a key twice", "apiVersion: v1\n", "apiVersion: v1\n", "", 1, "key \"apiVersion\" is here a second time"},
        {"a key very often", "", "a: b\n", "", 300000, "key \"a\" is here a second time"},
        {"nothing", "", "", "", 0, "the file is empty"},
        {"one long line", "apiVersion: \"", "x", "\"\n", 20000000, "longer than 1024 KiB"},
        {"an open quote", "a: \"", "x\n", "", 1000000, "quote is not closed"},
        {"many open quotes", "a: [", "'", "", 1000000, "longer than 256 KiB"},
        {"many documents", "", "---\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", 1000000, NULL},
        {"many comments", "", "#\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", 1000000, NULL},
        {"tags", "", "!!a ", "b", 100000, "tags (!name) are not supported"},
        {"directives", "", "%YAML 1.2\n", "---\na: b\n", 100000, "duplicate version directive"},
        {"not UTF-8", "a: ", "\xff\xfe", "\n", 1000000, "not UTF-8"},
        {"half of a character", "a: b", "\xe2\x82", "\n", 1, "not UTF-8"},
        {"surrogates", "a: ", "\xed\xa0\x80", "\n", 1, "not UTF-8"},
        {"control characters", "a: ", "\x01", "\n", 1000000, "control character"},
        {"lists in lists of JSON", "", "[", "", 1000000, "nested deeper than 64 levels"},
    };
    struct scratch s;
    char text[512];
    scratch_init(&s);
    cleanup(mesh_loader_freep) struct mesh_loader *l = loader(&s);
    for (size_t i = 0; i < array_size(rows); i++) {
        const struct swelling *r = &rows[i];
        struct growing g = GROWING_NULL;
        growing_addf(&g, "%s", r->head);
        for (size_t k = 0; k < r->n; k++)
            growing_add(&g, str_of(r->repeated));
        growing_addf(&g, "%s", r->tail);
        assert_false(g.failed);
        char path[512];
        assert_int_equal(io_write_file(scratch_path(&s, "a.yaml", path), g.at, g.n, 0644), 0);
        size_t before = peak_begin();
        double start = cpu_s();
        int e = load(l, text);
        double took = cpu_s() - start;
        size_t grown = peak_bytes() - before;
        bool good = r->error ? e == 1 && strstr(text, r->error) : e == 0;
        if (!good || took > 10 * TIMES_SLOWER || grown > ((size_t)256 << 20) * TIMES_SLOWER)
            fail_msg("%s: %d in %.1f s, %zu bytes: %s", r->what, e, took, grown, text);
        growing_deinit(&g);
    }
    scratch_put(&s, "a.yaml", object);
    assert_int_equal(load(l, text), 1); /* it has no spec */
    scratch_put(&s, "a.yaml", SCRATCH_NAMESPACE);
    assert_int_equal(load(l, text), 0); /* and nothing stays behind */
    scratch_deinit(&s);
}

struct replacing {
    const struct scratch *s;
    atomic_bool stop;
    bool in_place;
};
static void *replace_on(void *argument) {
    struct replacing *r = argument;
    for (unsigned i = 0; !atomic_load(&r->stop); i++)
        (r->in_place ? scratch_overwrite : scratch_put)(
            r->s, "a.yaml", i % 2 ? SCRATCH_POLICY("a", "ALLOW") : SCRATCH_POLICY("a", "DENY") "---\n" SCRATCH_POLICY("b", "DENY"));
    return NULL;
}

/* Replaced by renaming: one of the two texts or a refusal. In place: also halves, but what loads has whole objects. */
static void a_file_replaced_while_it_is_read(void **state) {
    for (int in_place = 0; in_place < 2; in_place++) {
        struct scratch s;
        pthread_t t;
        char text[512];
        scratch_init(&s);
        scratch_put(&s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
        cleanup(mesh_loader_freep) struct mesh_loader *l = loader(&s);
        struct replacing r = {.s = &s, .in_place = in_place};
        assert_int_equal(pthread_create(&t, NULL, replace_on, &r), 0);
        for (unsigned i = 0; i < 300; i++) {
            int e = load(l, text);
            assert_true(e == 0 || e == 1);
            if (e == 1 && !in_place)
                assert_non_null(strstr(text, "keeps changing"));
        }
        atomic_store(&r.stop, true);
        assert_int_equal(pthread_join(t, NULL), 0);
        scratch_put(&s, "a.yaml", SCRATCH_POLICY("a", "ALLOW"));
        assert_int_equal(load(l, text), 0);
        scratch_deinit(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_many_files_as_there_may_be), cmocka_unit_test(texts_that_swell),
                                       cmocka_unit_test(a_file_replaced_while_it_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
