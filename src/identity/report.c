/* SPDX-License-Identifier: GPL-3.0-or-later
 * report.c - what the identity thread tells admin: certificates with their state (facts/identity.md 6.1), its own health */
#include <stdio.h>

#include <ringwall/base/clock.h>
#include <ringwall/tls/crl.h>
#include <ringwall/wire/json.h>

#include "machine.h"

static void write_time(struct json_writer *w, const char *key, int64_t s) {
    char text[RFC3339_BYTES];
    clock_rfc3339(s * (int64_t)NS_PER_S, text, false);
    json_z(w, key, text);
}

static void write_cert(struct json_writer *w, const struct tls_der *der, const char *type) {
    struct tls_cert_facts facts;
    if (tls_cert_read(der->at, der->n, &facts) != 0)
        return;
    char serial[2 * TLS_SERIAL_MAX + 1] = "";
    for (size_t i = 0; i < facts.serial_n; i++)
        snprintf(serial + 2 * i, 3, "%02x", facts.serial[i]);
    json_object(w, NULL);
    json_z(w, "type", type);
    json_z(w, "serialNumber", serial);
    json_z(w, "subject", facts.subject);
    json_z(w, "issuer", facts.issuer);
    if (facts.uri[0])
        json_z(w, "uri", facts.uri);
    json_z(w, "key", facts.key_kind);
    write_time(w, "validFrom", facts.not_before);
    write_time(w, "expirationTime", facts.not_after);
    json_end(w);
}

static void write_certificates(struct json_writer *w, const struct tls_credential *c, const struct tls_trust *trust) {
    const struct tls_der_list *chain = tls_credential_chain(c);
    json_array(w, "certChain");
    for (size_t i = 0; i < chain->n; i++)
        write_cert(w, &chain->items[i], i == 0 ? "Leaf" : "Intermediate");
    json_end(w);
    json_array(w, "rootCerts");
    for (size_t b = 0; b < trust->n; b++) {
        const struct tls_der_list *roots = tls_bundle_roots(trust->bundles[b]);
        for (size_t i = 0; i < roots->n; i++)
            write_cert(w, &roots->items[i], "Root");
    }
    json_end(w);
}

static void write_entry(struct json_writer *w, const struct entry *e, const struct tls_trust *trust) {
    json_object(w, NULL);
    json_str(w, "identity", identity_uri(&e->identity));
    if (e->credential)
        json_z(w, "state", "Available");
    else if (e->why[0])
        json_strf(w, "state", "Unavailable: %s", e->why);
    else
        json_z(w, "state", "Initializing");
    if (e->credential) {
        json_u64(w, "generation", e->generation);
        write_time(w, "nextRotation", e->rotate_s);
        json_z(w, "age", age_word(age_of(e, clock_wall_s())));
        write_certificates(w, e->credential, trust);
    }
    if (e->why[0])
        json_z(w, "lastError", e->why);
    json_end(w);
}

void report_certs(const struct machine *m, struct growing *to) {
    struct json_writer w;
    json_begin(&w, to, false);
    json_array(&w, NULL);
    size_t cursor = 0;
    struct map_node *n = NULL;
    while ((n = map_next(&m->entries, &cursor, n)))
        write_entry(&w, map_entry(n, struct entry, by_identity), m->trust);
    json_end(&w);
}

static void write_list(struct json_writer *w, const struct tls_crl_facts *l, int64_t now_s) {
    json_object(w, NULL);
    json_z(w, "issuer", l->issuer);
    if (l->has_number)
        json_u64(w, "number", l->number);
    json_u64(w, "revoked", l->n_revoked);
    write_time(w, "thisUpdate", l->this_update);
    if (l->next_update)
        write_time(w, "nextUpdate", l->next_update);
    json_bool(w, "stale", l->next_update && now_s > l->next_update);
    json_end(w);
}

static void write_trust(struct json_writer *w, const struct machine *m) {
    size_t n_adopted = 0;
    for (size_t i = 0; m->trust && i < m->o.n_workers; i++)
        n_adopted += m->readers[i].adopted == m->trust->generation;
    json_object(w, "trust");
    json_u64(w, "generation", m->trust ? m->trust->generation : 0);
    json_u64(w, "caGeneration", m->ca_generation);
    json_u64(w, "caAcknowledged", m->ca_acknowledged);
    json_u64(w, "readers", m->o.n_workers);
    json_u64(w, "adopted", n_adopted);
    json_u64(w, "late", m->n_late);
    json_u64(w, "refused", m->n_refused);
    if (m->trust_why[0])
        json_z(w, "lastError", m->trust_why);
    json_array(w, "domains");
    for (size_t i = 0; m->trust && i < m->trust->n; i++) {
        const struct tls_bundle *b = m->trust->bundles[i];
        json_object(w, NULL);
        json_str(w, "trustDomain", tls_bundle_trust_domain(b));
        json_u64(w, "roots", tls_bundle_roots(b)->n);
        json_array(w, "revocationLists");
        for (size_t k = 0; k < tls_bundle_n_crls(b); k++)
            write_list(w, tls_bundle_crl(b, k), clock_wall_s());
        json_end(w);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

void report_status(const struct machine *m, struct growing *to) {
    struct json_writer w;
    size_t have = 0, cursor = 0;
    struct map_node *n = NULL;
    while ((n = map_next(&m->entries, &cursor, n)))
        have += map_entry(n, struct entry, by_identity)->credential != NULL;
    json_begin(&w, to, false);
    json_object(&w, NULL);
    json_u64(&w, "identities", m->entries.n_nodes);
    json_u64(&w, "available", have);
    json_u64(&w, "issued", m->n_issued);
    json_u64(&w, "failed", m->n_failed);
    json_u64(&w, "late", m->n_aged[AGE_LATE]);
    json_u64(&w, "veryLate", m->n_aged[AGE_VERY_LATE]);
    json_u64(&w, "expired", m->n_aged[AGE_OVER]);
    write_trust(&w, m);
    json_end(&w);
}
