/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/close_reason.h - the table of tbl/close_reason.h as an enum with its look-ups */
#pragma once

#include <ringwall/base/defs.h>

enum close_reason {
#define CLOSE_REASON(name, word, is_error, status, text) CLOSE_##name,
#include <ringwall/tbl/close_reason.h>
#undef CLOSE_REASON
    _CLOSE_REASON_MAX
};
const char *close_reason_word(enum close_reason r);
const char *close_reason_text(enum close_reason r);
bool close_reason_is_error(enum close_reason r);
unsigned close_reason_status(enum close_reason r); /* 0: none */
/* From the x-ringwall-reason of a peer; CLOSE_PEER_REFUSED for a word we do not know. */
enum close_reason close_reason_of_word(const char *word);
