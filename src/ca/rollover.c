/* SPDX-License-Identifier: GPL-3.0-or-later
 * rollover.c - from one root to the next in a directory, each step whole or not at all (facts/identity.md 4.2, 10 #1)
 *
 * next-cert.pem and next-key.pem are the prepared root, already in root-cert.pem; old-cert.pem and old-key.pem the one that signed
 * before, kept so that what it signed can still be revoked, until it is pruned. The step follows from which of them are
 * there and differ from ca-cert.pem; rollover.json only adds times.
 *
 * Nodes follow with `ca issue-node --renew`: during a rollover their directories get all the roots there are, so a node
 * trusts both while its neighbours move. What may still be valid below the old root: leaves that this directory's key
 * signed (until activation + the longest life of a leaf), node certificates on record here (until their end, or, once that
 * node has a newer one below the new root, until its renewal + the longest life of a leaf). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/crl.h>
#include <ringwall/tls/hash.h>

#include "audit.h"
#include "files_private.h"

enum { NODES_MAX = 65536 };

struct steps {
    struct ca_dir d;
    struct tls_der_list next, old; /* one each, or empty */
    int64_t prepared_s, activated_s, leaf_ttl_s;
};

static void steps_deinit(struct steps *s) {
    ca_dir_deinit(&s->d);
    tls_der_list_deinit(&s->next);
    tls_der_list_deinit(&s->old);
}

static int64_t read_time(const struct json *root, const char *key) {
    struct str text = json_text(json_get(root, key));
    int64_t s = 0;
    return clock_parse_rfc3339(text.at, text.n, &s) ? s : 0;
}

static void read_times(const char *dir, struct steps *s) {
    char path[CA_PATH_MAX], why[128];
    cleanup_free char *text = NULL;
    size_t n;
    if (!ca_path(dir, CA_FILE_ROLLOVER, path) || io_read_file(path, CA_FILE_MAX, &text, &n) != 0)
        return;
    struct json *root = json_read((struct str){text, n}, why);
    if (!root)
        return;
    s->prepared_s = read_time(root, "prepared");
    s->activated_s = read_time(root, "activated");
    if (!json_number(json_get(root, "leafSeconds"), &s->leaf_ttl_s) || s->leaf_ttl_s < 0)
        s->leaf_ttl_s = 0;
    json_free(root);
}

static void put_time(struct json_writer *w, const char *key, int64_t s) {
    char text[RFC3339_BYTES];
    clock_rfc3339(s * (int64_t)NS_PER_S, text, false);
    if (s)
        json_z(w, key, text);
}

static int write_times(const char *dir, const struct steps *s, char why[CA_WHY_BYTES]) {
    struct growing g cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, true);
    json_object(&w, NULL);
    put_time(&w, "prepared", s->prepared_s);
    put_time(&w, "activated", s->activated_s);
    json_i64(&w, "leafSeconds", s->leaf_ttl_s);
    json_end(&w);
    return g.failed ? err_origin(-ENOMEM) : ca_write_file(dir, CA_FILE_ROLLOVER, g.at, g.n, 0644, why);
}

static int read_one(const char *dir, const char *file, struct tls_der_list *ret, char why[CA_WHY_BYTES]) {
    return ca_file_exists(dir, file) ? ca_read_certs(dir, file, 1, ret, why) : 0;
}

static int steps_read(const char *dir, int64_t now_s, struct steps *ret, char why[CA_WHY_BYTES]) {
    *ret = (struct steps){0};
    int r = ca_dir_load(dir, now_s, &ret->d, why);
    if (r == 0)
        r = read_one(dir, CA_FILE_NEXT_CERT, &ret->next, why);
    if (r == 0)
        r = read_one(dir, CA_FILE_OLD_CERT, &ret->old, why);
    if (r == 0 && !der_same(&ret->d.anchor, &ret->d.cert.items[0]))
        r = ca_refuse(why, dir, CA_FILE_CERT,
                      "is no root: roll over where the root's key is, then ringwallctl ca issue-node --renew for each node");
    if (r == 0)
        read_times(dir, ret);
    else
        steps_deinit(ret);
    return r;
}

