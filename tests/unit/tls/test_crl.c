/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: lists that we make are lists for everybody, and of foreign ones only those are taken that we understand wholly.
 * Method: openssl judges ours and makes others, with keys of every kind; bad ones are put together with our own writer, one
 * flaw each, and must be refused for that flaw. */
#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>

#include "key_private.h"
#include "pki.h"
#include "revoke.h"
#include "unit.h"

static struct {
    struct pki pki;
    char dir[256];
} f;

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", clock_wall_s());
    unit_directory(f.dir);
    return 0;
}

static int group_teardown(void **state) {
    char command[300];
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    assert_int_equal(system(command), 0);
    pki_deinit(&f.pki);
    return 0;
}

static struct tls_issuer root_issuer(void) {
    return (struct tls_issuer){.key = f.pki.key, .cert = f.pki.root.at, .cert_n = f.pki.root.n};
}

static struct tls_revoked revoked(const char *hex, int64_t at) {
    struct tls_revoked r = {.at = at};
    for (; *hex; hex += 2)
        assert_int_equal(sscanf(hex, "%2hhx", &r.serial[r.serial_n++]), 1);
    return r;
}

static const char *run(const char *format, ...) {
    static char text[65536];
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(text, 1, sizeof(text) - 1, p);
    text[n] = '\0';
    if (pclose(p) != 0)
        print_error("%s\n%s\n", command, text);
    return text;
}

static void write_der(const char *name, const struct tls_der *der, const char *label) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", f.dir, name);
    assert_int_equal(tls_der_to_pem(der, label, &pem), 0);
    assert_int_equal(io_write_file(path, pem.at, pem.n, 0600), 0);
}

static void test_made_and_read(void **state) {
    struct tls_issuer issuer = root_issuer();
    const struct tls_revoked items[] = {revoked("7fff", f.pki.now_s - 9), revoked("0a", f.pki.now_s - 7),
                                        revoked("80112233445566778899aabbccddeeff01020304", f.pki.now_s - 5),
                                        revoked("7fff", f.pki.now_s - 3)};
    struct tls_crl_spec spec = {
        .number = 258, .this_update = f.pki.now_s, .next_update = f.pki.now_s + 3600, .items = items, .n = array_size(items)};
    struct tls_crl_facts facts;
    struct tls_revoked *read;
    struct tls_der crl;
    const char *why = "";
    size_t n;
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_crl_read(crl.at, crl.n, &facts, &why), 0);
    assert_string_equal(facts.issuer, "O=cluster.local");
    assert_true(facts.has_number && facts.number == 258 && facts.n_revoked == 3);
    assert_true(facts.this_update == f.pki.now_s && facts.next_update == f.pki.now_s + 3600);
    assert_true(tls_crl_signed_by(crl.at, crl.n, f.pki.root.at, f.pki.root.n));
    assert_int_equal(tls_crl_entries(crl.at, crl.n, &read, &n), 0);
    assert_int_equal(n, 3);
    static const unsigned order[] = {1, 0, 2}; /* by value; of the two equal ones the earlier date */
    for (size_t i = 0; i < n; i++) {
        const struct tls_revoked *is = &read[i], *wanted = &items[order[i]];
        assert_true(is->serial_n == wanted->serial_n && !memcmp(is->serial, wanted->serial, is->serial_n) && is->at == wanted->at);
    }
    free(read);
    crl.at[crl.n - 1] ^= 1;
    assert_false(tls_crl_signed_by(crl.at, crl.n, f.pki.root.at, f.pki.root.n));
    free(crl.at);

    spec = (struct tls_crl_spec){.number = 1, .this_update = f.pki.now_s, .next_update = f.pki.now_s + 60};
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_crl_entries(crl.at, crl.n, &read, &n), 0);
    assert_int_equal(n, 0);
    free(read);
    free(crl.at);
}

