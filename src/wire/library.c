/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/library.c - the libraries behind this room, by name and version */
#include <stdio.h>

#include <ringwall/wire/h2.h>

#include "library.h"

const char *h2_library_text(char *to, size_t n) {
    snprintf(to, n, "nghttp2 %s, protobuf-c %s, libfyaml %s, jansson %s", h2_library_version(), pb_library_version(),
             yaml_library_version(), json_library_version());
    return to;
}
