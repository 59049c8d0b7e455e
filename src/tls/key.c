/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/key.c - see tls/key.h
 *
 * A key is kept once, as PKCS#8 in secret memory, and decoded into wolfCrypt's form for the moment of one signature, so
 * that there is no shared mutable state. That form lies in secret memory, too. The handshakes of a context do not come
 * through here: the library holds its own copy while the context lives, and decodes it for each signature, both in secret
 * memory (library.c).
 * While it signs or makes a key, wolfCrypt has the number (and the signature's one-time number, which gives it away) on the
 * stack, for some ten microseconds; it wipes a part of that, and we what is left. In registers and there, no more is promised. */
#include <errno.h>
#include <stdlib.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "key_private.h"
#include "pem.h"

enum { KEY_DER_MAX = 4096, KEY_PEM_MAX = 16 * 1024 };
static const char label_pkcs8[] = "PRIVATE KEY";

/* wolfCrypt's form of a key, for one operation. */
struct working_key {
    enum key_kind kind; /* KEY_UNSUPPORTED: nothing to free */
    union {             /* in secret memory; NULL: none */
        void *any;
        ecc_key *ecc;
        RsaKey *rsa;
    };
    WC_RNG rng;
    bool has_rng;
};

size_t key_stack_bytes(enum key_kind kind) { return kind == KEY_P256 ? 16 * 1024 : SECRET_STACK_MAX; }

static void working_key_deinit(struct working_key *w) {
    if (w->kind == KEY_RSA)
        wc_FreeRsaKey(w->rsa);
    else if (w->kind != KEY_UNSUPPORTED)
        wc_ecc_free(w->ecc);
    if (w->any)
        secret_give(w->any);
    if (w->has_rng)
        wc_FreeRng(&w->rng);
    secret_wipe(w, sizeof(*w));
    secret_wipe_stack(SECRET_STACK_MAX);
}

static int working_key_ecc(struct working_key *w) {
    w->any = secret_take(sizeof(ecc_key));
    if (!w->any || wc_ecc_init(w->ecc) != 0)
        return err_origin(-ENOMEM);
    w->kind = KEY_P256; /* so that it is freed, whatever it is */
    return 0;
}

static bool working_key_rng(struct working_key *w) {
    if (!w->has_rng)
        w->has_rng = wc_InitRng(&w->rng) == 0;
    return w->has_rng;
}

enum form { FORM_NONE, FORM_EC, FORM_RSA, FORM_OTHER };

/* Which of the three usual forms is it? Only the outermost shape is looked at; the library decodes. */
static enum form key_form(struct der der) {
    static const uint8_t oid_ec[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
    static const uint8_t oid_rsa[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
    struct der sequence, algorithm, oid;
    unsigned version;
    if (!der_take(&der, DER_SEQUENCE, &sequence) || der.n || !der_take_small(&sequence, 1, &version))
        return FORM_NONE;
    if (der_peek(&sequence, DER_OCTET_STRING))
        return version == 1 ? FORM_EC : FORM_NONE; /* SEC1 */
    if (der_peek(&sequence, DER_INTEGER))
        return version == 0 ? FORM_RSA : FORM_NONE; /* PKCS#1 */
    if (!der_take(&sequence, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid))
        return FORM_NONE;
    if (der_is(oid, (struct der){oid_ec, sizeof(oid_ec)}))
        return FORM_EC;
    return der_is(oid, (struct der){oid_rsa, sizeof(oid_rsa)}) ? FORM_RSA : FORM_OTHER;
}

static int decode_ec(struct der der, struct working_key *w) {
    word32 at = 0;
    int r = working_key_ecc(w);
    if (r)
        return err_trace(r);
    r = wc_EccPrivateKeyDecode(der.at, &at, w->ecc, (word32)der.n);
    if (r == MEMORY_E)
        return err_origin(-ENOMEM);
    if (r != 0)
        return r == ECC_CURVE_OID_E ? TLS_KEY_UNSUPPORTED : TLS_KEY_MALFORMED;
    int curve = wc_ecc_get_curve_id(w->ecc->idx);
    if (curve != ECC_SECP256R1 && curve != ECC_SECP384R1)
        return TLS_KEY_UNSUPPORTED;
    w->kind = curve == ECC_SECP256R1 ? KEY_P256 : KEY_P384;
    if (!working_key_rng(w))
        return err_origin(-ENOTRECOVERABLE);
    if (w->ecc->type == ECC_PRIVATEKEY_ONLY && wc_ecc_make_pub_ex(w->ecc, NULL, &w->rng) != 0)
        return TLS_KEY_MALFORMED;
    return TLS_KEY_OK;
}

static int decode_rsa(struct der der, struct working_key *w) {
    word32 at = 0;
    w->any = secret_take(sizeof(RsaKey));
    if (!w->any || wc_InitRsaKey(w->rsa, NULL) != 0)
        return err_origin(-ENOMEM);
    w->kind = KEY_RSA;
    int r = wc_RsaPrivateKeyDecode(der.at, &at, w->rsa, (word32)der.n);
    if (r == MEMORY_E)
        return err_origin(-ENOMEM);
    if (r != 0)
        return TLS_KEY_MALFORMED;
    int n = wc_RsaEncryptSize(w->rsa);
    if (n * 8 < RSA_BITS_MIN || n * 8 > RSA_BITS_MAX)
        return TLS_KEY_UNSUPPORTED;
    if (!working_key_rng(w))
        return err_origin(-ENOTRECOVERABLE);
    return wc_RsaSetRNG(w->rsa, &w->rng) == 0 ? TLS_KEY_OK : TLS_KEY_MALFORMED;
}

/* Verdicts of tls_key_from_pem. */
static int working_key_decode(struct der der, struct working_key *w) {
    switch (key_form(der)) {
    case FORM_EC:
        return decode_ec(der, w);
    case FORM_RSA:
        return decode_rsa(der, w);
    case FORM_OTHER:
        return TLS_KEY_UNSUPPORTED;
    case FORM_NONE:
        break;
    }
    return TLS_KEY_MALFORMED;
}

/* AlgorithmIdentifier of the key itself. */
static void put_algorithm(struct der_out *o, enum key_kind kind) {
    static const uint8_t p256[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                   0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    static const uint8_t p384[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
    static const uint8_t rsa[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    if (kind == KEY_P256)
        der_put_tagged(o, DER_SEQUENCE, p256, sizeof(p256));
    else if (kind == KEY_P384)
        der_put_tagged(o, DER_SEQUENCE, p384, sizeof(p384));
    else
        der_put_tagged(o, DER_SEQUENCE, rsa, sizeof(rsa));
}

static int keep_pkcs8(struct tls_key *k, struct working_key *w) {
    struct secret inner cleanup(secret_deinit) = SECRET_NULL, outer cleanup(secret_deinit) = SECRET_NULL;
    int r = secret_new(&inner, KEY_DER_MAX);
    if (!r)
        r = secret_new(&outer, KEY_DER_MAX);
    if (r)
        return err_trace(r);
    int n = w->kind == KEY_RSA ? wc_RsaKeyToDer(w->rsa, inner.at, KEY_DER_MAX) : wc_EccKeyToDer(w->ecc, inner.at, KEY_DER_MAX);
    if (n <= 0)
        return err_origin(-ENOTRECOVERABLE);
    struct der_out o = {.buffer = outer.at, .cap = outer.n};
    der_put_tagged(&o, DER_OCTET_STRING, inner.at, (size_t)n);
    put_algorithm(&o, w->kind);
    der_put_small(&o, 0);
    der_wrap(&o, DER_SEQUENCE, 0);
    if (o.full)
        return err_origin(-EOVERFLOW);
    struct der made = der_out_bytes(&o);
    return err_trace(secret_copy(&k->pkcs8, made.at, made.n));
}

static int keep_public(struct tls_key *k, struct working_key *w) {
    uint8_t buffer[1024], point[1 + 2 * 48], n_bytes[RSA_BITS_MAX / 8], e_bytes[8];
    word32 n_point = sizeof(point), n_n = sizeof(n_bytes), n_e = sizeof(e_bytes);
    struct der_out o = DER_OUT(buffer);
    int r = w->kind == KEY_RSA ? wc_RsaFlattenPublicKey(w->rsa, e_bytes, &n_e, n_bytes, &n_n)
                               : wc_ecc_export_x963(w->ecc, point, &n_point);
    if (r != 0)
        return err_origin(-ENOTRECOVERABLE);
    if (w->kind == KEY_RSA) {
        der_put_natural(&o, e_bytes, n_e);
        der_put_natural(&o, n_bytes, n_n);
        der_wrap(&o, DER_SEQUENCE, 0);
    } else
        der_put(&o, point, n_point);
    der_put(&o, "\0", 1); /* no unused bits */
    der_wrap(&o, DER_BIT_STRING, 0);
    put_algorithm(&o, w->kind);
    struct der made = der_out_bytes(&o);
    k->spki = o.full ? NULL : malloc(made.n);
    if (!k->spki)
        return err_origin(-ENOMEM);
    memcpy(k->spki, made.at, made.n);
    k->spki_n = made.n;
    return public_key_read(key_spki(k), &k->public) && k->public.kind == w->kind ? 0 : err_origin(-ENOTRECOVERABLE);
}

static int key_new(struct working_key *w, struct tls_key **ret) {
    cleanup(tls_key_freep) struct tls_key *k = calloc(1, sizeof(*k));
    if (!k)
        return err_origin(-ENOMEM);
    int r = keep_pkcs8(k, w);
    if (!r)
        r = keep_public(k, w);
    if (r)
        return err_trace(r);
    *ret = take_ptr(k);
    return 0;
}

int tls_key_generate(struct tls_key **ret) {
    struct working_key w cleanup(working_key_deinit) = {.kind = KEY_UNSUPPORTED};
    int r = working_key_ecc(&w);
    if (r)
        return err_trace(r);
    if (!working_key_rng(&w) || wc_ecc_make_key_ex(&w.rng, 32, w.ecc, ECC_SECP256R1) != 0)
        return err_origin(-ENOTRECOVERABLE);
    return err_trace(key_new(&w, ret));
}

/* A file may have been put together wrongly: what the private half signs the public half must verify. */
static int key_halves_match(const struct tls_key *k) {
    static const uint8_t message[] = "halves";
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    struct der m = {message, sizeof(message)};
    if (!public_key_valid(&k->public) || key_sign(k, m, signature, &n) != 0)
        return TLS_KEY_MALFORMED;
    return signature_check(&k->public, key_signature_kind(k), m, (struct der){signature, n}) ? TLS_KEY_OK : TLS_KEY_MALFORMED;
}

int tls_key_from_pem(struct str pem, struct tls_key **ret) {
    struct pem_block block;
    if (pem.n > KEY_PEM_MAX)
        return TLS_KEY_MALFORMED;
    for (;;) {
        if (pem_next(&pem, &block) != PEM_BLOCK)
            return TLS_KEY_MALFORMED;
        if (str_is(block.label, STR("ENCRYPTED PRIVATE KEY")))
            return TLS_KEY_UNSUPPORTED;
        if (str_is(block.label, STR("PRIVATE KEY")) || str_is(block.label, STR("EC PRIVATE KEY")) ||
            str_is(block.label, STR("RSA PRIVATE KEY")))
            break; /* before it there may be parameters or certificates */
    }
    struct secret der cleanup(secret_deinit) = SECRET_NULL;
    struct working_key w cleanup(working_key_deinit) = {.kind = KEY_UNSUPPORTED};
    size_t n;
    int r = secret_new(&der, pem_bytes_max(&block));
    if (r)
        return err_trace(r);
    if (!pem_decode(&block, der.at, der.n, &n))
        return TLS_KEY_MALFORMED;
    r = working_key_decode((struct der){der.at, n}, &w);
    if (r < 0)
        return err_trace(r);
    if (r > 0)
        return r;
    cleanup(tls_key_freep) struct tls_key *k = NULL;
    r = key_new(&w, &k);
    if (!r)
        r = key_halves_match(k);
    if (r)
        return r < 0 ? err_trace(r) : r;
    *ret = take_ptr(k);
    return TLS_KEY_OK;
}

int tls_key_to_pem(const struct tls_key *k, struct secret *ret_pem) {
    struct secret text cleanup(secret_deinit) = SECRET_NULL;
    size_t n;
    int r = secret_new(&text, pem_text_max(label_pkcs8, k->pkcs8.n));
    if (r)
        return err_trace(r);
    if (!pem_encode(label_pkcs8, k->pkcs8.at, k->pkcs8.n, (char *)text.at, text.n, &n))
        return err_origin(-ENOTRECOVERABLE);
    return err_trace(secret_copy(ret_pem, text.at, n));
}

int tls_key_to_der(const struct tls_key *k, struct secret *ret_der) {
    return err_trace(secret_copy(ret_der, k->pkcs8.at, k->pkcs8.n));
}

struct tls_key *tls_key_free(struct tls_key *k) {
    if (!k)
        return NULL;
    secret_deinit(&k->pkcs8);
    free(k->spki);
    free(k);
    return NULL;
}

const char *tls_key_kind(const struct tls_key *k) { return public_key_name(&k->public); }

enum signature_kind key_signature_kind(const struct tls_key *k) {
    switch (k->public.kind) {
    case KEY_P256:
        return SIGNATURE_ECDSA_SHA256;
    case KEY_P384:
        return SIGNATURE_ECDSA_SHA384;
    case KEY_RSA:
        return SIGNATURE_RSA_SHA256;
    case KEY_UNSUPPORTED:
        break;
    }
    unreachable_because("a private key is of a kind that we made or read");
}

int key_sign(const struct tls_key *k, struct der message, uint8_t ret[SIGNATURE_BYTES_MAX], size_t *ret_n) {
    struct working_key w cleanup(working_key_deinit) = {.kind = KEY_UNSUPPORTED};
    uint8_t hash[DIGEST_BYTES_MAX], encoded[DIGEST_BYTES_MAX + 32];
    size_t n_hash;
    int r = err_fold(working_key_decode((struct der){k->pkcs8.at, k->pkcs8.n}, &w));
    if (r)
        return r;
    if (!digest(key_signature_kind(k), message, hash, &n_hash))
        return err_origin(-ENOTRECOVERABLE);
    if (w.kind == KEY_RSA) {
        word32 n_encoded = wc_EncodeSignature(encoded, hash, (word32)n_hash, SHA256h);
        r = wc_RsaSSL_Sign(encoded, n_encoded, ret, SIGNATURE_BYTES_MAX, w.rsa, &w.rng);
        if (r <= 0)
            return err_origin(-ENOTRECOVERABLE);
        *ret_n = (size_t)r;
        return 0;
    }
    word32 n = SIGNATURE_BYTES_MAX;
    if (wc_ecc_sign_hash(hash, (word32)n_hash, ret, &n, &w.rng, w.ecc) != 0)
        return err_origin(-ENOTRECOVERABLE);
    *ret_n = n;
    return 0;
}
