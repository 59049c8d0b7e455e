/* SPDX-License-Identifier: GPL-3.0-or-later
 * main.c - the daemon's command line: a table of commands, their options, their help */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/heap.h>

#include "app.h"

extern const char *malloc_conf;
const char *malloc_conf = HEAP_CONF;

static int version_of(const char *path) {
    (void)path;
    return version_command();
}

static const struct command {
    const char *name;
    int (*run)(const char *config_path);
    const char *help;
} commands[] = {
    {"run", run_command, "run the daemon in the foreground"},
    {"check", check_command, "read the node file and the mesh directory, print every error and warning"},
    {"version", version_of, "print version, libraries and the code paths of the cryptography"},
};

static void usage(FILE *to) {
    fprintf(to, "usage: ringwall COMMAND [-c FILE]\n\nA node-level L4 mTLS proxy: one daemon a node.\n\n");
    for (size_t i = 0; i < array_size(commands); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n  -c, --config FILE   the node file (default " NODE_CONFIG_PATH ")\n"
                "  -h, --help          this text\n      --version       what `version` prints\n\nringwallctl asks a running daemon "
                "and works on mesh and CA directories.\n");
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
    const char *config_path = NULL;
    int opt;
    while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (opt == 'c')
            config_path = optarg;
        else if (opt == 'V')
            return version_command();
        else if (opt == 'h') {
            usage(stdout);
            return 0;
        } else {
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc && !strcmp(argv[optind], "help")) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; optind < argc && i < array_size(commands); i++)
        if (!strcmp(argv[optind], commands[i].name)) {
            if (optind + 1 == argc)
                return commands[i].run(config_path);
            fprintf(stderr, "ringwall: '%s' is one word too many; see ringwall --help\n", argv[optind + 1]);
            return 2;
        }
    if (optind < argc)
        fprintf(stderr, "ringwall: no command '%s'; see ringwall --help\n", argv[optind]);
    else
        usage(stderr);
    return 2;
}
