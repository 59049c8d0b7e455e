/* SPDX-License-Identifier: GPL-3.0-or-later
 * main.c - ringwallctl: a table of commands, and the way from the command line to one of them */
#include <stdlib.h>

#include <ringwall/config/node_config.h>

#include "ctl.h"

static const struct command commands[] = {
    {"status", "", "what the daemon does, what is wrong, and where: file:line:column",
     "example: ringwallctl status\n  the errors of a refused mesh directory stand at the end, each with what to write instead", 0,
     0, status_command},
    {"workloads", "", "the workloads of the world in force", "example: ringwallctl workloads -o json", 0, 0, workloads_command},
    {"services", "", "services, their addresses and endpoints", "example: ringwallctl services", 0, 0, services_command},
    {"policies", "", "AuthorizationPolicies and PeerAuthentications, and how many workloads each binds",
     "example: ringwallctl policies", 0, 0, policies_command},
    {"certs", "", "certificates of this node's identities: state, validity, next rotation", "example: ringwallctl certs", 0, 0,
     certs_command},
    {"connections", "", "open connections: who talks to whom, and how",
     "example: ringwallctl connections -o json | jq '.[].src.identity'", 0, 0, connections_command},
    {"denials", "", "the last 1,000 denied connections: who, where, and which line of which file denied it",
     "example: ringwallctl denials -o json | jq -r '.[] | [.src.identity, .policy, .rule, .at] | @tsv'", 0, 0, denials_command},
    {"capture", "", "captured workloads and the counters of the kernel programs", "example: ringwallctl capture", 0, 0,
     capture_command},
    {"capture detach", "[-c NODE_FILE | --bpffs DIR --node NAME]",
     "remove capture from the kernel: workloads are no longer in the mesh, their traffic passes in plaintext",
     "example: ringwallctl capture detach -c /etc/ringwall/ringwall.yaml\n  without options the node file is " NODE_CONFIG_PATH
     "; exit 1 when nothing of that node is pinned",
     CTL_BIT(CTL_CONFIG) | CTL_BIT(CTL_BPFFS) | CTL_BIT(CTL_NODE), 0, capture_detach_command},
    {"authz check", "[--mesh DIR [-c NODE_FILE]] --source ID|none [--source-ip IP] --to WORKLOAD|IP --port N",
     "may this source connect there, and which line of which file decides? Exit 0 allow, 3 deny, 1 invalid mesh, 2 not found",
     "example: ringwallctl authz check --mesh mesh.d --source spiffe://cluster.local/ns/default/sa/client --source-ip 10.0.0.7 \\\n"
     "           --to default/server --port 8080",
     CTL_BIT(CTL_MESH) | CTL_BIT(CTL_CONFIG) | CTL_BIT(CTL_SOURCE) | CTL_BIT(CTL_SOURCE_IP) | CTL_BIT(CTL_TO) | CTL_BIT(CTL_PORT),
     0, authz_check_command},
    {"authn tls-check", "[--mesh DIR [-c NODE_FILE]] --to WORKLOAD|IP [--port N]",
     "the mutual TLS mode in force for a workload, and the object that set it",
     "example: ringwallctl authn tls-check --mesh mesh.d --to default/server --port 8080",
     CTL_BIT(CTL_MESH) | CTL_BIT(CTL_CONFIG) | CTL_BIT(CTL_TO) | CTL_BIT(CTL_PORT), 0, tls_check_command},
    {"policy diff", "DIR [-c NODE_FILE]",
     "what would change if the daemon used this mesh directory: open and recent connections newly denied or allowed",
     "example: ringwallctl lint new.d && ringwallctl policy diff new.d\n  trust domain, aliases and root namespace are the "
     "daemon's, "
     "or those of NODE_FILE",
     CTL_BIT(CTL_CONFIG), 1, policy_diff_command},
    {"lint", "DIR [-c NODE_FILE]", "check a mesh directory without a daemon: file:line:col: error|warning: text",
     "example: ringwallctl lint mesh.d && cp -r mesh.d /etc/ringwall/\n  trust domain, root namespace and the like are the "
     "defaults, or those of NODE_FILE; prints nothing when all is well",
     CTL_BIT(CTL_CONFIG), 1, lint_command},
    {"ca init", "--dir DIR [--trust-domain TD]", "make a root CA",
     "example: ringwallctl ca init --dir root-ca --trust-domain cluster.local\n  keep ca-key.pem offline; nodes need root-cert.pem "
     "only",
     CTL_BIT(CTL_DIR) | CTL_BIT(CTL_TRUST_DOMAIN), 0, ca_init_command},
    {"ca issue-node", "--dir DIR --node NAME --out DIR [--renew]",
     "make the signing certificate of one node, for ca.provider: files",
     "example: ringwallctl ca issue-node --dir root-ca --node node-1 --out node-1-ca\n  with --renew the daemon follows without a "
     "restart",
     CTL_BIT(CTL_DIR) | CTL_BIT(CTL_NODE) | CTL_BIT(CTL_OUT) | CTL_BIT(CTL_RENEW), 0, ca_issue_node_command},
    {"ca publish", "--dir DIR --out DIR", "copy roots and revocation lists of a CA directory to a node's; the daemon follows",
     "example: ringwallctl ca publish --dir root-ca --out node-1-ca", CTL_BIT(CTL_DIR) | CTL_BIT(CTL_OUT), 0, ca_publish_command},
    {"ca show", "--dir DIR", "what a CA directory holds, verified as the daemon would",
     "example: ringwallctl ca show --dir node-1-ca", CTL_BIT(CTL_DIR), 0, ca_show_command},
    {"ca verify", "--dir DIR FILE", "would a peer that trusts this CA directory accept the certificate chain in FILE?",
     "example: ringwallctl ca verify --dir node-1-ca leaf.pem", CTL_BIT(CTL_DIR), 1, ca_verify_command},
    {"ca revoke", "--dir DIR --serial HEX | --identity ID | --node NAME [--audit FILE]",
     "take certificates back: adds them to ca-crl.pem of the directory that issued them",
     "example: ringwallctl ca revoke --dir /var/lib/ringwall/ca --identity spiffe://cluster.local/ns/default/sa/client\n"
     "  identities are looked up in the directory's record, in the one beside the directory, and in FILE; every node whose\n"
     "  directory gets the new ca-crl.pem refuses them, on open connections too",
     CTL_BIT(CTL_DIR) | CTL_BIT(CTL_SERIAL) | CTL_BIT(CTL_IDENTITY) | CTL_BIT(CTL_NODE) | CTL_BIT(CTL_AUDIT), 0, ca_revoke_command},
    {"ca rollover status", "--dir DIR", "which step a root's rollover is at, and what is next",
     "example: ringwallctl ca rollover status --dir root-ca", CTL_BIT(CTL_DIR), 0, ca_rollover_status_command},
    {"ca rollover prepare", "--dir DIR", "make the next root and publish it beside the one in force",
     "example: ringwallctl ca rollover prepare --dir root-ca && ringwallctl ca publish --dir root-ca --out node-1-ca",
     CTL_BIT(CTL_DIR), 0, ca_rollover_prepare_command},
    {"ca rollover activate", "--dir DIR [--leaf-ttl TIME]", "sign with the next root from now on; all must trust it by now",
     "example: ringwallctl ca rollover activate --dir root-ca --leaf-ttl 24h\n  then, for each node: ringwallctl ca issue-node "
     "--renew",
     CTL_BIT(CTL_DIR) | CTL_BIT(CTL_LEAF_TTL), 0, ca_rollover_activate_command},
    {"ca rollover prune", "--dir DIR", "take the old root away, once no certificate below it can be valid",
     "example: ringwallctl ca rollover prune --dir root-ca && ringwallctl ca publish --dir root-ca --out node-1-ca",
     CTL_BIT(CTL_DIR), 0, ca_rollover_prune_command},
    {"ca audit verify", "FILE", "is the CA's record whole? Says which line was changed, swapped, or is missing",
     "example: ringwallctl ca audit verify /var/lib/ringwall/ca-audit.jsonl", 0, 1, ca_audit_verify_command},
    {"check", "[-c NODE_FILE]", "is this host able to run the daemon? Every failure prints its fix",
     "example: ringwallctl check\n  the node file is " NODE_CONFIG_PATH " unless -c names another", CTL_BIT(CTL_CONFIG), 0,
     check_command},
    {"log-level", "[error|warn|info|debug]", "show or set the daemon's log level", "example: ringwallctl log-level debug", 0, 1,
     log_level_command},
    {"drain", "", "let the daemon finish its connections and end", "example: ringwallctl drain", 0, 0, drain_command},
    {"dump", "", "everything the daemon knows, as JSON (no private keys)", "example: ringwallctl dump > ringwall-dump.json", 0, 0,
     dump_command},
};

