/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/library.h - is there room for one more session (private to the room) */
#pragma once

#include <stdbool.h>

bool library_memory_left(void);
