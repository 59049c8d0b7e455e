/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/library.h - is there room for one more session; where the library gets its random bytes (private to the room) */
#pragma once

#include <stdbool.h>

bool library_memory_left(void);

/* Called by the library, which was built to ask for all its random bytes here. 0. */
int ringwall_random(unsigned char *to, unsigned int n);
