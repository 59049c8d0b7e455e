/* SPDX-License-Identifier: GPL-3.0-or-later
 * files_private.h - what the files about CA directories share: names, refusals, single writes */
#pragma once

#include <ringwall/ca/files.h>

enum { CA_FILE_MAX = 256 * 1024, CA_PATH_MAX = 4096, CA_DAY_S = 86400 };

/* Other names in a directory of Istio's form: what is to come, and what is on its way out (rollover.c). */
#define CA_FILE_CERT "ca-cert.pem"
#define CA_FILE_KEY "ca-key.pem"
#define CA_FILE_CHAIN "cert-chain.pem"
#define CA_FILE_ROOT "root-cert.pem"
#define CA_FILE_CRL "ca-crl.pem"
#define CA_FILE_NEXT_CERT "next-cert.pem"
#define CA_FILE_NEXT_KEY "next-key.pem"
#define CA_FILE_OLD_CERT "old-cert.pem"
#define CA_FILE_OLD_KEY "old-key.pem"
#define CA_FILE_ROLLOVER "rollover.json"
#define CA_FILE_AUDIT "ca-audit.jsonl"

void ca_say(char why[CA_WHY_BYTES], const char *fmt, ...) printf_like(2, 3);
int ca_refuse(char why[CA_WHY_BYTES], const char *dir, const char *file, const char *text); /* 1 */
bool ca_path(const char *dir, const char *file, char ret[CA_PATH_MAX]) must_check;          /* false: too long */
bool ca_file_exists(const char *dir, const char *file);
int ca_read_certs(const char *dir, const char *file, size_t n_max, struct tls_der_list *ret, char why[CA_WHY_BYTES]) must_check;
int ca_read_key(const char *dir, const char *file, struct tls_key **ret, char why[CA_WHY_BYTES]) must_check;
int ca_write_file(const char *dir, const char *file, const void *bytes, size_t n, mode_t mode, char why[CA_WHY_BYTES]) must_check;
int ca_write_certs(const char *dir, const char *file, const struct tls_der_list *certs, char why[CA_WHY_BYTES]) must_check;
int ca_write_key(const char *dir, const char *file, const struct tls_key *key, char why[CA_WHY_BYTES]) must_check;
int ca_write_crls(const char *dir, const struct tls_der_list *crls, char why[CA_WHY_BYTES]) must_check; /* empty: removed */
int ca_remove(const char *dir, const char *file, char why[CA_WHY_BYTES]) must_check;                    /* absent is fine */
/* Makes `d`'s certificate, key and chain those of the directory, by way of next-*: a crash leaves the old or the new. */
int ca_dir_replace(const char *dir, const struct ca_dir *d, char why[CA_WHY_BYTES]) must_check;
static inline bool der_same(const struct tls_der *a, const struct tls_der *b) {
    return a->n == b->n && (a->n == 0 || !memcmp(a->at, b->at, a->n));
}
int ca_root_make(struct str trust_domain, int64_t now_s, struct tls_key **ret_key, struct tls_der *ret) must_check;
/* One at a time changes a directory; waits. The lock goes when *ret is closed. */
int ca_dir_lock(const char *dir, int *ret, char why[CA_WHY_BYTES]) must_check;
bool der_among(const struct tls_der_list *l, const struct tls_der *d);
/* One line into the directory's own record (CA_FILE_AUDIT), which is closed again. */
struct audit_entry;
int ca_dir_record(const char *dir, int64_t now_s, const struct audit_entry *e, char why[CA_WHY_BYTES]) must_check;
