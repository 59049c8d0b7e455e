/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what is asked reaches the kernel, can be taken back, and ends with its descriptor; a device that is not there is an error.
 * Method: the kernel's device, whose answer is the bound in force for the machine; a file in its place for what is written. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/cpu_latency.h>
#include <ringwall/base/err.h>

#include "unit.h"

enum { BOUND_US = 77 };

/* The machine's bound; others may ask for less than we do. */
static int32_t in_force(void) {
    int32_t us = -1;
    cleanup_fd int fd = open(CPU_LATENCY_DEVICE, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &us, sizeof(us)), sizeof(us));
    return us;
}

static void the_kernel_hears_it(void **state) {
    int fd = cpu_latency_open(CPU_LATENCY_DEVICE);
    if (fd < 0) {
        print_message("skipped: %s cannot be opened here\n", CPU_LATENCY_DEVICE);
        skip();
    }
    int32_t others = in_force();
    assert_int_equal(cpu_latency_ask(fd, BOUND_US), 0);
    assert_int_equal(in_force(), min_of(others, (int32_t)BOUND_US));
    assert_int_equal(cpu_latency_ask(fd, -1), 0);
    assert_int_equal(in_force(), others);
    assert_int_equal(cpu_latency_ask(fd, 0), 0);
    assert_int_equal(in_force(), 0);
    close(fd);
    assert_int_equal(in_force(), others);
}

static void four_bytes_each_time(void **state) {
    char path[] = "/tmp/cpu-latency-XXXXXX";
    int made = mkstemp(path);
    assert_true(made >= 0);
    cleanup_fd int fd = cpu_latency_open(path);
    assert_true(fd >= 0);
    assert_int_equal(cpu_latency_ask(fd, CPU_LATENCY_US_MAX), 0);
    assert_int_equal(cpu_latency_ask(fd, -1), 0);
    int32_t seen[3];
    assert_int_equal(read(made, seen, sizeof(seen)), 2 * sizeof(seen[0]));
    assert_int_equal(seen[0], CPU_LATENCY_US_MAX);
    assert_int_equal(seen[1], 2000000000);
    close(made);
    unlink(path);
}

static void no_device(void **state) {
    assert_int_equal(cpu_latency_open("/nowhere/cpu_dma_latency"), -ENOENT);
    cleanup_fd int full = cpu_latency_open("/dev/full");
    assert_true(full >= 0);
    assert_int_equal(cpu_latency_ask(full, 0), -ENOSPC);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_kernel_hears_it), cmocka_unit_test(four_bytes_each_time),
                                       cmocka_unit_test(no_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
