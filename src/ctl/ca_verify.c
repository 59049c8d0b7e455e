/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca_verify.c - would a peer that trusts a CA directory accept this chain? By the same walk as the data plane's, with the
 * directory's roots and revocation lists; only whether the world places a workload on the issuing node it cannot know */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/credential.h>
#include <ringwall/wire/json.h>

#include "ca.h"
#include "ctl.h"

enum { FILE_MAX = 256 * 1024 };

static int read_chain(const char *path, struct tls_der_list *ret, char why[CA_WHY_BYTES]) {
    cleanup_free char *pem = NULL;
    size_t n = 0;
    struct text t = {.at = why, .cap = CA_WHY_BYTES};
    int r = io_read_file(path, FILE_MAX, &pem, &n);
    if (r < 0) {
        text_addf(&t, "%s: cannot be read: %s", path, strerror(-r));
        return 1;
    }
    r = tls_certs_from_pem((struct str){pem, n}, TLS_CHAIN_MAX, ret);
    if (r < 0)
        return r;
    if (r == 0 && ret->n > 0)
        return 0;
    text_addf(&t, "%s: holds no readable certificates in PEM form, or more than %d", path, TLS_CHAIN_MAX);
    return 1;
}

/* A leaf alone is judged with the directory's own intermediates, as the daemon sends it. */
static int complete(struct tls_der_list *chain, const struct ca_dir *d) {
    int r = 0;
    for (size_t i = 0; r == 0 && chain->n == i + 1 && i < d->chain.n; i++)
        r = tls_der_list_add(chain, d->chain.items[i].at, d->chain.items[i].n);
    return r;
}

static int verify(const struct ca_dir *d, struct tls_der_list *chain, const struct tls_cert_facts *leaf, struct tls_peer *peer,
                  enum tls_trust_verdict *ret) {
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    cleanup(tls_trust_unrefp) struct tls_trust *trust = NULL;
    struct tls_cert_facts root;
    if (tls_cert_read(d->anchor.at, d->anchor.n, &root) != 0)
        return -EINVAL;
    struct str td = root.subject_o[0] && trust_domain_valid(str_of(root.subject_o)) ? str_of(root.subject_o)
                    : leaf->uri_is_identity                                         ? identity_td(&leaf->identity)
                                                                                    : STR("cluster.local");
    int r = complete(chain, d);
    if (r == 0)
        r = tls_bundle_new(td, &d->roots, &d->crls, &bundle);
    if (r == 0 && !(trust = tls_trust_new(&bundle, 1, 1)))
        r = -ENOMEM;
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    *ret = tls_chain_verify(trust, chain, TLS_ROLE_SERVER, clock_wall_s(), NULL, NULL, peer);
    return 0;
}

static int print(const char *file, const struct tls_cert_facts *leaf, enum tls_trust_verdict v, const struct tls_peer *peer,
                 bool as_json) {
    char until[RFC3339_BYTES], serial[2 * TLS_SERIAL_MAX + 1] = "";
    clock_rfc3339(leaf->not_after * (int64_t)NS_PER_S, until, false);
    for (size_t i = 0; i < leaf->serial_n; i++)
        snprintf(serial + 2 * i, 3, "%02x", leaf->serial[i]);
    const char *node = v == TLS_TRUST_OK ? peer->issuing_node : "";
    if (!as_json) {
        printf("%s: %s: %s, serial %s, until %s%s%s\n", file, tls_trust_text(v), leaf->uri[0] ? leaf->uri : leaf->subject, serial,
               until, node[0] ? "; counts only for workloads of node " : "", node);
        return 0;
    }
    struct ca_answer a;
    ca_answer_begin(&a);
    json_z(&a.json, "file", file);
    json_bool(&a.json, "trusted", v == TLS_TRUST_OK);
    json_z(&a.json, "verdict", tls_trust_text(v));
    json_z(&a.json, "uri", leaf->uri);
    json_z(&a.json, "serialNumber", serial);
    json_z(&a.json, "expirationTime", until);
    if (node[0])
        json_z(&a.json, "issuingNode", node);
    return ca_answer_print(&a);
}

int ca_verify_command(const struct command_line *l) {
    if (!options_need(l, CTL_DIR))
        return EXIT_USAGE;
    if (l->n_words != 1) {
        complain("ca verify needs a FILE with a certificate chain; see ringwallctl ca verify --help");
        return EXIT_USAGE;
    }
    if (!ca_begin())
        return EXIT_FAILED;
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_cert_facts leaf;
    struct tls_peer peer = {0};
    enum tls_trust_verdict v = TLS_TRUST_UNREADABLE;
    char why[CA_WHY_BYTES] = "";
    int r = ca_dir_load(l->options[CTL_DIR], clock_wall_s(), &d, why);
    if (r == 0)
        r = read_chain(l->words[0], &chain, why);
    if (r == 0 && tls_cert_read(chain.items[0].at, chain.items[0].n, &leaf) != 0) {
        complain("%s: its first certificate cannot be read", l->words[0]);
        r = 1;
    } else if (r == 0)
        r = verify(&d, &chain, &leaf, &peer, &v);
    if (r == 0)
        r = print(l->words[0], &leaf, v, &peer, wants_json(l));
    int code = why[0] || r < 0 ? ca_end(r, why) : (tls_library_cleanup(), EXIT_DONE);
    return code == EXIT_DONE && (r != 0 || v != TLS_TRUST_OK) ? EXIT_FAILED : code;
}