static void test_openssl_accepts(void **state) {
    struct tls_issuer issuer = root_issuer();
    const struct tls_revoked items[] = {revoked("0badcafe", f.pki.now_s - 7), revoked("ff", f.pki.now_s)};
    struct tls_der crl;
    for (size_t n = 0; n <= 2; n += 2) {
        struct tls_crl_spec spec = {
            .number = 77, .this_update = f.pki.now_s, .next_update = f.pki.now_s + 3600, .items = items, .n = n};
        assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
        write_der("root.pem", &f.pki.root, "CERTIFICATE");
        write_der("crl.pem", &crl, "X509 CRL");
        const char *text = run("cd %s && openssl crl -in crl.pem -CAfile root.pem -verify -noout -text 2>&1", f.dir);
        assert_non_null(strstr(text, "verify OK"));
        assert_non_null(strstr(text, "Version 2 (0x1)"));
        assert_true(strstr(text, "X509v3 CRL Number") && strstr(text, "77") && strstr(text, "X509v3 Authority Key Identifier"));
        assert_true(n ? strstr(text, "0BADCAFE") && strstr(text, "Serial Number: FF")
                      : strstr(text, "No Revoked Certificates") != NULL);
        free(crl.at);
    }
}

/* A certificate authority of openssl's in `dir`/ca: root.pem, and lists by `openssl ca -gencrl`. */
static const char ca_conf[] =
    "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=1\n"
    "[v2]\nauthorityKeyIdentifier=keyid\n"
    "[root]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
    "[req]\ndistinguished_name=n\n[n]\n";

static void test_of_openssl(void **state) {
    static const struct {
        const char *key, *digest;
    } rows[] = {{"ec -pkeyopt ec_paramgen_curve:P-256", "sha256"},
                {"ec -pkeyopt ec_paramgen_curve:P-384", "sha384"},
                {"rsa:2048", "sha256"},
                {"rsa:3072", "sha512"}};
    char path[300];
    snprintf(path, sizeof(path), "%s/ca.conf", f.dir);
    assert_int_equal(io_write_file(path, ca_conf, sizeof(ca_conf) - 1, 0600), 0);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL,
                                  crls cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
        run("cd %s && printf 'R\\t301231000000Z\\t200101000000Z,keyCompromise\\t0ABC\\tunknown\\t/CN=x\\n' >index && echo 07 "
            ">number && "
            "openssl req -x509 -config ca.conf -extensions root -newkey %s -%s -nodes -subj /O=cluster.local -keyout key.pem "
            "-out root.pem 2>/dev/null && openssl ca -config ca.conf -gencrl -crlexts v2 -keyfile key.pem -cert root.pem -md %s "
            "-out crl.pem 2>/dev/null",
            f.dir, rows[i].key, rows[i].digest, rows[i].digest);
        const char *text = run("cat %s/root.pem", f.dir);
        assert_int_equal(tls_certs_from_pem(str_of(text), 1, &roots), 0);
        text = run("cat %s/crl.pem", f.dir);
        assert_int_equal(tls_crls_from_pem(str_of(text), 1, &crls), 0);
        assert_true(tls_crl_signed_by(crls.items[0].at, crls.items[0].n, roots.items[0].at, roots.items[0].n));
        assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &bundle), 0);
        const struct tls_crl_facts *facts = tls_bundle_crl(bundle, 0);
        assert_true(tls_bundle_n_crls(bundle) == 1 && facts->number == 7 && facts->n_revoked == 1);
        struct tls_revoked *items;
        size_t n;
        assert_int_equal(tls_crl_entries(crls.items[0].at, crls.items[0].n, &items, &n), 0);
        assert_true(n == 1 && items[0].serial_n == 2 && !memcmp(items[0].serial, "\x0a\xbc", 2));
        free(items);
    }
    struct tls_der_list none = TLS_DER_LIST_NULL;
    const char *text = run("cd %s && : >index && sed -i /^crlnumber/d ca.conf && openssl ca -config ca.conf -gencrl -keyfile "
                           "key.pem -cert root.pem 2>/dev/null",
                           f.dir);
    struct tls_der der;
    struct tls_crl_facts facts;
    const char *why = "";
    assert_int_equal(tls_crls_from_pem(str_of(text), 1, &none), 1);
    assert_int_equal(tls_pem_to_der(str_of(text), "X509 CRL", &der), 0);
    assert_int_equal(tls_crl_read(der.at, der.n, &facts, &why), 1);
    assert_string_equal(why, "version 1: only version 2 is taken");
    free(der.at);
}

