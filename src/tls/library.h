/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/library.h - is there room for one more session; where private keys go; where random bytes come from (private to the room) */
#pragma once

#include <stdbool.h>

bool library_memory_left(void);

/* While it does, whatever this thread's library allocates is secret memory (base/secret.h). */
void library_takes_key(bool does);

/* Called by the library, which was built to ask for all its random bytes here. 0. */
int ringwall_random(unsigned char *to, unsigned int n);
