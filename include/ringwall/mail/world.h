/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/world.h - config tells others that a world was published (they read it from the slot) */
#pragma once

#include <stdlib.h>

#include <ringwall/base/mailbox.h>

struct mail_world {
    struct mail mail;
    uint64_t number;
};
extern const struct mail_type mail_world_type;
struct mail_world *mail_world_new(uint64_t number); /* NULL: no memory */
