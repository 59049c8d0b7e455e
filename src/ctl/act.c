/* SPDX-License-Identifier: GPL-3.0-or-later
 * act.c - what changes something: the daemon's log level, its end, and the removal of capture */
#include <string.h>

#include <ringwall/capture/capture.h>
#include <ringwall/config/node_config.h>

#include "client.h"
#include "ctl.h"
#include "mesh.h"
#include "show.h"

static int post(const struct command_line *l, const char *target) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!client_ask(l->options[CTL_SOCKET], "POST", target, &a))
        return EXIT_FAILED;
    if (a.status != 200) {
        complain(STR_FMT, STR_ARG(a.body));
        return EXIT_FAILED;
    }
    return show_json(&a);
}

int log_level_command(const struct command_line *l) {
    struct growing target cleanup(growing_deinit) = GROWING_NULL;
    growing_add(&target, STR("/logging"));
    if (l->n_words > 0)
        client_add_query(&target, "level", l->words[0]);
    return target.failed ? EXIT_FAILED : post(l, target.at);
}

int drain_command(const struct command_line *l) { return post(l, "/quitquitquit"); }

int dump_command(const struct command_line *l) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    return show_ask(l, "/config_dump", &a) ? show_json(&a) : EXIT_FAILED;
}

static int detach(const struct command_line *l, const char *bpffs, const char *node) {
    char why[CAPTURE_WHY_BYTES] = "";
    int r = capture_detach_all(bpffs, node, why);
    if (r < 0) {
        complain("%s", why[0] ? why : strerror(-r));
        return EXIT_FAILED;
    }
    if (r == CAPTURE_NOTHING) { /* a misspelt name must not look like success */
        complain("capture of node %s: %s; if the daemon captured here, node or capture.bpffs were others", node, why);
        return EXIT_FAILED;
    }
    if (wants_json(l)) { /* a name that was found has no letter that JSON would escape */
        printf("{\"node\":\"%s\",\"removed\":true}\n", node);
        return EXIT_DONE;
    }
    printf("capture of node %s is removed from the kernel: its workloads are outside the mesh until the daemon is started again\n"
           "(one that still runs says so, is not ready, and does not put it back)\n",
           node);
    return EXIT_DONE;
}

int capture_detach_command(const struct command_line *l) {
    const char *bpffs = l->options[CTL_BPFFS], *node = l->options[CTL_NODE];
    if (l->options[CTL_CONFIG] && (bpffs || node)) {
        complain("capture detach: give the node file, or --bpffs and --node, not both");
        return EXIT_USAGE;
    }
    if (bpffs && node)
        return detach(l, bpffs, node);
    if (bpffs || node) {
        complain("capture detach needs --bpffs and --node together");
        return EXIT_USAGE;
    }
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    cleanup(node_config_freep) struct node_config *c = NULL;
    int r = node_config_load(l->options[CTL_CONFIG], &diags, &c);
    if (r != 0) {
        print_diags(&diags, stderr);
        complain("the node file cannot be read%s%s; name what to remove with --bpffs DIR --node NAME", r < 0 ? ": " : "",
                 r < 0 ? strerror(-r) : "");
        return EXIT_FAILED;
    }
    return detach(l, c->capture.bpffs.at, c->world.node.at);
}