static void usage(FILE *to) {
    fprintf(to, "usage: ringwallctl [-s SOCKET] [-o table|json] COMMAND ...\n\n"
                "Asks a running ringwall, and works on mesh and CA directories without one.\n\n");
    for (size_t i = 0; i < array_size(commands); i++)
        fprintf(to, "  %-20s %s\n", commands[i].name, commands[i].text);
    fprintf(to, "\n  -s, --socket SOCKET   the daemon's admin socket (default " CTL_SOCKET_DEFAULT ")\n"
                "  -o, --output FORM     table or json\n"
                "  -h, --help            this text; behind a command: its options and an example\n"
                "      --version         the version of this program\n");
}

/* The longest command whose words stand at argv; *ret_words: how many they are. */
static const struct command *find_command(int argc, char **argv, int *ret_words) {
    const struct command *found = NULL;
    *ret_words = 0;
    for (size_t i = 0; i < array_size(commands); i++) {
        struct str rest = str_of(commands[i].name), word;
        int n = 0;
        while (n < argc && str_split(&rest, ' ', &word) && str_is(word, str_of(argv[n])))
            n++;
        struct str again = str_of(commands[i].name);
        int n_all = 0;
        while (str_split(&again, ' ', &word))
            n_all++;
        if (n == n_all && n > *ret_words) {
            found = &commands[i];
            *ret_words = n;
        }
    }
    return found;
}

