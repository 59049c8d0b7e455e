/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/watch.h - hear of changes in directories (inotify)
 *
 * It says that something changed, not what: the files are looked at again. It also knows whether somebody is writing a
 * file in place right now, so that a load can wait for the writer to close it. */
#pragma once

#include <ringwall/base/str.h>

struct watch;
int watch_new(struct watch **ret) must_check;
struct watch *watch_free(struct watch *w);
DEFINE_FREEP(struct watch, watch_free)

int watch_fd(const struct watch *w); /* readable: call watch_drain */
/* Exactly these directories from now on, and of `parent` what happens to the one name in it. *ret_complete: each one is watched;
 * else the caller must look by itself. *ret_added: some were not watched before, so what happened in them until now was not heard.
 */
int watch_set(struct watch *w, struct str parent, struct str name, const struct str *dirs, size_t n, bool *ret_complete,
              bool *ret_added) must_check;
/* Takes all events there are; says whether anything that matters happened (or events were lost). */
bool watch_drain(struct watch *w);
bool watch_is_writing(const struct watch *w); /* a file was written and not closed yet */
void watch_forget_writers(struct watch *w);   /* the caller waited long enough */
