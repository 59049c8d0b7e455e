/* SPDX-License-Identifier: GPL-3.0-or-later
 * ready.c - readiness: a world is in force, every local workload is captured, every identity has its certificate */
#include <stdio.h>

#include "app.h"

void ready_init(struct ready *r) {
    *r = (struct ready){0};
    pthread_mutex_init(&r->lock, NULL);
}

bool ready_ask(void *context, char why[128]) {
    struct ready *r = context;
    pthread_mutex_lock(&r->lock);
    bool ready = false;
    if (r->draining)
        snprintf(why, 128, "draining");
    else if (!r->world)
        snprintf(why, 128, "no valid configuration yet");
    else if (r->n_enrolled < r->n_wanted)
        snprintf(why, 128, "%zu of %zu workloads captured", r->n_enrolled, r->n_wanted);
    else if (r->n_credentials < r->n_identities)
        snprintf(why, 128, "%zu of %zu certificates issued", r->n_credentials, r->n_identities);
    else {
        snprintf(why, 128, "ready");
        ready = true;
    }
    pthread_mutex_unlock(&r->lock);
    return ready;
}
