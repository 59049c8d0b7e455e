/* SPDX-License-Identifier: GPL-3.0-or-later
 * limits.h - every bound of the proxy room, with the reason for its size (DESIGN rule 7)
 *
 * At a bound we slow down (stop reading, stop accepting) or refuse with a counter; nothing here ever aborts. */
#pragma once

#include <ringwall/base/clock.h>

enum {
    /* Bytes. Towards a tunnel a flow holds at most its queue's high mark (512 KiB while the tunnel is quick) and what one receive
     * trigger of the ring brings on top. From a tunnel it holds at most its stream's window: 256 KiB, and up to 4 MiB as long as
     * its reader is quick (h2_window.c). What all windows have above 256 KiB is bounded together (WINDOWS_SHARE), and gone while
     * buffers run short. Bytes kept by reference may pin up to four times their size in chunks (BUF_SHARE_MIN). */
    FLOW_QUEUE_HIGH = 128 * 1024, /* an application is not read while the other leg holds this much; it is again below half of it */
    FLOW_QUEUE_DOUBLED_MAX = 2,   /* times that the mark may double, to 512 KiB, for a leg that is quick */
    FLOW_QUICK_US = 2000,         /* half a queue in so little time is quick: 32 MB/s */
    FLOW_SLOW_US = 50000,         /* and in more than this, slow: the mark is as at first again */
    FLOW_QUEUE_PRESSED = 16 * 1024,               /* the high mark while the worker's buffers run short */
    TUNNEL_OUT_HIGH = 256 * 1024,                 /* ciphertext waiting for the socket; above it streams are not drained */
    TUNNEL_OUT_MAX = TUNNEL_OUT_HIGH + 64 * 1024, /* more is answers (KeyUpdate) that a peer asks for and does not read */
    TUNNEL_IN_MAX = 256 * 1024,                   /* ciphertext waiting for a handshake's turn; more is no honest peer */
    TUNNEL_DRAIN_BYTES = 128 * 1024,              /* HTTP/2 frames made at once, before they are encrypted */
    WINDOWS_SHARE = 4,                            /* streams' windows may grow by a quarter of the buffers, all together */

    /* Counts */
    TUNNEL_FLOWS_MAX = 100,   /* flows of one tunnel; the next flow opens another one */
    TUNNELS_PER_HOP_MAX = 64, /* tunnels of one pod to one address */
    TUNNELS_MAX = 32768,      /* of a worker */
    POD_SHARE = 2,            /* while there are other pods, one may hold this many times what is left free: two thirds of all */
    TUNNEL_LATE_BYTES = 16 * 1024 * 1024, /* read after a tunnel's end was said; more than a peer that heard it had on the way */
    FLOW_TUNNELS_MAX = 3,                 /* tunnels that a flow sees lost before it gives up their endpoint */
    FLOWS_DEFAULT_MIN = 1024,             /* bounds of the automatic limit on flows */
    FLOWS_DEFAULT_MAX = 262144,
    FLOW_BYTES_ESTIMATE = 16384, /* for that limit: a flow with its share of TLS, HTTP/2 and a chunk now and then */
    BUFFERS_DEFAULT_MIN = 1024,  /* chunks: 16.5 MiB */
    BUFFERS_DEFAULT_MAX = 65536,
    SOURCES_TRACKED = 4096,     /* source addresses whose handshakes are counted */
    WORKER_MAILBOX_MAX = 16384, /* messages */
    REPORT_ROWS_MAX = 20000,    /* flows or tunnels shown in one answer */

    /* Work of one turn */
    HANDSHAKE_STEPS_PER_TURN = 8, /* each may cost a millisecond of public-key work */
    JUDGE_PER_TURN = 256,
    TUNNELS_JUDGED_PER_TURN = 256,
    MAIL_PER_TURN = 256,
    HOPS_SWEPT_PER_TICK = 256,
    AWAKE_TURNS = 10, /* of AWAKE_PERIOD_NS, that moved something: messages come often */
    TRIM_TICKS = 2,   /* between looks at memory that is not used: what closed connections held is gone after two of them */

    /* The ring */
    RING_ENTRIES = 1024,
    RING_RECV_BUFFERS = 256,
    RING_RECV_BUFFER_BYTES = 16 * 1024,
};

/* Times */
#define PARK_NS (5 * NS_PER_S)            /* a flow or tunnel waits for a certificate */
#define CONNECT_NS (10 * NS_PER_S)        /* TCP connect, to an application or a peer */
#define HANDSHAKE_NS (10 * NS_PER_S)      /* TLS, from the first byte allowed */
#define TUNNEL_WAIT_NS (25 * NS_PER_S)    /* a flow waits for its tunnel; more than its two deadlines */
#define TUNNEL_PATIENCE_NS (1 * NS_PER_S) /* for a tunnel, or a plain connect, while there is another endpoint; x4 a round */
#define REPLY_PATIENCE_NS (2 * NS_PER_S)  /* for the answer to CONNECT, likewise: the far connect's second SYN has come by then */
#define FLOW_TRIES_NS (30 * NS_PER_S)     /* after this a flow begins no further attempt */
#define REPLY_NS (15 * NS_PER_S)          /* the answer to CONNECT */
#define FIRST_REQUEST_NS (30 * NS_PER_S)  /* an inbound tunnel without any request */
#define TUNNEL_IDLE_NS (60 * NS_PER_S)    /* an outbound tunnel without flows */
#define TUNNEL_SPARE_NS (3 * NS_PER_S)    /* one of several to the same address, which a crowd needed */
#define PEER_IDLE_NS (600 * NS_PER_S)     /* an inbound one; its owner decides first */
#define TUNNEL_TICK_NS (10 * NS_PER_S)    /* between PINGs */
#define TUNNEL_DEAD_NS (20 * NS_PER_S)    /* no sign of life after a PING */
#define TUNNEL_PAST_CERT_S (5 * 60 - 15)  /* a tunnel past a certificate's end; with tick and flush within five minutes */
#define TUNNEL_FLUSH_NS (2 * NS_PER_S)    /* GOAWAY, alert and close_notify */
#define TUNNEL_CROSSING_NS (2 * NS_PER_S) /* a retired inbound tunnel takes requests that crossed its GOAWAY for so long */
#define TUNNEL_LINGER_NS (30 * NS_PER_S)  /* after an orderly end, for the peer to take its last bytes and close too */
#define TUNNEL_CUT_NS (500 * NS_PER_MS)   /* all that is left of both when a drain's time is over */
#define FLOW_FLUSH_NS (2 * NS_PER_S)      /* bytes that came before a reset */
#define HALF_CLOSED_WATCH_NS (200 * NS_PER_MS) /* half-closed for so long: watched for a reset. Most have ended by then */
#define HALF_CLOSED_NS (3600 * NS_PER_S)       /* one direction ended, and the other carries nothing */
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)      /* after EMFILE and its like */
#define BACK_OFF_NS (100 * NS_PER_MS)          /* of a hop, first; doubles */
#define BACK_OFF_MAX_NS (2 * NS_PER_S)
#define WORKER_TICK_NS (1 * NS_PER_S)
#define WORKER_WAIT_NS (200 * NS_PER_MS)  /* longest wait: a new world is noticed without a message too */
#define AWAKE_PERIOD_NS (100 * NS_PER_MS) /* between looks at whether messages still come often */
#define CREDENTIAL_ASK_NS (1 * NS_PER_S)  /* between two requests for the same identity */
