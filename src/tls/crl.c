/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/crl.c - revocation lists: read strictly, and made (tls/crl.h)
 *
 * All entries are walked once when a list is read, so that whoever looks at them later need not doubt them. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "csr.h"
#include "key_private.h"
#include "pem.h"
#include "revoke.h"

enum {
    EXTENSION_REASON = 21,
    EXTENSION_INVALIDITY = 24,
    EXTENSION_NUMBER = 20,
    EXTENSION_DELTA = 27,
    EXTENSION_DISTRIBUTION = 28,
    EXTENSION_ISSUER = 29,
    EXTENSION_AKI = 35,
};
static const char *const too_large = "larger than a revocation list may be", *const malformed = "malformed";

/* One Extension: 2.5.29.id, or id 0 for another arc. */
static bool extension_take(struct der *list, uint8_t *ret_id, bool *ret_critical, struct der *ret_value) {
    struct der extension, oid;
    *ret_critical = false;
    if (!der_take(list, DER_SEQUENCE, &extension) || !der_take(&extension, DER_OID, &oid) ||
        (der_peek(&extension, DER_BOOLEAN) && !der_take_bool(&extension, ret_critical)) ||
        !der_take(&extension, DER_OCTET_STRING, ret_value) || extension.n)
        return false;
    *ret_id = oid.n == 3 && oid.at[0] == 0x55 && oid.at[1] == 0x1d ? oid.at[2] : 0;
    return true;
}

static const char *entry_extensions_read(struct der list) {
    while (list.n) {
        struct der value;
        bool critical;
        uint8_t id;
        if (!extension_take(&list, &id, &critical, &value))
            return malformed;
        if (id == EXTENSION_ISSUER)
            return "an indirect list: an entry names another issuer";
        if (critical && id != EXTENSION_REASON && id != EXTENSION_INVALIDITY)
            return "an entry has a critical extension that is not known";
    }
    return NULL;
}

static bool entry_take(struct der *list, struct der *ret_serial, int64_t *ret_at, struct der *ret_extensions) {
    struct der entry;
    *ret_extensions = (struct der){0};
    if (!der_take(list, DER_SEQUENCE, &entry) || !der_take_natural(&entry, ret_serial) || ret_serial->n > TLS_SERIAL_MAX ||
        !der_take_time(&entry, ret_at))
        return false;
    return entry.n == 0 || (der_take(&entry, DER_SEQUENCE, ret_extensions) && entry.n == 0);
}

bool crl_step(struct der *revoked, struct der *ret_serial, int64_t *ret_at) {
    struct der extensions;
    return revoked->n && entry_take(revoked, ret_serial, ret_at, &extensions);
}

static const char *entries_read(struct crl_view *v) {
    struct der rest = v->revoked, serial, extensions;
    int64_t at;
    while (rest.n) {
        if (v->n_revoked == TLS_CRL_ENTRIES_MAX)
            return "more entries than a revocation list may have";
        if (!entry_take(&rest, &serial, &at, &extensions))
            return malformed;
        const char *why = entry_extensions_read(extensions);
        if (why)
            return why;
        v->n_revoked++;
    }
    return NULL;
}

static bool aki_read(struct der value, struct der *ret) {
    struct der sequence;
    struct der_item item;
    if (!der_take(&value, DER_SEQUENCE, &sequence) || value.n)
        return false;
    while (sequence.n) {
        if (!der_next(&sequence, &item))
            return false;
        if (item.tag == DER_CONTEXT(0))
            *ret = item.body;
    }
    return true;
}

static const char *list_extensions_read(struct der list, struct crl_view *v) {
    bool has_aki = false;
    while (list.n) {
        struct der value;
        bool critical;
        uint8_t id;
        if (!extension_take(&list, &id, &critical, &value))
            return malformed;
        if (id == EXTENSION_DELTA)
            return "a delta list: only full ones are taken";
        if (id == EXTENSION_DISTRIBUTION)
            return "a partial or indirect list: it has an issuing distribution point";
        if (id == EXTENSION_NUMBER) {
            if (v->number.n || !der_take_natural(&value, &v->number) || value.n || v->number.n > TLS_SERIAL_MAX)
                return malformed;
        } else if (id == EXTENSION_AKI) {
            if (has_aki || !aki_read(value, &v->aki))
                return malformed;
            has_aki = true;
        } else if (critical)
            return "it has a critical extension that is not known";
    }
    return NULL;
}