enum flaw {
    FLAWLESS,
    ENTRY_REASON,      /* fine */
    ENTRY_OF_ANOTHER,  /* certificateIssuer */
    ENTRY_CRITICAL,    /* unknown */
    ENTRY_NOTED,       /* unknown, not critical: fine */
    ENTRY_LONG_SERIAL, /* 21 bytes */
    ENTRY_NEGATIVE,
    ENTRY_NO_DATE,
    ENTRY_MORE, /* something after the extensions */
    LIST_DELTA,
    LIST_PARTIAL,
    LIST_CRITICAL,
    LIST_NOTED, /* fine */
    LIST_TWO_NUMBERS,
    LIST_TWO_AKIS,
    LIST_VERSION_3,
    LIST_ALGORITHMS, /* inside and outside differ */
    LIST_UNKNOWN_ALGORITHM,
    LIST_TRAILING,
    LIST_NO_NEXT, /* fine */
    _FLAW_MAX
};

static void put_extension(struct der_out *o, uint8_t id, bool critical) {
    uint8_t oid[] = {0x55, 0x1d, id};
    size_t mark = o->n;
    der_put_small(o, 3);
    if (id == 35) {
        o->n = mark;
        der_put_tagged(o, DER_CONTEXT(0), "key", 3);
        der_wrap(o, DER_SEQUENCE, mark);
    }
    der_wrap(o, DER_OCTET_STRING, mark);
    if (critical)
        der_put_bool(o, true);
    der_put_tagged(o, DER_OID, oid, sizeof(oid));
    der_wrap(o, DER_SEQUENCE, mark);
}

static void put_entry(struct der_out *o, enum flaw flaw) {
    static const uint8_t serial[21] = {1, 2, 3};
    size_t mark = o->n;
    if (flaw == ENTRY_MORE)
        der_put_small(o, 1);
    if (flaw == ENTRY_REASON || flaw == ENTRY_MORE)
        put_extension(o, 21, false);
    if (flaw == ENTRY_OF_ANOTHER)
        put_extension(o, 29, true);
    if (flaw == ENTRY_CRITICAL || flaw == ENTRY_NOTED)
        put_extension(o, 99, flaw == ENTRY_CRITICAL);
    if (o->n != mark && flaw != ENTRY_MORE)
        der_wrap(o, DER_SEQUENCE, mark);
    if (flaw != ENTRY_NO_DATE)
        der_put_time(o, PKI_NOW);
    if (flaw == ENTRY_NEGATIVE)
        der_put_tagged(o, DER_INTEGER, "\x80", 1);
    else
        der_put_natural(o, serial, flaw == ENTRY_LONG_SERIAL ? 21 : 3);
    der_wrap(o, DER_SEQUENCE, mark);
}