/* Do the first n words of the command line begin this command's name, and is there more of it? */
static bool is_in_group(const struct command *c, char **argv, int n) {
    struct str rest = str_of(c->name), word;
    for (int i = 0; i < n; i++)
        if (!str_split(&rest, ' ', &word) || !str_is(word, str_of(argv[i])))
            return false;
    return rest.n > 0;
}

/* "ca" or "ca rollover" alone: the commands that begin so, as a help text when that was asked for. */
static bool answer_half(int argc, char **argv, bool help, int *ret_code) {
    char asked[64], all[512];
    struct text words = TEXT_OVER(asked), t = TEXT_OVER(all);
    int n_words = 0, n = 0;
    for (; n_words < argc && argv[n_words][0] != '-'; n_words++)
        text_addf(&words, "%s%s", n_words ? " " : "", argv[n_words]);
    for (int i = n_words; i < argc; i++)
        help |= !strcmp(argv[i], "-h") || !strcmp(argv[i], "--help");
    for (size_t i = 0; n_words && i < array_size(commands); i++) {
        if (!is_in_group(&commands[i], argv, n_words))
            continue;
        text_addf(&t, "%s%s", n++ ? ", " : "", commands[i].name);
        if (help && n == 1)
            printf("usage: ringwallctl %s ...\n\n", asked);
        if (help)
            printf("  %-20s %s\n", commands[i].name, commands[i].text);
    }
    if (n && help)
        printf("\n  -h, --help           behind one of these: its options and an example\n");
    if (n > 1 && !help)
        complain("'%s' needs another word: %s", asked, all);
    *ret_code = help ? EXIT_DONE : EXIT_USAGE;
    return help ? n > 0 : n > 1;
}