static const char *tbs_read(struct der tbs, struct crl_view *v, struct der *ret_algorithm) {
    struct der explicit, list;
    struct der_item name;
    unsigned version;
    if (!der_peek(&tbs, DER_INTEGER))
        return "version 1: only version 2 is taken";
    if (!der_take_small(&tbs, 1, &version) || version != 1 || !der_take(&tbs, DER_SEQUENCE, ret_algorithm) ||
        !der_take_whole(&tbs, DER_SEQUENCE, &name) || !der_take_time(&tbs, &v->this_update))
        return malformed;
    v->issuer = name.whole;
    if ((der_peek(&tbs, DER_UTC_TIME) || der_peek(&tbs, DER_GENERALIZED_TIME)) && !der_take_time(&tbs, &v->next_update))
        return malformed;
    if (der_peek(&tbs, DER_SEQUENCE) && !der_take(&tbs, DER_SEQUENCE, &v->revoked))
        return malformed;
    if (!tbs.n)
        return entries_read(v);
    if (!der_take(&tbs, DER_CONTEXT_CONSTRUCTED(0), &explicit) || tbs.n || !der_take(&explicit, DER_SEQUENCE, &list) || explicit.n)
        return malformed;
    const char *why = list_extensions_read(list, v);
    return why ? why : entries_read(v);
}

bool crl_view_read(const uint8_t *der, size_t n, struct crl_view *ret, const char **ret_why) {
    struct crl_view v = {0};
    struct der in = {der, n}, body, inner = {0}, outer;
    struct der_item whole, tbs;
    const char *why = NULL;
    if (n > TLS_CRL_BYTES_MAX)
        why = too_large;
    else if (!der_take_whole(&in, DER_SEQUENCE, &whole) || in.n)
        why = malformed;
    else {
        body = whole.body;
        v.whole = whole.whole;
        if (!der_take_whole(&body, DER_SEQUENCE, &tbs) || !der_take(&body, DER_SEQUENCE, &outer) ||
            !der_take_bits(&body, &v.signature) || body.n)
            why = malformed;
    }
    if (!why) {
        v.tbs = tbs.whole;
        why = tbs_read(tbs.body, &v, &inner);
    }
    if (!why && !der_is(inner, outer))
        why = malformed;
    if (!why && (v.signature_kind = signature_kind_read(outer)) == SIGNATURE_UNSUPPORTED)
        why = "its signature is of a kind that is not supported";
    if (why) {
        *ret_why = why;
        return false;
    }
    *ret = v;
    return true;
}

static uint64_t number_of(struct der number) {
    uint64_t value = 0;
    if (number.n > sizeof(value))
        return UINT64_MAX;
    for (size_t i = 0; i < number.n; i++)
        value = value << 8 | number.at[i];
    return value;
}

static void facts_of(const struct crl_view *v, struct tls_crl_facts *ret) {
    struct text issuer = TEXT_OVER(ret->issuer);
    name_format(v->issuer, &issuer);
    ret->has_number = v->number.n > 0;
    ret->number = number_of(v->number);
    ret->this_update = v->this_update;
    ret->next_update = v->next_update;
    ret->n_revoked = v->n_revoked;
}

int tls_crl_read(const uint8_t *der, size_t n, struct tls_crl_facts *ret, const char **ret_why) {
    struct crl_view v;
    if (!crl_view_read(der, n, &v, ret_why))
        return 1;
    memset(ret, 0, sizeof(*ret));
    facts_of(&v, ret);
    return 0;
}

bool tls_crl_signed_by(const uint8_t *crl, size_t n, const uint8_t *issuer, size_t issuer_n) {
    struct crl_view v;
    struct cert_view i;
    const char *why;
    return crl_view_read(crl, n, &v, &why) && cert_view_read(issuer, issuer_n, &i) && i.x.is_ca &&
           (!i.x.has_key_usage || i.x.key_usage & KEY_USAGE_CRL_SIGN) && der_is(v.issuer, i.subject) &&
           signature_check(&i.key, v.signature_kind, v.tbs, v.signature);
}

int serial_compare(struct der a, struct der b) {
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n ? memcmp(a.at, b.at, a.n) : 0;
}

/* ---- made ready for questions ---- */

struct place {
    struct der serial;
    uint32_t at;
};

static int place_compare(const void *a, const void *b) {
    return serial_compare(((const struct place *)a)->serial, ((const struct place *)b)->serial);
}

