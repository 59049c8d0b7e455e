/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/harness/unit.h - cmocka with what it needs before it, and the question whether a call ends the process */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs f in a child; true when it was killed or ended with a failure (a check that failed, a sanitizer's report). */
static inline bool unit_dies(void (*f)(void *), void *argument) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0};
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (setrlimit(RLIMIT_CORE, &no_core) < 0 || nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0)
            _exit(0);
        f(argument);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

/* A fresh directory under TMPDIR; the test removes what it put there. */
static inline char *unit_directory(char out[256]) {
    const char *base = getenv("TMPDIR");
    snprintf(out, 256, "%s/ringwall-unit.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}
