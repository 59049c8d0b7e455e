/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/credential_private.h - how a credential is put together */
#pragma once

#include <ringwall/tls/credential.h>

/* What tls_credential_new does once it has judged. Tests use it to play a peer with a bad certificate. */
int credential_assemble(struct tls_credential_spec *spec, const struct tls_peer *self, struct tls_credential **ret) must_check;
