/* SPDX-License-Identifier: GPL-3.0-or-later
 * listen.h - listening sockets of the admin room. 0; 1: refused, `why` names the fix; negative errno */
#pragma once

#include <ringwall/admin/admin.h>

enum { LISTEN_WHY_BYTES = 256, LISTEN_BACKLOG = 64 };
/* Directory 0700 where it is missing, socket 0600. A socket that nobody listens on is replaced, one that answers is not. */
int listen_unix(const char *path, int *ret_fd, char why[LISTEN_WHY_BYTES]) must_check;
/* "*": one socket for both families; "localhost": 127.0.0.1 and, where the host has it, ::1; else one address. */
int listen_tcp(const struct admin_listen *l, int ret_fds[2], size_t *ret_n, char why[LISTEN_WHY_BYTES]) must_check;
