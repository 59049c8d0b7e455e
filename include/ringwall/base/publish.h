/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/publish.h - one writer publishes immutable snapshots; readers look without a lock (liburcu QSBR behind it)
 *
 * Rules: a reading thread registers itself once, reads only while online, and announces a quiet point or goes offline
 * before it waits. A pointer from publish_read is valid until the reader's next quiet point. */
#pragma once

#include <ringwall/base/defs.h>

struct publish_slot {
    void *current; /* NULL until the first publication; use the functions */
};
#define PUBLISH_SLOT_NULL ((struct publish_slot){0})

void publish_reader_register(void); /* this thread becomes an online reader */
void publish_reader_unregister(void);
void publish_reader_offline(void); /* before waiting */
void publish_reader_online(void);
void publish_quiet(void); /* this thread holds no pointer from publish_read */

const void *publish_read(const struct publish_slot *slot); /* online readers only */
/* Writer: swaps, waits until every reader passed a quiet point, returns the former snapshot to be freed. The calling
 * thread must not itself be an online reader. */
void *publish_swap(struct publish_slot *slot, void *next);
/* Writer: the current snapshot, without being a reader. */
void *publish_writer_peek(const struct publish_slot *slot);
