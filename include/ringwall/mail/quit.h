/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/quit.h - admin tells main that someone asked to drain and end */
#pragma once

#include <ringwall/base/mailbox.h>

struct mail_quit {
    struct mail mail;
};
extern const struct mail_type mail_quit_type;
struct mail_quit *mail_quit_new(void); /* NULL: no memory */