static enum ca_rollover_step step_of(const struct steps *s) {
    const struct tls_der *signing = &s->d.cert.items[0];
    if (s->next.n && !der_same(&s->next.items[0], signing) && der_among(&s->d.roots, &s->next.items[0]))
        return CA_ROLLOVER_PREPARED;
    if (s->old.n && !der_same(&s->old.items[0], signing))
        return CA_ROLLOVER_ACTIVATED;
    return CA_ROLLOVER_NONE;
}

/* Node certificates below the old root. For each node: the last end of one below the old root, and when it was renewed. */
struct node_row {
    char name[80];
    int64_t end_s, renewed_s;
};
struct nodes {
    struct node_row *rows;
    size_t n;
    char old[SHA256_HEX];
    bool failed;
};

static bool add_node(void *context, const struct audit_issue *i) {
    struct nodes *nodes = context;
    size_t at = 0;
    if (!str_has_prefix(i->identity, STR("node/")) || i->identity.n >= sizeof(nodes->rows[0].name))
        return true;
    while (at < nodes->n && !str_is(str_of(nodes->rows[at].name), i->identity))
        at++;
    if (at == nodes->n) {
        struct node_row *rows = at < NODES_MAX ? reallocarray(nodes->rows, at + 1, sizeof(*rows)) : NULL;
        nodes->failed |= !rows;
        if (!rows)
            return false;
        nodes->rows = rows;
        nodes->rows[nodes->n++] = (struct node_row){0};
        memcpy(rows[at].name, i->identity.at, i->identity.n);
    }
    struct node_row *row = &nodes->rows[at];
    if (str_is(i->issuer, str_of(nodes->old)))
        row->end_s = max_of(row->end_s, i->not_after);
    else if (row->end_s && !row->renewed_s)
        row->renewed_s = i->not_before + TLS_BACKDATE_S;
    return true;
}

static int find_end(const char *dir, const struct steps *s, int64_t *ret_end_s, char why[CA_WHY_BYTES]) {
    struct nodes nodes = {0};
    struct tls_cert_facts old;
    char path[CA_PATH_MAX];
    const struct tls_der *cert = &s->old.items[0];
    if (tls_cert_read(cert->at, cert->n, &old) != 0)
        return ca_refuse(why, dir, CA_FILE_OLD_CERT, "cannot be read");
    int64_t end = s->activated_s ? s->activated_s + s->leaf_ttl_s : old.not_after;
    tls_sha256_hex(cert->at, cert->n, nodes.old);
    int r = 0;
    if (ca_file_exists(dir, CA_FILE_AUDIT))
        r = ca_path(dir, CA_FILE_AUDIT, path) ? audit_each_issue(path, add_node, &nodes, why) : 1;
    for (size_t i = 0; i < nodes.n; i++) {
        const struct node_row *n = &nodes.rows[i];
        end = max_of(end, n->renewed_s ? min_of(n->end_s, n->renewed_s + s->leaf_ttl_s) : n->end_s);
    }
    free(nodes.rows);
    if (nodes.failed)
        return err_origin(-ENOMEM);
    *ret_end_s = min_of(end, old.not_after);
    return r;
}

int ca_rollover_status(const char *dir, int64_t now_s, struct ca_rollover *ret, char why[CA_WHY_BYTES]) {
    struct steps s cleanup(steps_deinit) = {0};
    int r = steps_read(dir, now_s, &s, why);
    if (r != 0)
        return r;
    struct ca_rollover o = {.step = step_of(&s)};
    tls_sha256_hex(s.d.anchor.at, s.d.anchor.n, o.signing);
    if (o.step == CA_ROLLOVER_PREPARED) {
        o.since_s = s.prepared_s;
        tls_sha256_hex(s.next.items[0].at, s.next.items[0].n, o.next);
    } else if (o.step == CA_ROLLOVER_ACTIVATED) {
        o.since_s = s.activated_s;
        o.n_old = 1;
        r = find_end(dir, &s, &o.leaves_end_s, why);
    }
    if (r == 0)
        *ret = o;
    return r;
}

