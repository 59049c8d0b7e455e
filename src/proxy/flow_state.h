/* SPDX-License-Identifier: GPL-3.0-or-later
 * flow_state.h - the states of a flow, each named by what it waits for
 *
 * FLOW_STATE(name, word, time limit in ns (0: none), allowed successors) */
/* clang-format off */
#define B(name) (1u << FLOW_##name)
FLOW_STATE(NEW,          "new",           0,              B(PARKED) | B(WAIT_TUNNEL) | B(WAIT_CONNECT) | B(ENDING))
FLOW_STATE(PARKED,       "certificate",   PARK_NS,        B(PARKED) | B(WAIT_TUNNEL) | B(WAIT_CONNECT) | B(ENDING))
FLOW_STATE(WAIT_TUNNEL,  "tunnel",        TUNNEL_WAIT_NS, B(PARKED) | B(WAIT_TUNNEL) | B(WAIT_CONNECT) | B(WAIT_REPLY) | B(ENDING))
FLOW_STATE(WAIT_REPLY,   "reply",         REPLY_NS,       B(PARKED) | B(WAIT_TUNNEL) | B(WAIT_CONNECT) | B(RELAY) | B(ENDING))
FLOW_STATE(WAIT_CONNECT, "connect",       CONNECT_NS,     B(PARKED) | B(WAIT_TUNNEL) | B(WAIT_CONNECT) | B(RELAY) | B(ENDING))
FLOW_STATE(RELAY,        "relay",         0,              B(FLUSH) | B(ENDING))
FLOW_STATE(FLUSH,        "flush",         FLOW_FLUSH_NS,  B(ENDING))
FLOW_STATE(ENDING,       "ending",        0,              0)
#undef B
/* clang-format on */