static struct der flawed(enum flaw flaw, struct der_out *o) {
    size_t mark;
    static uint8_t list[1024];
    struct der_out t = DER_OUT(list);
    if (flaw == LIST_DELTA)
        put_extension(&t, 27, true);
    if (flaw == LIST_PARTIAL)
        put_extension(&t, 28, true);
    if (flaw == LIST_CRITICAL || flaw == LIST_NOTED)
        put_extension(&t, 99, flaw == LIST_CRITICAL);
    put_extension(&t, 20, false);
    if (flaw == LIST_TWO_NUMBERS)
        put_extension(&t, 20, false);
    put_extension(&t, 35, false);
    if (flaw == LIST_TWO_AKIS)
        put_extension(&t, 35, false);
    der_wrap(&t, DER_SEQUENCE, 0);
    der_wrap(&t, DER_CONTEXT_CONSTRUCTED(0), 0);
    mark = t.n;
    put_entry(&t, flaw);
    der_wrap(&t, DER_SEQUENCE, mark);
    if (flaw != LIST_NO_NEXT)
        der_put_time(&t, PKI_NOW + 60);
    der_put_time(&t, PKI_NOW);
    der_put_tagged(&t, DER_SEQUENCE, NULL, 0); /* no issuer's name */
    if (flaw == LIST_UNKNOWN_ALGORITHM) {
        mark = t.n;
        der_put_tagged(&t, DER_OID, "\x2a\x03", 2);
        der_wrap(&t, DER_SEQUENCE, mark);
    } else
        signature_kind_put(&t, SIGNATURE_ECDSA_SHA256);
    der_put_small(&t, flaw == LIST_VERSION_3 ? 2 : 1);
    der_wrap(&t, DER_SEQUENCE, 0);
    if (flaw == LIST_TRAILING)
        der_put_small(o, 0);
    mark = o->n;
    der_put_tagged(o, DER_BIT_STRING, "\0\1", 2);
    if (flaw == LIST_UNKNOWN_ALGORITHM) {
        size_t algorithm = o->n;
        der_put_tagged(o, DER_OID, "\x2a\x03", 2);
        der_wrap(o, DER_SEQUENCE, algorithm);
    } else
        signature_kind_put(o, flaw == LIST_ALGORITHMS ? SIGNATURE_ECDSA_SHA384 : SIGNATURE_ECDSA_SHA256);
    der_put_der(o, der_out_bytes(&t));
    der_wrap(o, DER_SEQUENCE, mark);
    assert_false(o->full || t.full);
    return der_out_bytes(o);
}

static void test_flaws(void **state) {
    static const struct {
        enum flaw flaw;
        const char *why; /* NULL: taken */
    } rows[] = {{FLAWLESS, NULL},
                {ENTRY_REASON, NULL},
                {ENTRY_NOTED, NULL},
                {LIST_NOTED, NULL},
                {LIST_NO_NEXT, NULL},
                {ENTRY_OF_ANOTHER, "an indirect list: an entry names another issuer"},
                {ENTRY_CRITICAL, "an entry has a critical extension that is not known"},
                {ENTRY_LONG_SERIAL, "malformed"},
                {ENTRY_NEGATIVE, "malformed"},
                {ENTRY_NO_DATE, "malformed"},
                {ENTRY_MORE, "malformed"},
                {LIST_DELTA, "a delta list: only full ones are taken"},
                {LIST_PARTIAL, "a partial or indirect list: it has an issuing distribution point"},
                {LIST_CRITICAL, "it has a critical extension that is not known"},
                {LIST_TWO_NUMBERS, "malformed"},
                {LIST_TWO_AKIS, "malformed"},
                {LIST_VERSION_3, "malformed"},
                {LIST_ALGORITHMS, "malformed"},
                {LIST_UNKNOWN_ALGORITHM, "its signature is of a kind that is not supported"},
                {LIST_TRAILING, "malformed"}};
    _Static_assert(array_size(rows) == _FLAW_MAX, "every flaw has its row");
    for (size_t i = 0; i < array_size(rows); i++) {
        uint8_t buffer[2048];
        struct der_out o = DER_OUT(buffer);
        struct der crl = flawed(rows[i].flaw, &o);
        struct tls_crl_facts facts;
        const char *why = "taken";
        int r = tls_crl_read(crl.at, crl.n, &facts, &why);
        assert_string_equal(why, rows[i].why ? rows[i].why : "taken");
        assert_int_equal(r, rows[i].why ? 1 : 0);
        for (size_t cut = 0; rows[i].flaw == FLAWLESS && cut < crl.n; cut++)
            assert_int_equal(tls_crl_read(crl.at, cut, &facts, &why), 1);
    }
}

