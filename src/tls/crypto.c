/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/crypto.c - see crypto.h */
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include <ringwall/base/check.h>

#include "crypto.h"

#define OID(...) ((struct der){(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})
#define OID_EC_PUBLIC_KEY OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01)
#define OID_P256 OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07)
#define OID_P384 OID(0x2b, 0x81, 0x04, 0x00, 0x22)
#define OID_RSA OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01)

static bool rsa_read(struct der bits, struct public_key *ret) {
    struct der sequence, modulus, exponent;
    if (!der_take(&bits, DER_SEQUENCE, &sequence) || bits.n || !der_take_natural(&sequence, &modulus) ||
        !der_take_natural(&sequence, &exponent) || sequence.n)
        return false;
    /* An even or huge exponent is a way to make us work, or nonsense. */
    if (exponent.n > 4 || !(exponent.at[exponent.n - 1] & 1) || (exponent.n == 1 && exponent.at[0] < 3))
        return false;
    unsigned bits_n = (unsigned)modulus.n * 8;
    for (uint8_t top = modulus.at[0]; bits_n && !(top & 0x80); top = (uint8_t)(top << 1))
        if (--bits_n % 8 == 0)
            break;
    if (bits_n >= RSA_BITS_MIN && bits_n <= RSA_BITS_MAX)
        ret->kind = KEY_RSA;
    ret->bits = bits_n;
    ret->modulus = modulus;
    ret->exponent = exponent;
    return true;
}

bool public_key_read(struct der spki, struct public_key *ret) {
    struct der algorithm, oid, curve, bits;
    struct public_key k = {.kind = KEY_UNSUPPORTED};
    if (!der_take(&spki, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) || !der_take_bits(&spki, &bits) ||
        spki.n)
        return false;
    k.bytes = bits;
    if (der_is(oid, OID_RSA)) {
        struct der nothing;
        if (!der_take(&algorithm, DER_NULL, &nothing) || nothing.n || algorithm.n || !rsa_read(bits, &k))
            return false;
    } else if (der_is(oid, OID_EC_PUBLIC_KEY)) {
        if (!der_take(&algorithm, DER_OID, &curve) || algorithm.n)
            return false;
        enum key_kind kind = der_is(curve, OID_P256) ? KEY_P256 : der_is(curve, OID_P384) ? KEY_P384 : KEY_UNSUPPORTED;
        unsigned n_bits = kind == KEY_P256 ? 256 : 384;
        if (kind != KEY_UNSUPPORTED && (bits.n != 1 + 2 * n_bits / 8 || bits.at[0] != 4))
            return false;
        if (kind != KEY_UNSUPPORTED) {
            k.kind = kind;
            k.bits = n_bits;
            k.point = bits;
        }
    }
    *ret = k;
    return true;
}

const char *public_key_name(const struct public_key *k) {
    switch (k->kind) {
    case KEY_P256:
        return "P-256";
    case KEY_P384:
        return "P-384";
    case KEY_RSA:
        return k->bits == 2048 ? "RSA-2048" : k->bits == 3072 ? "RSA-3072" : k->bits == 4096 ? "RSA-4096" : "RSA";
    case KEY_UNSUPPORTED:
        break;
    }
    return "unsupported";
}

static bool ecc_import(const struct public_key *k, ecc_key *to) {
    return wc_ecc_import_x963_ex(k->point.at, (word32)k->point.n, to, k->kind == KEY_P256 ? ECC_SECP256R1 : ECC_SECP384R1) == 0;
}

bool public_key_valid(const struct public_key *k) {
    ecc_key key;
    if (k->kind == KEY_RSA)
        return true;
    if (k->kind == KEY_UNSUPPORTED || wc_ecc_init(&key) != 0)
        return false;
    bool valid = ecc_import(k, &key) && wc_ecc_check_key(&key) == 0;
    wc_ecc_free(&key);
    return valid;
}

void public_key_id(const struct public_key *k, uint8_t ret[KEY_ID_BYTES]) {
    uint8_t hash[WC_SHA256_DIGEST_SIZE];
    check(digest_sha256(k->bytes, (struct der){0}, hash));
    memcpy(ret, hash, KEY_ID_BYTES);
}

struct signature_row {
    struct der oid;
    enum key_kind key; /* KEY_P256 stands for both curves */
    int hash_oid;
    size_t digest_bytes;
};
static const uint8_t oid_ecdsa_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
static const uint8_t oid_ecdsa_sha384[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03};
static const uint8_t oid_rsa_sha256[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b};
static const uint8_t oid_rsa_sha384[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c};
static const uint8_t oid_rsa_sha512[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d};
static const struct signature_row signature_rows[_SIGNATURE_KIND_MAX] = {
    [SIGNATURE_ECDSA_SHA256] = {{oid_ecdsa_sha256, sizeof(oid_ecdsa_sha256)}, KEY_P256, SHA256h, WC_SHA256_DIGEST_SIZE},
    [SIGNATURE_ECDSA_SHA384] = {{oid_ecdsa_sha384, sizeof(oid_ecdsa_sha384)}, KEY_P256, SHA384h, WC_SHA384_DIGEST_SIZE},
    [SIGNATURE_RSA_SHA256] = {{oid_rsa_sha256, sizeof(oid_rsa_sha256)}, KEY_RSA, SHA256h, WC_SHA256_DIGEST_SIZE},
    [SIGNATURE_RSA_SHA384] = {{oid_rsa_sha384, sizeof(oid_rsa_sha384)}, KEY_RSA, SHA384h, WC_SHA384_DIGEST_SIZE},
    [SIGNATURE_RSA_SHA512] = {{oid_rsa_sha512, sizeof(oid_rsa_sha512)}, KEY_RSA, SHA512h, WC_SHA512_DIGEST_SIZE},
};

