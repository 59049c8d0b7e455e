/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/config.c - see config/config.h
 *
 * One thread, one loop: mail, events of the directories, and a load when a burst of them has ended. A file that is being
 * written in place holds a load back until its writer closes it, CONFIG_DEBOUNCE_MAX_MS at most. Where inotify cannot
 * tell (no watch to be had, symlinks that lead away) the directories are looked at again from time to time; such a look
 * costs a stat a file and builds nothing when nothing changed. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/heap.h>
#include <ringwall/base/log.h>
#include <ringwall/base/thread.h>
#include <ringwall/config/config.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/world.h>

#include "loader.h"
#include "report.h"
#include "watch.h"

enum {
    CONFIG_MAIL_MAX = 256,
    LOOK_BLIND_MS = 2000,  /* between looks when a directory has no watch, or the last look failed */
    LOOK_LINKS_MS = 10000, /* between looks when symlinks may lead to where no watch is */
    OWED_MS = 20,          /* until a listener whose mailbox was full is told again */
    TRIM_MS = 1000,        /* after a load: its memory is given back, unless the next one begins before */
};

struct config {
    struct config_options options;
    struct mailbox **listeners;
    bool *owed; /* a listener that has not heard of the last world */
    struct mailbox *mailbox;
    struct mesh_loader *loader;
    struct watch *watch; /* NULL: the kernel gave none */
    struct report report;
    struct thread_background background;
    pthread_t thread;
    bool watched_all, watched_anew, has_links, look_failed; /* of the last look */
    bool looked;
    uint64_t first_event_ns, last_event_ns; /* of the burst that is going on; 0: none */
    uint64_t last_look_ns;
    uint64_t trim_ns; /* 0: nothing to give back */
};

/* The mesh directory itself may be renamed or linked into place: that is seen in its parent. */
static void parent_of(const char *dir, struct str *ret_parent, struct str *ret_name) {
    struct str s = str_of(dir);
    while (s.n > 1 && s.at[s.n - 1] == '/')
        s.n--;
    size_t n = s.n;
    while (n > 0 && s.at[n - 1] != '/')
        n--;
    *ret_name = (struct str){s.at + n, s.n - n};
    while (n > 1 && s.at[n - 1] == '/')
        n--;
    *ret_parent = n ? (struct str){s.at, n} : STR(".");
}

static int watch_dirs(void *context, const struct str *dirs, size_t n, bool has_links) {
    struct config *c = context;
    c->has_links = has_links;
    c->watched_all = false;
    if (!c->watch)
        return 0;
    struct str parent, name;
    parent_of(c->options.mesh.dir, &parent, &name);
    return err_trace(watch_set(c->watch, parent, name, dirs, n, &c->watched_all, &c->watched_anew));
}

static bool note_events(struct config *c) {
    if (!c->watch || !watch_drain(c->watch))
        return false;
    c->last_event_ns = clock_mono_ns();
    if (!c->first_event_ns)
        c->first_event_ns = c->last_event_ns;
    return true;
}

static bool is_quiet(void *context) {
    struct config *c = context;
    bool heard = note_events(c);
    return c->watch && c->watched_all && !c->watched_anew && !c->has_links && !heard;
}

static void tell_listeners(struct config *c) {
    for (size_t i = 0; i < c->options.n_listeners; i++) {
        if (!c->owed[i])
            continue;
        struct mail_world *m = mail_world_new(c->report.world);
        if (!m)
            return; /* owed still */
        int r = mailbox_post(c->listeners[i], &m->mail);
        c->owed[i] = r == 1; /* a closed one wants to hear no more */
        if (r)
            mail_free(&m->mail);
    }
}

static bool owes(const struct config *c) {
    for (size_t i = 0; i < c->options.n_listeners; i++)
        if (c->owed[i])
            return true;
    return false;
}

static void publish(struct config *c, struct world *w, struct diag_list *diags) {
    report_taken(&c->report, w, mesh_n_files(c->loader), diags);
    world_free(publish_swap(c->options.slot, w));
    for (size_t i = 0; i < c->options.n_listeners; i++)
        c->owed[i] = true;
    tell_listeners(c);
}

/* What breaks on our side of the files is told like an error in them. */
static void refuse_broken(struct config *c, int error, struct diag_list *diags) {
    struct origin at = {.file = str_of(c->options.mesh.dir)};
    diag_addf(diags, DIAG_ERROR, &at, "the manifests could not be loaded (%s): it is tried again", strerror(-error));
    report_refused(&c->report, diags);
}

static void look_at_pace(void *context) {
    struct config *c = context;
    thread_background_look(&c->background);
}

static void load(struct config *c) {
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    struct world *w = NULL;
    bool changed = false, failed_before = c->look_failed;
    note_events(c); /* what happened until now is what we are going to see */
    c->first_event_ns = 0;
    c->look_failed = true;
    int r = mesh_refresh(c->loader, &diags, &changed);
    c->last_look_ns = clock_mono_ns();
    if (r == 0 && !changed && c->looked && !failed_before) {
        c->look_failed = false;
        c->report.n_attempts++;
        return;
    }
    if (r == 0) {
        c->look_failed = false;
        look_at_pace(c);
        r = mesh_build(c->loader, c->report.world + 1, &diags, &w);
    }
    if (r < 0) {
        c->look_failed = true;
        refuse_broken(c, r, &diags);
    } else if (r > 0) {
        report_refused(&c->report, &diags);
    } else {
        publish(c, w, &diags);
    }
    c->looked = true;
    c->report.n_attempts++;
    c->trim_ns = clock_mono_ns() + TRIM_MS * NS_PER_MS;
}