static int sort_serials(struct crl *c) {
    struct der rest = c->view.revoked;
    struct place *places cleanup_free = calloc(max_of(c->view.n_revoked, (size_t)1), sizeof(*places));
    c->serials = calloc(max_of(c->view.n_revoked, (size_t)1), sizeof(*c->serials));
    if (!places || !c->serials)
        return err_origin(-ENOMEM);
    int64_t at;
    for (size_t i = 0; i < c->view.n_revoked; i++) {
        struct place *p = &places[i];
        p->at = (uint32_t)(rest.at - c->view.revoked.at);
        check(crl_step(&rest, &p->serial, &at));
    }
    qsort(places, c->view.n_revoked, sizeof(*places), place_compare);
    for (size_t i = 0; i < c->view.n_revoked; i++)
        c->serials[i] = places[i].at;
    return 0;
}

int crl_init(struct crl *c, const struct tls_der *der, const char **ret_why) {
    memset(c, 0, sizeof(*c));
    if (!crl_view_read(der->at, der->n, &c->view, ret_why))
        return 1;
    if (!digest(c->view.signature_kind, c->view.tbs, c->hash, &c->hash_n))
        return err_origin(-ENOTRECOVERABLE);
    facts_of(&c->view, &c->facts);
    c->issuer = print_of(c->view.issuer);
    c->issuer_key = print_of(c->view.aki);
    return err_trace(sort_serials(c));
}

void crl_deinit(struct crl *c) {
    free(c->serials);
    c->serials = NULL;
}

static struct der serial_at(const struct crl *c, size_t i) {
    struct der rest = {c->view.revoked.at + c->serials[i], c->view.revoked.n - c->serials[i]}, serial = {0};
    int64_t at;
    check(crl_step(&rest, &serial, &at));
    return serial;
}

bool crl_lists(const struct crl *c, struct der serial) {
    size_t low = 0, high = c->view.n_revoked;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = serial_compare(serial_at(c, middle), serial);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

int tls_crl_entries(const uint8_t *der, size_t n, struct tls_revoked **ret, size_t *ret_n) {
    struct tls_der in = {.at = (uint8_t *)(uintptr_t)der, .n = n};
    struct crl c cleanup(crl_deinit) = {0};
    const char *why;
    int r = crl_init(&c, &in, &why);
    if (r)
        return r < 0 ? err_trace(r) : 1;
    struct tls_revoked *items = calloc(max_of(c.view.n_revoked, (size_t)1), sizeof(*items));
    if (!items)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < c.view.n_revoked; i++) {
        struct der rest = {c.view.revoked.at + c.serials[i], c.view.revoked.n - c.serials[i]}, serial;
        check(crl_step(&rest, &serial, &items[i].at));
        items[i].serial_n = (uint8_t)serial.n;
        memcpy(items[i].serial, serial.at, serial.n);
    }
    *ret = items;
    *ret_n = c.view.n_revoked;
    return 0;
}

/* ---- files ---- */

static int add_list(const struct pem_block *b, struct tls_der_list *l) {
    struct crl_view v;
    const char *why;
    size_t n, cap = pem_bytes_max(b);
    if (cap > (size_t)TLS_CRL_BYTES_MAX * 2) /* line ends count as well */
        return 1;
    uint8_t *der cleanup_free = malloc(cap);
    if (!der)
        return err_origin(-ENOMEM);
    if (!pem_decode(b, der, cap, &n) || !crl_view_read(der, n, &v, &why))
        return 1;
    return err_trace(tls_der_list_add(l, der, n));
}

static bool is_blank(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] != ' ' && s.at[i] != '\n' && s.at[i] != '\r' && s.at[i] != '\t')
            return false;
    return true;
}

int tls_crls_from_pem(struct str pem, size_t n_max, struct tls_der_list *ret) {
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct pem_block block;
    enum pem_verdict v;
    struct crl_view view;
    const char *why;
    int r = 0;
    bool blank = is_blank(pem);
    if (pem.n && (uint8_t)pem.at[0] == DER_SEQUENCE) {
        if (n_max == 0 || !crl_view_read((const uint8_t *)pem.at, pem.n, &view, &why))
            return 1;
        return err_trace(tls_der_list_add(ret, (const uint8_t *)pem.at, pem.n));
    }
    while ((v = pem_next(&pem, &block)) == PEM_BLOCK) {
        if (!str_is(block.label, STR("X509 CRL")))
            continue;
        r = l.n == n_max ? 1 : add_list(&block, &l);
        if (r)
            return r < 0 ? err_trace(r) : 1;
    }
    if (v == PEM_MALFORMED || (l.n == 0 && !blank)) /* a text that holds something else was put there by mistake */
        return 1;
    *ret = l;
    l = TLS_DER_LIST_NULL;
    return 0;
}

/* ---- making one ---- */

