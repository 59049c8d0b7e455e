/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/config.h - the config thread: watches the mesh directory, publishes worlds, keeps the last good one
 *
 * A change is taken 50 ms after the last event of a burst (inotify; a re-scan when the queue overflowed or a watch could
 * not be had). A set with an error is refused whole: the last good world stays, the errors can be asked for. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/config/mesh.h>

enum { CONFIG_DEBOUNCE_MS = 50, CONFIG_DEBOUNCE_MAX_MS = 1000 };
struct config;
struct config_options {
    struct mesh_options mesh;
    struct publish_slot *slot;  /* worlds are published here */
    struct mailbox **listeners; /* get a mail_world (mail/world.h) after each publication; references are taken */
    size_t n_listeners;
};
int config_start(const struct config_options *o, struct config **ret) must_check; /* the first load happens in the thread */
struct mailbox *config_mailbox(struct config *c); /* takes mail_ask (mail/ask.h): ASK_STATUS; borrowed */
struct config *
config_stop(struct config *c); /* joins; the last world stays published and is the caller's: publish_swap(slot, NULL) */
