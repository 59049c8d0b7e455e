/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_state.h - the states of a tunnel, each named by what it waits for
 *
 * TUNNEL_STATE(name, word, time limit in ns (0: none), allowed successors) */
/* clang-format off */
#define B(name) (1u << TUNNEL_##name)
TUNNEL_STATE(NEW,       "new",         0,               B(PARKED) | B(CONNECT) | B(HANDSHAKE) | B(JOIN))
TUNNEL_STATE(PARKED,    "certificate", PARK_NS,         B(HANDSHAKE) | B(JOIN))
TUNNEL_STATE(CONNECT,   "connect",     CONNECT_NS,      B(HANDSHAKE) | B(JOIN))
TUNNEL_STATE(HANDSHAKE, "handshake",   HANDSHAKE_NS,    B(OPEN) | B(FLUSH) | B(JOIN))
TUNNEL_STATE(OPEN,      "open",        0,               B(FLUSH) | B(JOIN))
TUNNEL_STATE(FLUSH,     "flush",       TUNNEL_FLUSH_NS, B(JOIN))
TUNNEL_STATE(JOIN,      "join",        0,               0)
#undef B
/* clang-format on */
