/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the listing names the right files in order and every directory that must be watched. Method: small trees with
 * symlinks, listed and compared; the loader's tests cover what is refused. */
#include "files.h"
#include "scratch.h"

static struct found find(const struct scratch *s) {
    struct diag_list diags = DIAG_LIST_NULL;
    struct found f = FOUND_NULL;
    assert_int_equal(files_find(s->dir, 1 << 20, &diags, &f), 0);
    diag_list_deinit(&diags);
    return f;
}

static bool has_dir(const struct scratch *s, const struct found *f, const char *name) {
    char path[512];
    scratch_path(s, name, path);
    for (size_t i = 0; i < f->n_dirs; i++)
        if (str_is(f->dirs[i], str_of(*name ? path : s->dir)))
            return true;
    return false;
}

static void in_the_order_of_names(void **state) {
    struct scratch s;
    static const char *const names[] = {"a.yaml", "b/a.json", "b/c.yml", "c.yaml"};
    char path[512];
    scratch_init(&s);
    for (size_t i = array_size(names); i-- > 0;)
        scratch_put(&s, names[i], "x");
    struct found f = find(&s);
    assert_int_equal(f.n_files, array_size(names));
    for (size_t i = 0; i < f.n_files; i++)
        assert_string_equal(f.files[i].path.at, scratch_path(&s, names[i], path));
    assert_int_equal(f.n_bytes, 4);
    assert_int_equal(f.n_dirs, 2);
    assert_false(f.has_links);
    found_deinit(&f);
    scratch_deinit(&s);
}

static void a_slash_at_the_end_is_not_doubled(void **state) {
    struct scratch s;
    char dir[512], path[512];
    struct diag_list diags = DIAG_LIST_NULL;
    struct found f = FOUND_NULL;
    scratch_init(&s);
    scratch_put(&s, "a.yaml", "x");
    snprintf(dir, sizeof(dir), "%s//", s.dir);
    assert_int_equal(files_find(dir, 1 << 20, &diags, &f), 0);
    assert_string_equal(f.files[0].path.at, scratch_path(&s, "a.yaml", path));
    found_deinit(&f);
    scratch_deinit(&s);
}

static void directories_behind_links(void **state) {
    struct scratch s, other;
    char target[512];
    scratch_init(&s);
    scratch_init(&other);
    scratch_put(&s, "..1/a.yaml", "x");
    scratch_link(&s, "..1", "..data");
    scratch_link(&s, "..data/a.yaml", "a.yaml");
    struct found f = find(&s);
    assert_true(f.has_links && has_dir(&s, &f, "") && has_dir(&s, &f, "..1"));
    found_deinit(&f);
    /* releases/current is a link that may be swapped: its parent is watched, and what it leads to. */
    scratch_put(&other, "v1/b.yaml", "x");
    scratch_link(&other, "v1", "current");
    scratch_link(&s, scratch_path(&other, "current/b.yaml", target), "b.yaml");
    f = find(&s);
    assert_int_equal(f.n_files, 2);
    assert_true(has_dir(&other, &f, "v1") && has_dir(&other, &f, ""));
    found_deinit(&f);
    scratch_deinit(&other);
    scratch_deinit(&s);
}

static void any_change_shows(void **state) {
    struct scratch s;
    scratch_init(&s);
    scratch_put(&s, "a.yaml", "x");
    struct found f = find(&s), g = find(&s);
    assert_true(found_is(&f, &g));
    found_deinit(&g);
    scratch_put(&s, "a.yaml", "x"); /* another inode */
    g = find(&s);
    assert_false(found_is(&f, &g));
    found_deinit(&f);
    scratch_put(&s, "sub/readme", "x"); /* a directory more to watch */
    f = find(&s);
    assert_false(found_is(&f, &g));
    found_deinit(&f);
    found_deinit(&g);
    scratch_deinit(&s);
}

static void endings(void **state) {
    static const char *const yes[] = {"a.yaml", "a.yml", "a.json", "a.b.yaml"}, *const no[] = {"a", "a.yaml~", "a.yamll", "yaml",
                                                                                               "a.YAML"};
    for (size_t i = 0; i < array_size(yes); i++)
        assert_true(is_manifest_name(yes[i]));
    for (size_t i = 0; i < array_size(no); i++)
        assert_false(is_manifest_name(no[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_the_order_of_names), cmocka_unit_test(a_slash_at_the_end_is_not_doubled),
                                       cmocka_unit_test(directories_behind_links), cmocka_unit_test(any_change_shows),
                                       cmocka_unit_test(endings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