/* The bound on entries holds for making and reading, and a list at the bound is searched at once. */
static void test_many(void **state) {
    struct tls_issuer issuer = root_issuer();
    struct tls_revoked *items = calloc(TLS_CRL_ENTRIES_MAX + 1, sizeof(*items));
    struct tls_crl_spec spec = {
        .number = 1, .this_update = f.pki.now_s, .next_update = f.pki.now_s + 60, .items = items, .n = TLS_CRL_ENTRIES_MAX + 1};
    struct tls_der der;
    struct crl crl;
    const char *why = "";
    assert_non_null(items);
    for (uint32_t i = 0; i <= TLS_CRL_ENTRIES_MAX; i++) {
        items[i] = (struct tls_revoked){.serial_n = 16, .at = f.pki.now_s};
        uint32_t mixed = i * 2654435761u; /* out of order */
        memset(items[i].serial, 0x55, 16);
        memcpy(items[i].serial + 1, &mixed, sizeof(mixed));
    }
    assert_int_equal(tls_crl_make(&issuer, &spec, &der), 1);
    spec.n--;
    assert_int_equal(tls_crl_make(&issuer, &spec, &der), 0);
    assert_int_equal(crl_init(&crl, &der, &why), 0);
    assert_int_equal(crl.view.n_revoked, TLS_CRL_ENTRIES_MAX);
    for (uint32_t i = 0; i <= TLS_CRL_ENTRIES_MAX; i++)
        assert_int_equal(crl_lists(&crl, (struct der){items[i].serial, 16}), i < TLS_CRL_ENTRIES_MAX);
    crl_deinit(&crl);
    free(der.at);
    free(items);
}

static void test_texts(void **state) {
    struct tls_issuer issuer = root_issuer();
    struct tls_crl_spec spec = {.number = 1, .this_update = f.pki.now_s, .next_update = f.pki.now_s + 60};
    struct growing two cleanup(growing_deinit) = GROWING_NULL, other cleanup(growing_deinit) = GROWING_NULL;
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_der crl;
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_der_to_pem(&crl, "X509 CRL", &two), 0);
    assert_int_equal(tls_der_to_pem(&crl, "X509 CRL", &two), 0);
    assert_int_equal(tls_der_to_pem(&crl, "CERTIFICATE", &other), 0);
    assert_int_equal(tls_crls_from_pem((struct str){two.at, two.n}, 1, &l), 1);
    assert_int_equal(tls_crls_from_pem((struct str){two.at, two.n - 8}, 2, &l), 1);
    assert_int_equal(tls_crls_from_pem((struct str){other.at, other.n}, 2, &l), 1);
    assert_int_equal(tls_crls_from_pem(STR("none"), 2, &l), 1);
    assert_int_equal(tls_crls_from_pem((struct str){(const char *)crl.at, crl.n - 1}, 2, &l), 1);
    assert_int_equal(l.n, 0);
    assert_int_equal(tls_crls_from_pem(STR(" \r\n"), 2, &l), 0);
    assert_int_equal(l.n, 0);
    assert_int_equal(tls_crls_from_pem((struct str){two.at, two.n}, 2, &l), 0);
    assert_int_equal(l.n, 2);
    tls_der_list_deinit(&l);
    assert_int_equal(tls_crls_from_pem((struct str){(const char *)crl.at, crl.n}, 1, &l), 0);
    assert_int_equal(l.n, 1);
    free(crl.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_read), cmocka_unit_test(test_openssl_accepts),
        cmocka_unit_test(test_of_openssl),    cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_many),          cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
