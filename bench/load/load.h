/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/load/load.h - what both ends of the load generator agree on, and the settings of the client
 *
 * A client begins each connection with a struct load_head that says what the server shall do with it; so one server on one
 * port serves every scenario, and a proxy between them sees plain bytes. */
#pragma once

#include <ringwall/model/addr.h>
#include <ringwall/ring/ring.h>

#include "hist.h"

enum load_kind {
    LOAD_SINK = 1,    /* the client sends, the server reads */
    LOAD_SOURCE = 2,  /* the server sends */
    LOAD_BOTH = 3,    /* both send */
    LOAD_REQUEST = 4, /* each `size` bytes are answered with as many */
    LOAD_CONNECT = 5, /* one byte is answered with one, then the server closes */
};
struct load_head {
    char magic[8]; /* "rw-load\n" */
    uint32_t kind, size;
};
#define LOAD_MAGIC "rw-load\n"
enum {
    LOAD_CHUNK = 256 * 1024, /* offered to the kernel in one send */
    LOAD_REQUEST_MAX = 64 * 1024,
    LOAD_CONNS_MAX = 65536,
    LOAD_SHAKES_MAX = 1024,
};

struct load_client {
    struct endpoint to[16]; /* connections take them in turn */
    size_t n_to;
    enum load_kind kind;
    unsigned conns;
    uint32_t size;
    double rate; /* requests or connections a second over all; 0: each connection goes on as soon as it can */
    double warmup_s, seconds;
    bool idle;     /* after one request each: hold until stdin ends */
    unsigned slow; /* so many of the first connections do not read (LOAD_SOURCE) */
};

struct load_shakes {
    struct endpoint to;
    const char *chain, *key, *roots; /* PEM files of the client's certificate, leaf first, and of whom it believes */
    unsigned conns;
    double warmup_s, seconds;
};

int load_serve(const struct endpoint *at, size_t n); /* until stdin ends; 0, or 1 after a word on stderr */
int load_run(const struct load_client *o);           /* prints one JSON object; 0, or 1 after a word on stderr */
int load_shake(const struct load_shakes *o);         /* likewise */
void load_print_latency(const struct hist *h);       /* as a member of a JSON object */
struct ring *load_ring(void);                        /* ends the program when there is none */
extern uint8_t load_bytes[LOAD_CHUNK];               /* what is sent: not compressible, the same each time */
void load_bytes_init(void);                          /* once, before they are sent */