static void answer(struct config *c, struct mail *mail) {
    struct mail_ask *ask = container_of(mail, struct mail_ask, mail);
    struct mail_answer *m = mail->type == &mail_ask_type ? mail_answer_new(ask->id) : NULL;
    if (m) {
        if (ask->what == ASK_STATUS)
            report_json(&c->report, &m->json);
        else
            growing_add(&m->json, STR("null"));
        if (m->json.failed || mailbox_post(ask->reply, &m->mail))
            mail_free(&m->mail); /* the asker has its own deadline */
    }
    mail_free(mail);
}

/* When the next load is due, on the monotonic clock; UINT64_MAX: not before something happens. */
static uint64_t due_ns(const struct config *c) {
    if (c->first_event_ns) {
        uint64_t latest = c->first_event_ns + CONFIG_DEBOUNCE_MAX_MS * NS_PER_MS;
        uint64_t quiet = c->last_event_ns + CONFIG_DEBOUNCE_MS * NS_PER_MS;
        return c->watch && watch_is_writing(c->watch) ? latest : min_of(quiet, latest);
    }
    if (!c->watched_all || c->look_failed)
        return c->last_look_ns + LOOK_BLIND_MS * NS_PER_MS;
    return c->has_links ? c->last_look_ns + LOOK_LINKS_MS * NS_PER_MS : UINT64_MAX;
}

static int timeout_ms(const struct config *c) {
    uint64_t now = clock_mono_ns(), due = min_of(due_ns(c), c->trim_ns ? c->trim_ns : UINT64_MAX);
    uint64_t left = due == UINT64_MAX ? UINT64_MAX : due > now ? (due - now) / NS_PER_MS + 1 : 0;
    if (owes(c))
        left = min_of(left, (uint64_t)OWED_MS);
    return left == UINT64_MAX ? -1 : (int)min_of(left, (uint64_t)60000);
}

static void *run(void *argument) {
    struct config *c = argument;
    load(c);
    thread_background_init(&c->background);
    for (;;) {
        struct pollfd fds[] = {{.fd = mailbox_eventfd(c->mailbox), .events = POLLIN},
                               {.fd = c->watch ? watch_fd(c->watch) : -1, .events = POLLIN}};
        ignore_result(poll(fds, array_size(fds), timeout_ms(c))); /* EINTR: the loop looks at everything anyway */
        mailbox_clear_event(c->mailbox);
        if (mailbox_closed(c->mailbox))
            return NULL;
        for (struct mail *m; (m = mailbox_take(c->mailbox));)
            answer(c, m);
        note_events(c);
        tell_listeners(c);
        if (c->trim_ns && clock_mono_ns() >= c->trim_ns) {
            c->trim_ns = 0;
            heap_trim(true);
        }
        if (clock_mono_ns() < due_ns(c))
            continue;
        if (c->watch)
            watch_forget_writers(c->watch);
        thread_background_begin(&c->background); /* all waited for the first world; for the next ones no flow shall wait */
        load(c);
    }
}

static struct config *config_free(struct config *c) {
    if (!c)
        return NULL;
    for (size_t i = 0; c->listeners && i < c->options.n_listeners; i++)
        mailbox_unref(c->listeners[i]);
    free(c->listeners);
    free(c->owed);
    mailbox_unref(c->mailbox);
    watch_free(c->watch);
    mesh_loader_free(c->loader);
    report_deinit(&c->report);
    free((char *)c->options.mesh.dir);
    free(c);
    return NULL;
}
DEFINE_FREEP(struct config, config_free)

int config_start(const struct config_options *o, struct config **ret) {
    cleanup(config_freep) struct config *c = calloc(1, sizeof(*c));
    if (!c)
        return err_origin(-ENOMEM);
    c->options.slot = o->slot;
    c->options.mesh.dir = strdup(o->mesh.dir);
    c->listeners = calloc(max_of(o->n_listeners, (size_t)1), sizeof(*c->listeners));
    c->owed = calloc(max_of(o->n_listeners, (size_t)1), sizeof(*c->owed));
    c->mailbox = mailbox_new("config", CONFIG_MAIL_MAX);
    if (!c->options.mesh.dir || !c->listeners || !c->owed || !c->mailbox)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < o->n_listeners; i++)
        c->listeners[c->options.n_listeners++] = mailbox_ref(o->listeners[i]);
    int r = mesh_loader_new(&o->mesh, &c->loader);
    if (r)
        return err_trace(r);
    r = watch_new(&c->watch);
    if (r) /* a user's limit of inotify instances: looking again does instead */
        log_warn("config", "no inotify (%s): the mesh directory is looked at every %d seconds", strerror(-r), LOOK_BLIND_MS / 1000);
    mesh_loader_watch(c->loader, watch_dirs, is_quiet, look_at_pace, c);
    r = thread_start(&c->thread, "config", run, c);
    if (r)
        return err_trace(r);
    *ret = take_ptr(c);
    return 0;
}

struct mailbox *config_mailbox(struct config *c) {
    return c->mailbox;
}

struct config *config_stop(struct config *c) {
    if (!c)
        return NULL;
    mailbox_close(c->mailbox);
    mailbox_raise_event(c->mailbox);
    thread_join(c->thread);
    return config_free(c);
}
