/* SPDX-License-Identifier: GPL-3.0-or-later
 * ask.h - questions to the CA by its mailbox, answered by mail or by a deadline
 *
 * At most ASKS_MAX are open. The asker embeds a struct ask, which must stay until its callback or ask_forget. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/mailbox.h>
#include <ringwall/wire/pb.h>

enum { ASKS_MAX = 256, ASK_WAIT_S = 10 };

struct ask;
/* answer NULL: none came in time, or it could not be read. Valid during the call only. */
typedef void (*ask_done_fn)(struct ask *a, const struct ca_response *answer);
struct ask {
    struct list link; /* linked: open */
    uint64_t id, due_ns;
    ask_done_fn done;
};
struct asks {
    struct mailbox *ca, *reply;
    struct list open;
    size_t n_open;
    uint64_t next_id;
};

void asks_init(struct asks *s, struct mailbox *ca, struct mailbox *reply);
/* Sends it with an id of ours. 0; 1: too many open, or the CA takes no more now; negative errno. The callback comes later. */
int ask_send(struct asks *s, struct ask *a, struct ca_request *q, uint64_t now_ns, ask_done_fn done) must_check;
void ask_forget(struct asks *s, struct ask *a);                                  /* no callback; not open is fine */
void asks_answer(struct asks *s, uint64_t id, const struct ca_response *answer); /* an id that is not open: no effect */
void asks_tick(struct asks *s, uint64_t now_ns);                                 /* deadlines */