/* The first n words of a text. */
static struct str words_of(struct str s, int n) {
    size_t end = 0;
    for (; end < s.n && (s.at[end] != ' ' || --n > 0); end++)
        ;
    return (struct str){s.at, end};
}

/* How far from a command's name are the words that were written? A name may lack its end ("conn", "ca rolover"), its beginning
 * ("tls-check"), or have another dash. */
static size_t distance_to(struct str asked, struct str name) {
    int n_asked = 1, n_name = 1;
    for (size_t i = 0; i < asked.n; i++)
        n_asked += asked.at[i] == ' ';
    for (size_t i = 0; i < name.n; i++)
        n_name += name.at[i] == ' ';
    int n = min_of(n_asked, n_name);
    size_t d = min_of(str_distance(words_of(asked, n), words_of(name, n)), str_distance(asked, name));
    struct str first = words_of(asked, 1);
    bool is_end = name.n > first.n && name.at[name.n - first.n - 1] == ' ' &&
                  str_is(first, (struct str){name.at + name.n - first.n, first.n});
    return n_asked == 1 && str_has_prefix(name, asked) ? min_of(d, (size_t)1) : is_end ? min_of(d, (size_t)2) : d;
}

static int unknown_command(int argc, char **argv, bool help) {
    int code;
    if (answer_half(argc, argv, help, &code))
        return code;
    enum { WORDS = 3, FAR = 4 };
    char bytes[256];
    struct text asked = TEXT_OVER(bytes);
    for (int i = 0; i < min_of(argc, (int)WORDS) && argv[i][0] != '-'; i++)
        text_addf(&asked, "%s%s", i ? " " : "", argv[i]);
    const char *near = NULL;
    size_t best = min_of(asked.n / 2 + 1, (size_t)FAR);
    for (size_t i = 0; i < array_size(commands); i++) {
        size_t d = distance_to(text_str(&asked), str_of(commands[i].name));
        if (d < best) {
            best = d;
            near = commands[i].name;
        }
    }
    if (near)
        complain("no command '%s'; did you mean '%s'?", bytes, near);
    else
        complain("no command '%s'; see ringwallctl --help", bytes);
    return EXIT_USAGE;
}

/* -s and -o may stand before the command too: moves *at behind them. */
static bool leading_options(int argc, char **argv, int *at, struct command_line *line) {
    while (*at < argc && argv[*at][0] == '-' && argv[*at][1]) {
        int n = strlen(argv[*at]) == 2 || (argv[*at][1] == '-' && !strchr(argv[*at], '=')) ? 2 : 1;
        if (!strcmp(argv[*at], "-h") || !strcmp(argv[*at], "--help"))
            n = 1;
        if (!options_parse(NULL, min_of(n, argc - *at), argv + *at, line))
            return false;
        *at += n;
    }
    return true;
}

int main(int argc, char **argv) {
    struct command_line line = {0};
    int at = 1, n_words;
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        printf("ringwallctl %s\n", RINGWALL_VERSION);
        return EXIT_DONE;
    }
    if (!leading_options(argc, argv, &at, &line))
        return EXIT_USAGE;
    if (at < argc && !strcmp(argv[at], "help")) {
        line.help = true;
        at++;
    }
    if (at >= argc) {
        usage(line.help ? stdout : stderr);
        return line.help ? EXIT_DONE : EXIT_USAGE;
    }
    const struct command *c = find_command(argc - at, argv + at, &n_words);
    if (!c)
        return unknown_command(argc - at, argv + at, line.help);
    line.command = c;
    if (!options_parse(c, argc - at - n_words, argv + at + n_words, &line) || !options_are_valid(&line))
        return EXIT_USAGE;
    if (line.help) {
        command_help(c, stdout);
        return EXIT_DONE;
    }
    if (!line.options[CTL_SOCKET])
        line.options[CTL_SOCKET] = CTL_SOCKET_DEFAULT;
    int code = c->run(&line);
    /* A full disk or a closed pipe must not look like a complete answer. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("cannot write the answer");
        return code == EXIT_DONE ? EXIT_FAILED : code;
    }
    return code;
}
