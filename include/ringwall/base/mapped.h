/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/mapped.h - pages of files (the program, its libraries) that this process has mapped in and may not need again
 *
 * Starting touches much that is never used again: symbol tables and relocations of two dozen libraries, their initialisers, the
 * parsing of files. The kernel maps sixteen pages around each touch. All of it counts as ours for as long as we live. */
#pragma once

/* Lets go of every mapped page that is just as it is in its file; what is used again is mapped again, from the page cache.
 * Whatever was written to stays: relocated data, break points. */
void mapped_trim(void);
