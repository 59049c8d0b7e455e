/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca.h - what the files about CA directories share */
#pragma once

#include <ringwall/ca/files.h>
#include <ringwall/wire/json.h>

bool ca_begin(void) must_check; /* the TLS library */
/* An answer in JSON, one object: begin, write its members, print; the last gives the code for ca_end. */
struct ca_answer {
    struct growing to;
    struct json_writer json;
};
void ca_answer_begin(struct ca_answer *a);
int ca_answer_print(struct ca_answer *a) must_check;
int ca_end(int r, const char *why) must_check; /* says why not, and gives the exit code */