static int revoked_compare(const void *a, const void *b) {
    const struct tls_revoked *x = a, *y = b;
    int order = serial_compare((struct der){x->serial, x->serial_n}, (struct der){y->serial, y->serial_n});
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static void put_extension(struct der_out *o, uint8_t id, size_t mark) {
    uint8_t oid[] = {0x55, 0x1d, id};
    der_wrap(o, DER_OCTET_STRING, mark);
    der_put_tagged(o, DER_OID, oid, sizeof(oid));
    der_wrap(o, DER_SEQUENCE, mark);
}

static void put_extensions(struct der_out *o, const struct cert_view *issuer, uint64_t number) {
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    size_t mark = o->n;
    der_put_natural(o, bytes, sizeof(bytes));
    put_extension(o, EXTENSION_NUMBER, mark);
    mark = o->n;
    if (issuer->x.ski.n) {
        der_put_tagged(o, DER_CONTEXT(0), issuer->x.ski.at, issuer->x.ski.n);
        der_wrap(o, DER_SEQUENCE, mark);
        put_extension(o, EXTENSION_AKI, mark);
    }
    der_wrap(o, DER_SEQUENCE, 0);
    der_wrap(o, DER_CONTEXT_CONSTRUCTED(0), 0);
}

/* Backwards, so that they stand in order. `sorted` by serial, then date: of equal serials the first counts. */
static void put_entries(struct der_out *o, const struct tls_revoked *sorted, size_t n) {
    size_t list = o->n;
    for (size_t i = n; i-- > 0;) {
        const struct tls_revoked *r = &sorted[i];
        if (i > 0 && r->serial_n == r[-1].serial_n && !memcmp(r->serial, r[-1].serial, r->serial_n))
            continue;
        size_t mark = o->n;
        der_put_time(o, r->at);
        der_put_natural(o, r->serial, r->serial_n);
        der_wrap(o, DER_SEQUENCE, mark);
    }
    if (n) /* an empty list is left out */
        der_wrap(o, DER_SEQUENCE, list);
}

static int sign_list(const struct tls_key *key, struct der_out *tbs, struct tls_der *ret) {
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    int r = key_sign(key, der_out_bytes(tbs), signature, &n);
    if (r)
        return err_trace(r);
    size_t cap = tbs->n + sizeof(signature) + 64;
    uint8_t *buffer cleanup_free = malloc(cap);
    if (!buffer)
        return err_origin(-ENOMEM);
    struct der_out w = {.buffer = buffer, .cap = cap};
    der_put(&w, signature, n);
    der_put(&w, "\0", 1); /* no unused bits */
    der_wrap(&w, DER_BIT_STRING, 0);
    signature_kind_put(&w, key_signature_kind(key));
    der_put_der(&w, der_out_bytes(tbs));
    der_wrap(&w, DER_SEQUENCE, 0);
    return err_trace(der_out_keep(&w, ret));
}

int tls_crl_make(const struct tls_issuer *issuer, const struct tls_crl_spec *spec, struct tls_der *ret) {
    enum { ENTRY_BYTES_MAX = 64, HEAD_BYTES_MAX = 4096 };
    struct cert_view i;
    if (!cert_view_read(issuer->cert, issuer->cert_n, &i) || !tls_cert_matches_key(issuer->cert, issuer->cert_n, issuer->key))
        return err_origin(-EINVAL);
    if (spec->n > TLS_CRL_ENTRIES_MAX || !i.x.is_ca || (i.x.has_key_usage && !(i.x.key_usage & KEY_USAGE_CRL_SIGN)))
        return 1;
    size_t cap = HEAD_BYTES_MAX + i.subject.n + spec->n * ENTRY_BYTES_MAX;
    struct tls_revoked *sorted cleanup_free = calloc(max_of(spec->n, (size_t)1), sizeof(*sorted));
    uint8_t *buffer cleanup_free = malloc(cap);
    if (!sorted || !buffer)
        return err_origin(-ENOMEM);
    for (size_t k = 0; k < spec->n; k++) {
        check(spec->items[k].serial_n > 0 && spec->items[k].serial_n <= TLS_SERIAL_MAX);
        sorted[k] = spec->items[k];
    }
    qsort(sorted, spec->n, sizeof(*sorted), revoked_compare);
    struct der_out o = {.buffer = buffer, .cap = cap};
    put_extensions(&o, &i, spec->number);
    put_entries(&o, sorted, spec->n);
    der_put_time(&o, spec->next_update);
    der_put_time(&o, spec->this_update);
    der_put_der(&o, i.subject);
    signature_kind_put(&o, key_signature_kind(issuer->key));
    der_put_small(&o, 1);
    der_wrap(&o, DER_SEQUENCE, 0);
    if (o.full)
        return err_origin(-EOVERFLOW);
    return err_trace(sign_list(issuer->key, &o, ret));
}
