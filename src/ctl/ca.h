/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca.h - what the files about CA directories share */
#pragma once

#include <ringwall/ca/files.h>

bool ca_begin(void) must_check;                /* the TLS library */
int ca_end(int r, const char *why) must_check; /* says why not, and gives the exit code */
