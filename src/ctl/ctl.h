/* SPDX-License-Identifier: GPL-3.0-or-later
 * ctl.h - ringwallctl's private words: the command table, what the command line said, exit codes (DESIGN 7)
 *
 * One short-lived process with one thread. stdout holds answers only; everything else goes to stderr. */
#pragma once

#include <stdio.h>

#include <ringwall/base/str.h>

enum ctl_exit { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DENIED = 3 };
#define CTL_SOCKET_DEFAULT "/run/ringwall/admin.sock"

/* Every option that some command takes; a command names those it takes by mask. X(upper, name, letter or 0, argument or NULL for a
 * switch, help) */
#define CTL_OPTIONS(X) \
    X(SOCKET, "socket", 's', "SOCKET", "the daemon's admin socket (default " CTL_SOCKET_DEFAULT ")") \
    X(OUTPUT, "output", 'o', "FORM", "table or json (default table)") \
    X(CONFIG, "config", 'c', "NODE_FILE", "the node file") \
    X(MESH, "mesh", 0, "DIR", "judge by this mesh directory, with no daemon") \
    X(SOURCE, "source", 0, "ID", "who connects: spiffe://... or none (plaintext)") \
    X(SOURCE_IP, "source-ip", 0, "IP", "where from") \
    X(TO, "to", 0, "WORKLOAD", "namespace/name or an address of the workload") \
    X(PORT, "port", 0, "N", "the workload's port") \
    X(DIR, "dir", 0, "DIR", "the CA directory") \
    X(TRUST_DOMAIN, "trust-domain", 0, "TD", "trust domain of a new root (default cluster.local)") \
    X(NODE, "node", 0, "NAME", "name of the node") \
    X(OUT, "out", 0, "DIR", "where to write") \
    X(RENEW, "renew", 0, NULL, "replace the certificate that is there, with a new key and the roots of now") \
    X(SERIAL, "serial", 0, "HEX", "serial number of a certificate, as ringwallctl certs shows it") \
    X(IDENTITY, "identity", 0, "ID", "every certificate on record for this spiffe://... identity that is not over yet") \
    X(AUDIT, "audit", 0, "FILE", "a record to look in besides the directory's own") \
    X(LEAF_TTL, "leaf-ttl", 0, "TIME", "the longest life of a leaf that the nodes give (their ca.ttl), such as 24h; default 90d") \
    X(BPFFS, "bpffs", 0, "DIR", "where the pins are, as capture.bpffs in the node file")

enum ctl_option {
#define CTL_OPTION_ENUM(upper, name, letter, argument, help) CTL_##upper,
    CTL_OPTIONS(CTL_OPTION_ENUM)
#undef CTL_OPTION_ENUM
        _CTL_OPTION_MAX
};
#define CTL_BIT(o) (1u << (o))

enum { CTL_WORDS_MAX = 4 };
struct command;
struct command_line {
    const struct command *command;
    const char *options[_CTL_OPTION_MAX]; /* NULL: not given */
    const char *words[CTL_WORDS_MAX];     /* what is neither command nor option */
    size_t n_words;
    bool help;
};
struct command {
    const char *name;                            /* "authz check" */
    const char *synopsis;                        /* of its words and options */
    const char *text;                            /* one line */
    const char *example;                         /* whole lines for --help, with what they mean; NULL: none */
    unsigned takes;                              /* CTL_BIT of its options, beside -s, -o and -h, which every command takes */
    size_t n_words;                              /* at most */
    int (*run)(const struct command_line *line); /* an exit code */
};
void command_help(const struct command *c, FILE *to);

/* options.c: fills `ret` from argv behind the command. False: said why on stderr. */
bool options_parse(const struct command *c, int argc, char **argv, struct command_line *ret) must_check;
bool options_are_valid(const struct command_line *line) must_check; /* -o's form */
bool wants_json(const struct command_line *line);
bool options_need(const struct command_line *line, enum ctl_option o) must_check;
const char *ctl_option_name(enum ctl_option o);

/* Text of others (files, the daemon) on a terminal: control bytes become '?'. */
void put_text(FILE *to, struct str s);
void printf_like(1, 2) complain(const char *fmt, ...); /* one line on stderr, "ringwallctl: ..." */

/* The commands, by file. */
int status_command(const struct command_line *l) must_check;    /* status.c */
int workloads_command(const struct command_line *l) must_check; /* show.c */
int services_command(const struct command_line *l) must_check;
int policies_command(const struct command_line *l) must_check;
int certs_command(const struct command_line *l) must_check;
int connections_command(const struct command_line *l) must_check;
int denials_command(const struct command_line *l) must_check;
int capture_command(const struct command_line *l) must_check;
int authz_check_command(const struct command_line *l) must_check; /* explain.c */
int tls_check_command(const struct command_line *l) must_check;
int policy_diff_command(const struct command_line *l) must_check; /* diff.c */
int lint_command(const struct command_line *l) must_check;        /* mesh.c */
int ca_init_command(const struct command_line *l) must_check;     /* ca.c */
int ca_issue_node_command(const struct command_line *l) must_check;
int ca_show_command(const struct command_line *l) must_check;
int ca_verify_command(const struct command_line *l) must_check; /* ca_verify.c */
int ca_revoke_command(const struct command_line *l) must_check; /* ca_change.c */
int ca_publish_command(const struct command_line *l) must_check;
int ca_rollover_status_command(const struct command_line *l) must_check;
int ca_rollover_prepare_command(const struct command_line *l) must_check;
int ca_rollover_activate_command(const struct command_line *l) must_check;
int ca_rollover_prune_command(const struct command_line *l) must_check;
int ca_audit_verify_command(const struct command_line *l) must_check;
int check_command(const struct command_line *l) must_check;     /* check.c */
int log_level_command(const struct command_line *l) must_check; /* act.c */
int drain_command(const struct command_line *l) must_check;
int dump_command(const struct command_line *l) must_check;
int capture_detach_command(const struct command_line *l) must_check;