/* What a killed writer left of its temporary files, `.NAME.XXXXXX`: some hold a key. Whoever has the lock is the only writer. */
static void sweep(const char *dir) {
    static const char *const names[] = {CA_FILE_CERT,      CA_FILE_KEY,      CA_FILE_CHAIN,    CA_FILE_ROOT,    CA_FILE_CRL,
                                        CA_FILE_NEXT_CERT, CA_FILE_NEXT_KEY, CA_FILE_OLD_CERT, CA_FILE_OLD_KEY, CA_FILE_ROLLOVER};
    char unused[CA_WHY_BYTES];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        for (size_t i = 0; e->d_name[0] == '.' && i < array_size(names); i++) {
            size_t n = strlen(names[i]);
            if (strncmp(e->d_name + 1, names[i], n) == 0 && e->d_name[n + 1] == '.' && strlen(e->d_name) == n + 8)
                ignore_result(ca_remove(dir, e->d_name, unused)); /* the next one who has the lock tries again */
        }
    if (d)
        closedir(d);
}

int ca_dir_lock(const char *dir, int *ret, char why[CA_WHY_BYTES]) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        if (errno == ENOENT)
            ca_say(why, "%s: is missing; name a directory that ringwallctl ca init or ca issue-node made", dir);
        else
            ca_say(why, "%s: cannot be opened: %s", dir, strerror(errno));
        fd_close(fd);
        return 1;
    }
    sweep(dir);
    *ret = fd;
    return 0;
}

static int record(const char *dir, int64_t now_s, const char *text, char why[CA_WHY_BYTES]) {
    struct audit_entry e = {.event = "rollover", .text = str_of(text)};
    return ca_dir_record(dir, now_s, &e, why);
}

/* The step that is asked for must be the next one. */
static int steps_expect(const char *dir, int64_t now_s, enum ca_rollover_step expected, struct steps *ret, char why[CA_WHY_BYTES]) {
    static const char *const texts[] = {
        [CA_ROLLOVER_NONE] = "no rollover is under way: begin with ringwallctl ca rollover prepare",
        [CA_ROLLOVER_PREPARED] = "the next root is prepared already: go on with ringwallctl ca rollover activate",
        [CA_ROLLOVER_ACTIVATED] = "the new root is in force already: go on with ringwallctl ca rollover prune"};
    int r = steps_read(dir, now_s, ret, why);
    if (r != 0)
        return r;
    enum ca_rollover_step step = step_of(ret);
    /* A crash left the former certificate beside the new key: that is finished before next-cert.pem can be written anew, or
     * nothing would hold the certificate of the key any more. */
    if (step == expected && ret->d.unfinished)
        r = ca_write_certs(dir, CA_FILE_CERT, &ret->d.cert, why);
    if (step == expected && r == 0)
        return 0;
    steps_deinit(ret);
    if (r != 0)
        return r;
    ca_say(why, "%s: %s", dir, texts[step]);
    return 1;
}

int ca_rollover_prepare(const char *dir, int64_t now_s, char why[CA_WHY_BYTES]) {
    cleanup_fd int lock = -1;
    struct steps s cleanup(steps_deinit) = {0};
    cleanup(tls_key_freep) struct tls_key *key = NULL;
    struct tls_der_list next cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_cert_facts facts;
    struct tls_der root = {0};
    int r = ca_dir_lock(dir, &lock, why);
    if (r == 0)
        r = steps_expect(dir, now_s, CA_ROLLOVER_NONE, &s, why);
    if (r != 0)
        return r;
    if (tls_cert_read(s.d.cert.items[0].at, s.d.cert.items[0].n, &facts) != 0 || !facts.subject_o[0])
        return ca_refuse(why, dir, CA_FILE_CERT, "names no trust domain (subject O): make the root with ringwallctl ca init");
    if (s.d.roots.n >= TLS_BUNDLE_MAX)
        return ca_refuse(why, dir, CA_FILE_ROOT, "holds as many roots as there may be: prune first");
    r = ca_root_make(str_of(facts.subject_o), now_s, &key, &root);
    if (r == 0)
        r = tls_der_list_add(&next, root.at, root.n);
    if (r == 0)
        r = tls_der_list_add(&s.d.roots, root.at, root.n);
    free(root.at);
    s.prepared_s = now_s;
    s.activated_s = s.leaf_ttl_s = 0;
    if (r == 0)
        r = ca_write_key(dir, CA_FILE_NEXT_KEY, key, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_NEXT_CERT, &next, why);
    if (r == 0)
        r = write_times(dir, &s, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_ROOT, &s.d.roots, why);
    return r != 0 ? err_trace(r) : record(dir, now_s, "prepared: the next root is published beside the one in force", why);
}

