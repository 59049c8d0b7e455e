/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a list keeps order, and a node knows whether it is linked. Method: pushes at both ends, unlinking anywhere. */
#include <ringwall/base/list.h>

#include "unit.h"

struct item {
    int value;
    struct list all;
};

static void order_is_kept(void **state) {
    struct list l = LIST_INIT(l);
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    assert_true(list_empty(&l));
    assert_null(list_first(&l));
    assert_null(list_pop_front(&l));
    list_push_back(&l, &items[1].all);
    list_push_back(&l, &items[2].all);
    list_push_front(&l, &items[0].all);
    list_push_back(&l, &items[3].all);
    int expected = 0;
    list_for_each (it, &l)
        assert_int_equal(list_entry(it, struct item, all)->value, expected++);
    assert_int_equal(expected, 4);
    assert_ptr_equal(list_pop_front(&l), &items[0].all);
    assert_false(list_linked(&items[0].all));
    assert_true(list_linked(&items[1].all));
}

static void nodes_unlink_anywhere(void **state) {
    struct list l;
    list_init(&l);
    struct item items[5] = {0};
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        list_push_back(&l, &items[i].all);
    }
    list_for_each_safe (it, &l)
        if (list_entry(it, struct item, all)->value % 2 == 0)
            list_unlink(it);
    assert_ptr_equal(list_first(&l), &items[1].all);
    list_unlink(&items[0].all); /* not linked: nothing happens */
    list_unlink(&items[1].all);
    list_unlink(&items[3].all);
    assert_true(list_empty(&l));
    assert_false(list_linked(&items[3].all));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(order_is_kept), cmocka_unit_test(nodes_unlink_anywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
