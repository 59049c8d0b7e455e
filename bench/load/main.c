/* SPDX-License-Identifier: GPL-3.0-or-later
 * main.c - ringwall-load: both ends of the bench's load, as one program
 *
 *   ringwall-load serve ADDRESS:PORT...
 *   ringwall-load run --to ADDRESS:PORT [--to ...] --kind sink|source|both|request|connect [--conns N] [--size BYTES]
 *                     [--rate PER_SECOND] [--warmup S] [--seconds S] [--idle] [--slow N]
 *   ringwall-load shake --to ADDRESS:PORT --chain FILE --key FILE --roots FILE [--conns N] [--warmup S] [--seconds S] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "load.h"

static int usage(void) {
    fputs("usage: ringwall-load serve ADDRESS:PORT...\n"
          "       ringwall-load run --to ADDRESS:PORT --kind sink|source|both|request|connect [--conns N] [--size BYTES]\n"
          "                         [--rate PER_SECOND] [--warmup S] [--seconds S] [--idle] [--slow N]\n"
          "       ringwall-load shake --to ADDRESS:PORT --chain FILE --key FILE --roots FILE [--conns N] [--warmup S] [--seconds "
          "S]\n",
          stderr);
    return 2;
}

static bool kind_of(const char *word, enum load_kind *ret) {
    static const char *const words[] = {[LOAD_SINK] = "sink",
                                        [LOAD_SOURCE] = "source",
                                        [LOAD_BOTH] = "both",
                                        [LOAD_REQUEST] = "request",
                                        [LOAD_CONNECT] = "connect"};
    for (unsigned i = 1; i < array_size(words); i++)
        if (!strcmp(word, words[i])) {
            *ret = (enum load_kind)i;
            return true;
        }
    return false;
}

static int run(int argc, char **argv) {
    static const struct option options[] = {{"to", 1, NULL, 't'},      {"kind", 1, NULL, 'k'}, {"conns", 1, NULL, 'c'},
                                            {"size", 1, NULL, 's'},    {"rate", 1, NULL, 'r'}, {"warmup", 1, NULL, 'w'},
                                            {"seconds", 1, NULL, 'S'}, {"idle", 0, NULL, 'i'}, {"slow", 1, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    struct load_client o = {.conns = 1, .size = 64, .warmup_s = 0.5, .seconds = 2};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 't':
            if (o.n_to == array_size(o.to) || !endpoint_parse(str_of(optarg), &o.to[o.n_to++]))
                return usage();
            break;
        case 'k':
            if (!kind_of(optarg, &o.kind))
                return usage();
            break;
        case 'c':
            o.conns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            o.size = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            o.rate = strtod(optarg, NULL);
            break;
        case 'w':
            o.warmup_s = strtod(optarg, NULL);
            break;
        case 'S':
            o.seconds = strtod(optarg, NULL);
            break;
        case 'i':
            o.idle = true;
            break;
        case 'l':
            o.slow = (unsigned)strtoul(optarg, NULL, 10);
            break;
        default:
            return usage();
        }
    }
    bool fits = o.n_to > 0 && o.kind != 0 && o.conns > 0 && o.conns <= LOAD_CONNS_MAX && o.size > 0 && o.size <= LOAD_REQUEST_MAX &&
                o.seconds > 0 && o.rate >= 0;
    return fits && optind == argc ? load_run(&o) : usage();
}

static int shake(int argc, char **argv) {
    static const struct option options[] = {{"to", 1, NULL, 't'},      {"chain", 1, NULL, 'C'}, {"key", 1, NULL, 'k'},
                                            {"roots", 1, NULL, 'r'},   {"conns", 1, NULL, 'c'}, {"warmup", 1, NULL, 'w'},
                                            {"seconds", 1, NULL, 'S'}, {NULL, 0, NULL, 0}};
    struct load_shakes o = {.conns = 16, .warmup_s = 0.5, .seconds = 2};
    bool has_to = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 't':
            has_to = endpoint_parse(str_of(optarg), &o.to);
            break;
        case 'C':
            o.chain = optarg;
            break;
        case 'k':
            o.key = optarg;
            break;
        case 'r':
            o.roots = optarg;
            break;
        case 'c':
            o.conns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            o.warmup_s = strtod(optarg, NULL);
            break;
        case 'S':
            o.seconds = strtod(optarg, NULL);
            break;
        default:
            return usage();
        }
    }
    bool fits = has_to && o.chain && o.key && o.roots && o.conns > 0 && o.conns <= LOAD_SHAKES_MAX && o.seconds > 0;
    return fits && optind == argc ? load_shake(&o) : usage();
}

int main(int argc, char **argv) {
    load_bytes_init();
    prctl(PR_SET_TIMERSLACK, 1UL); /* requests leave when they are due, not when timers are convenient */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc >= 2 && !strcmp(argv[1], "run"))
        return run(argc - 1, argv + 1);
    if (argc >= 2 && !strcmp(argv[1], "shake"))
        return shake(argc - 1, argv + 1);
    if (argc < 3 || strcmp(argv[1], "serve"))
        return usage();
    struct endpoint at[16];
    size_t n = 0;
    for (int i = 2; i < argc; i++)
        if (n == array_size(at) || !endpoint_parse(str_of(argv[i]), &at[n++]))
            return usage();
    return load_serve(at, n);
}
