/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/close_reason.c - look-ups into the table of close reasons */
#include <assert.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/model/close_reason.h>

struct row {
    const char *word, *text;
    bool is_error;
    unsigned status;
};
static const struct row rows[] = {
#define CLOSE_REASON(name, word_, is_error_, status_, text_) \
    [CLOSE_##name] = {.word = (word_), .text = (text_), .is_error = (is_error_), .status = (status_)},
#include <ringwall/tbl/close_reason.h>
#undef CLOSE_REASON
};
static_assert(array_size(rows) == _CLOSE_REASON_MAX, "every reason has a row");

static const struct row *row_of(enum close_reason r) {
    check((unsigned)r < _CLOSE_REASON_MAX);
    return &rows[r];
}

const char *close_reason_word(enum close_reason r) { return row_of(r)->word; }
const char *close_reason_text(enum close_reason r) { return row_of(r)->text; }
bool close_reason_is_error(enum close_reason r) { return row_of(r)->is_error; }
unsigned close_reason_status(enum close_reason r) { return row_of(r)->status; }

enum close_reason close_reason_of_word(const char *word) {
    /* Only a reason that has a status can stand on a refused CONNECT: a peer cannot make a refusal look like an end. */
    for (unsigned i = 0; word && i < _CLOSE_REASON_MAX; i++)
        if (rows[i].status && !strcmp(rows[i].word, word))
            return (enum close_reason)i;
    return CLOSE_PEER_REFUSED;
}
