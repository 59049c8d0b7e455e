/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/library.h - each source that hides a library says its version; h2_library_text puts them in one line */
#pragma once

const char *h2_library_version(void);
const char *json_library_version(void);
const char *pb_library_version(void);
const char *yaml_library_version(void);