int ca_rollover_activate(const char *dir, int64_t leaf_ttl_s, int64_t now_s, char why[CA_WHY_BYTES]) {
    cleanup_fd int lock = -1;
    struct steps s cleanup(steps_deinit) = {0};
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    int r = ca_dir_lock(dir, &lock, why);
    if (r == 0)
        r = steps_expect(dir, now_s, CA_ROLLOVER_PREPARED, &s, why);
    if (r == 0)
        r = ca_read_key(dir, CA_FILE_NEXT_KEY, &d.key, why);
    if (r != 0)
        return r;
    if (!tls_cert_matches_key(s.next.items[0].at, s.next.items[0].n, d.key))
        return ca_refuse(why, dir, CA_FILE_NEXT_KEY, "is not the key of next-cert.pem: prepare again");
    s.activated_s = now_s;
    s.leaf_ttl_s = leaf_ttl_s;
    r = tls_der_list_copy(&d.cert, &s.next);
    if (r == 0) /* the key second: who finds old-key.pem finds its certificate */
        r = ca_write_certs(dir, CA_FILE_OLD_CERT, &s.d.cert, why);
    if (r == 0)
        r = ca_write_key(dir, CA_FILE_OLD_KEY, s.d.key, why);
    if (r == 0)
        r = write_times(dir, &s, why);
    if (r == 0)
        r = ca_dir_replace(dir, &d, why);
    return r != 0 ? err_trace(r) : record(dir, now_s, "activated: the new root signs", why);
}

/* Lists that the old root signed go with it. */
static int keep_crls(const struct steps *s, struct tls_der_list *ret) {
    const struct tls_der *old = &s->old.items[0];
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->d.crls.n; i++)
        if (!tls_crl_signed_by(s->d.crls.items[i].at, s->d.crls.items[i].n, old->at, old->n))
            r = tls_der_list_add(ret, s->d.crls.items[i].at, s->d.crls.items[i].n);
    return err_trace(r);
}

int ca_rollover_prune(const char *dir, int64_t now_s, char why[CA_WHY_BYTES]) {
    cleanup_fd int lock = -1;
    struct steps s cleanup(steps_deinit) = {0};
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der_list crls cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    int64_t end_s = 0;
    int r = ca_dir_lock(dir, &lock, why);
    if (r == 0)
        r = steps_expect(dir, now_s, CA_ROLLOVER_ACTIVATED, &s, why);
    if (r == 0)
        r = find_end(dir, &s, &end_s, why);
    if (r != 0)
        return r;
    if (now_s <= end_s) {
        char text[RFC3339_BYTES];
        clock_rfc3339(end_s * (int64_t)NS_PER_S, text, false);
        ca_say(
            why,
            "%s: certificates below the old root may be valid until %s; renew the nodes' (ringwallctl ca issue-node --renew) and "
            "wait for the life of a leaf",
            dir, text);
        return 1;
    }
    for (size_t i = 0; r == 0 && i < s.d.roots.n; i++)
        if (!der_same(&s.d.roots.items[i], &s.old.items[0]))
            r = tls_der_list_add(&roots, s.d.roots.items[i].at, s.d.roots.items[i].n);
    if (r == 0)
        r = keep_crls(&s, &crls);
    if (r == 0)
        r = ca_write_crls(dir, &crls, why);
    if (r == 0)
        r = ca_write_certs(dir, CA_FILE_ROOT, &roots, why);
    if (r == 0)
        r = ca_remove(dir, CA_FILE_OLD_KEY, why);
    if (r == 0)
        r = ca_remove(dir, CA_FILE_OLD_CERT, why);
    if (r == 0)
        r = ca_remove(dir, CA_FILE_ROLLOVER, why);
    return r != 0 ? err_trace(r) : record(dir, now_s, "pruned: the old root is gone", why);
}
