/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_memory.h - counted memory of HTTP/2 connections: nghttp2's, a session's, and what gRPC buffers (h2_memory_used) */
#pragma once

#include <ringwall/base/defs.h>

void *h2_alloc(size_t n);
void *h2_realloc(void *p, size_t n);
void h2_dealloc(void *p);
