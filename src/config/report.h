/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/report.h - what the config thread tells of its last loads: log lines, and the JSON of ASK_STATUS */
#pragma once

#include <ringwall/model/world.h>

struct report {
    uint64_t world;                                                    /* 0: none yet */
    int64_t loaded_ns, attempt_ns;                                     /* wall; 0: never */
    size_t n_files, n_workloads, n_services, n_policies, n_peer_auths; /* of that world */
    uint64_t n_attempts;    /* looks at the directory that ended, also those that found nothing new */
    bool refused;           /* the last attempt was */
    struct diag_list diags; /* of the last attempt */
};
#define REPORT_NULL ((struct report){0})
void report_deinit(struct report *r);

void report_taken(struct report *r, const struct world *w, size_t n_files, struct diag_list *diags); /* takes the list */
void report_refused(struct report *r, struct diag_list *diags);                                      /* takes the list */
void report_json(const struct report *r, struct growing *to);
