/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/cert_view.h - a certificate (or request) taken apart, borrowing its bytes (private to the room)
 *
 * The only parser of certificates that decides anything: the library has one of its own for the handshake's key, but its
 * opinion of names, usages and chains is not asked. */
#pragma once

#include <ringwall/tls/cert.h>

#include "crypto.h"

enum {
    KEY_USAGE_DIGITAL_SIGNATURE = 1 << 0,
    KEY_USAGE_KEY_ENCIPHERMENT = 1 << 2,
    KEY_USAGE_CERT_SIGN = 1 << 5,
    KEY_USAGE_CRL_SIGN = 1 << 6
};

/* Extensions of a certificate or of a request; each at most once. */
struct extensions {
    bool unknown_critical; /* one that we may not ignore and do not understand */
    bool has_basic, is_ca, has_path_len;
    unsigned path_len;
    bool has_key_usage;
    unsigned key_usage;
    bool has_eku, server_auth, client_auth;
    bool has_san, has_constraints, has_ski, has_aki;
    struct der san;         /* GeneralNames, contents */
    struct der constraints; /* NameConstraints, contents */
    struct der ski, aki;    /* key identifiers; empty when there is none */
};
/* `list`: contents of the SEQUENCE OF Extension. */
bool extensions_read(struct der list, struct extensions *ret) must_check;

/* Names of type URI in GeneralNames, counted; ret_first is the first one's bytes. False: malformed. */
bool san_uris(struct der san, unsigned *ret_n, struct str *ret_first) must_check;

struct cert_view {
    struct der whole, tbs;      /* both with tag and length */
    struct der serial;          /* without leading zeros */
    struct der issuer, subject; /* Name, with tag and length: compared as bytes */
    int64_t not_before, not_after;
    struct public_key key;
    struct extensions x;
    enum signature_kind signature_kind;
    struct der signature;
    unsigned n_uri;
    struct str uri; /* the first */
};
bool cert_view_read(const uint8_t *der, size_t n, struct cert_view *ret) must_check;

/* One attribute of a Name by its OID's last byte (2.5.4.x). False: absent, twice, too long, or not printable. */
enum { NAME_CN = 3, NAME_O = 10 };
bool name_attribute(struct der name, uint8_t attribute, char *to, size_t cap);
bool name_has(struct der name, uint8_t attribute);
void name_format(struct der name, struct text *to);
