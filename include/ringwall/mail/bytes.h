/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/bytes.h - encoded protobuf bytes and where to send the answer: all that the CA thread's mailbox takes */
#pragma once

#include <ringwall/base/mailbox.h>

struct mail_bytes {
    struct mail mail;
    uint8_t *bytes; /* owned */
    size_t n;
    struct mailbox *reply; /* a reference, owned; NULL in answers */
};
extern const struct mail_type mail_bytes_type;
struct mail_bytes *mail_bytes_new(uint8_t *bytes /* taken on success */, size_t n,
                                  struct mailbox *reply); /* takes a reference of reply */
