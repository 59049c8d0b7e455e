/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_error.h - what is wrong with a text that is not YAML, and what to write instead */
#pragma once

#include <ringwall/wire/yaml.h>

/* Drops a byte order mark. False with *ret: not UTF-8, or a character that no text has. */
bool yaml_text_sound(struct str *text, struct yaml_error *ret) must_check;
/* message and place (from 1) are the library's */
void yaml_error_tell(struct str text, const char *message, uint32_t line, uint32_t column, struct yaml_error *ret);