enum signature_kind signature_kind_read(struct der algorithm) {
    struct der oid, nothing;
    if (!der_take(&algorithm, DER_OID, &oid))
        return SIGNATURE_UNSUPPORTED;
    for (int kind = SIGNATURE_UNSUPPORTED + 1; kind < _SIGNATURE_KIND_MAX; kind++) {
        if (!der_is(oid, signature_rows[kind].oid))
            continue;
        /* RFC 4055 and 5758: NULL parameters with RSA (some leave them out), none with ECDSA */
        if (signature_rows[kind].key == KEY_RSA && algorithm.n && (!der_take(&algorithm, DER_NULL, &nothing) || nothing.n))
            return SIGNATURE_UNSUPPORTED;
        return algorithm.n ? SIGNATURE_UNSUPPORTED : (enum signature_kind)kind;
    }
    return SIGNATURE_UNSUPPORTED;
}

void signature_kind_put(struct der_out *o, enum signature_kind kind) {
    check(kind > SIGNATURE_UNSUPPORTED && kind < _SIGNATURE_KIND_MAX);
    size_t mark = o->n;
    if (signature_rows[kind].key == KEY_RSA)
        der_put_tagged(o, DER_NULL, NULL, 0);
    der_put_tagged(o, DER_OID, signature_rows[kind].oid.at, signature_rows[kind].oid.n);
    der_wrap(o, DER_SEQUENCE, mark);
}

bool digest(enum signature_kind kind, struct der message, uint8_t ret[DIGEST_BYTES_MAX], size_t *ret_n) {
    check(kind > SIGNATURE_UNSUPPORTED && kind < _SIGNATURE_KIND_MAX);
    const struct signature_row *row = &signature_rows[kind];
    int r = row->hash_oid == SHA256h   ? wc_Sha256Hash(message.at, (word32)message.n, ret)
            : row->hash_oid == SHA384h ? wc_Sha384Hash(message.at, (word32)message.n, ret)
                                       : wc_Sha512Hash(message.at, (word32)message.n, ret);
    if (r != 0)
        return false;
    *ret_n = row->digest_bytes;
    return true;
}

bool digest_sha256(struct der a, struct der b, uint8_t ret[32]) {
    wc_Sha256 sha;
    if (wc_InitSha256(&sha) != 0)
        return false;
    bool ok = wc_Sha256Update(&sha, a.at, (word32)a.n) == 0 && (b.n == 0 || wc_Sha256Update(&sha, b.at, (word32)b.n) == 0) &&
              wc_Sha256Final(&sha, ret) == 0;
    wc_Sha256Free(&sha);
    return ok;
}

static bool ecdsa_check(const struct public_key *k, struct der hash, struct der signature) {
    ecc_key key;
    int verified = 0;
    if (wc_ecc_init(&key) != 0)
        return false;
    bool ok = ecc_import(k, &key) &&
              wc_ecc_verify_hash(signature.at, (word32)signature.n, hash.at, (word32)hash.n, &verified, &key) == 0 && verified == 1;
    wc_ecc_free(&key);
    return ok;
}

/* Encodes what the signature must contain and compares: nothing in the padded block is parsed. */
static bool rsa_check(const struct public_key *k, int hash_oid, struct der hash, struct der signature) {
    RsaKey key;
    uint8_t expected[DIGEST_BYTES_MAX + 32], opened[SIGNATURE_BYTES_MAX];
    word32 n_expected = wc_EncodeSignature(expected, hash.at, (word32)hash.n, hash_oid);
    if (n_expected == 0 || n_expected > sizeof(expected) || signature.n != k->modulus.n || wc_InitRsaKey(&key, NULL) != 0)
        return false;
    bool ok = false;
    if (wc_RsaPublicKeyDecodeRaw(k->modulus.at, (word32)k->modulus.n, k->exponent.at, (word32)k->exponent.n, &key) == 0) {
        int n = wc_RsaSSL_Verify(signature.at, (word32)signature.n, opened, sizeof(opened), &key);
        ok = n == (int)n_expected && !memcmp(opened, expected, n_expected);
    }
    wc_FreeRsaKey(&key);
    return ok;
}

bool signature_check_hash(const struct public_key *k, enum signature_kind kind, struct der hash, struct der signature) {
    if (k->kind == KEY_UNSUPPORTED || kind <= SIGNATURE_UNSUPPORTED || kind >= _SIGNATURE_KIND_MAX)
        return false;
    const struct signature_row *row = &signature_rows[kind];
    if ((row->key == KEY_RSA) != (k->kind == KEY_RSA) || signature.n == 0 || signature.n > SIGNATURE_BYTES_MAX ||
        hash.n != row->digest_bytes)
        return false;
    return row->key == KEY_RSA ? rsa_check(k, row->hash_oid, hash, signature) : ecdsa_check(k, hash, signature);
}

bool signature_check(const struct public_key *k, enum signature_kind kind, struct der message, struct der signature) {
    uint8_t hash[DIGEST_BYTES_MAX];
    size_t n;
    if (k->kind == KEY_UNSUPPORTED || kind <= SIGNATURE_UNSUPPORTED || kind >= _SIGNATURE_KIND_MAX ||
        (signature_rows[kind].key == KEY_RSA) != (k->kind == KEY_RSA) || !digest(kind, message, hash, &n))
        return false;
    return signature_check_hash(k, kind, (struct der){hash, n}, signature);
}
