/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: all paths of AES-GCM give what the standard says, at every length and alignment, and give nothing away for what was
 * not sealed so.
 * Method: the designers' published vectors; digests of what another implementation (Python's cryptography) made of patterned
 * texts of all small lengths and of some past 2^8 and 2^16 blocks (2^32, where the counter would begin anew, are more than a text
 * may have); random texts against wolfCrypt; every byte of small messages
 * changed; texts that end where the next page may not be read. A path that this CPU lacks is left out, and said so. */
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <ringwall/base/rng.h>

#include "crypto.h"
#include "gcm/gcm.h"
#include "gcm/vaes.h"
#include "key_private.h"
#include "unit.h"

enum { PATHS = GCM_PATHS, LONG_MAX = 1200007, SMALL_MAX = 600, RANDOM_MAX = 64 << 10, GUARD = 64 };

static uint8_t *plain, *sealed, *opened; /* LONG_MAX and a tag each */

static bool has(int path) { return gcm_path_usable((enum gcm_path)path); }

static int group_setup(void **state) {
    if (!has(GCM_VAES_512))
        print_message(has(GCM_VAES) ? "this CPU has no VAES on 512 bits: that path is not tried\n"
                                    : "this CPU has no VAES: only wolfCrypt's path is tried\n");
    plain = malloc(LONG_MAX + GCM_TAG_BYTES);
    sealed = malloc(LONG_MAX + GCM_TAG_BYTES);
    opened = malloc(LONG_MAX + GCM_TAG_BYTES);
    return plain && sealed && opened ? tls_library_init() : -1;
}

static int group_teardown(void **state) {
    free(plain);
    free(sealed);
    free(opened);
    return 0;
}

static void pattern(uint8_t *to, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(i * 167 + (i >> 8) * 59 + (i >> 16) * 101 + seed);
}

static size_t bytes_of(const char *hex, uint8_t *to) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    return n;
}

static void assert_digest(const uint8_t *at, size_t n, const char *hex) {
    uint8_t made[32], expected[32];
    assert_int_equal(bytes_of(hex, expected), 32);
    assert_true(digest_sha256((struct der){at, n}, (struct der){0}, made));
    assert_memory_equal(made, expected, 32);
}

static void assert_wiped(const uint8_t *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        assert_int_equal(at[i], 0);
}

/* "The Galois/Counter Mode of Operation", McGrew and Viega, appendix B: cases 1-4 and 13-16. */
static void test_published(void **state) {
    static const char key[] = "feffe9928665731c6d6a8f9467308308", nonce[] = "cafebabefacedbaddecaf888",
                      aad[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                      text[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                               "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
                      zero[] = "00000000000000000000000000000000", zero_nonce[] = "000000000000000000000000";
    static const struct {
        unsigned key_n;
        const char *key, *nonce, *aad, *text;
        size_t n;
        const char *sealed, *tag;
    } rows[] = {
        {16, zero, zero_nonce, "", "", 0, "", "58e2fccefa7e3061367f1d57a4e7455a"},
        {16, zero, zero_nonce, "", zero, 16, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
        {16, key, nonce, "", text, 64,
         "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
         "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
         "4d5c2af327cd64a62cf35abd2ba6fab4"},
        {16, key, nonce, aad, text, 60,
         "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
         "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
         "5bc94fbc3221a5db94fae95ae7121a47"},
        {32, zero, zero_nonce, "", "", 0, "", "530f8afbc74536b9a963b4f1c4cb738b"},
        {32, zero, zero_nonce, "", zero, 16, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
        {32, key, nonce, "", text, 64,
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
         "b094dac5d93471bdec1a502270e3cc6c"},
        {32, key, nonce, aad, text, 60,
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
         "76fc6ece0f4e1768cddf8853bb2d551b"},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (int path = 0; path < PATHS; path++) {
            uint8_t k[32], iv[12], a[32], p[64], c[64], tag[16], made[64], made_tag[16], back[64];
            if (!has(path))
                continue;
            bytes_of(rows[i].key, k);
            bytes_of(rows[i].key, k + 16); /* the designers' long key is the short one twice */
            bytes_of(rows[i].nonce, iv);
            bytes_of(rows[i].text, p);
            bytes_of(rows[i].sealed, c);
            bytes_of(rows[i].tag, tag);
            size_t n = rows[i].n, n_aad = bytes_of(rows[i].aad, a);
            struct gcm_key g;
            assert_int_equal(gcm_key_init(&g, (enum gcm_path)path, k, rows[i].key_n), 0);
            gcm_seal(&g, iv, a, n_aad, p, n, made, made_tag);
            assert_memory_equal(made, c, n);
            assert_memory_equal(made_tag, tag, 16);
            assert_true(gcm_open(&g, iv, a, n_aad, c, n, back, tag));
            assert_memory_equal(back, p, n);
            gcm_key_deinit(&g);
        }
}

static void key_of_pattern(struct gcm_key *g, int path, unsigned key_n, uint8_t nonce[12]) {
    uint8_t key[32];
    pattern(key, key_n, 3);
    pattern(nonce, 12, 5);
    assert_int_equal(gcm_key_init(g, (enum gcm_path)path, key, key_n), 0);
}

static void seal_patterns(int path, unsigned key_n, bool lengths_of_aad, const char *digest) {
    uint8_t nonce[12], aad[SMALL_MAX];
    size_t at = 0;
    struct gcm_key g;
    key_of_pattern(&g, path, key_n, nonce);
    pattern(plain, SMALL_MAX, 7);
    pattern(aad, sizeof(aad), 11);
    for (size_t i = 0; i <= SMALL_MAX; i++) {
        size_t n = lengths_of_aad ? i % 41 : i, n_aad = lengths_of_aad ? i : i % 41;
        gcm_seal(&g, nonce, aad, n_aad, plain, n, sealed + at, sealed + at + n);
        assert_true(gcm_open(&g, nonce, aad, n_aad, sealed + at, n, opened, sealed + at + n));
        assert_memory_equal(opened, plain, n);
        at += n + GCM_TAG_BYTES;
    }
    assert_digest(sealed, at, digest);
    gcm_key_deinit(&g);
}

static void test_small_lengths(void **state) {
    static const struct {
        unsigned key_n;
        const char *texts, *aads; /* SHA-256 of all that was sealed */
    } rows[] = {
        {16, "7ce0f74a94f9c9fe7897671382c5c48bbb23d213ea1436124b474502ab4be88e",
         "27cbb4e8e50566beb92b35d7ae1981bd601591c1080b92324138c2430d1de66a"},
        {32, "a5a06e3234bdf88021080491a25c9beb4604098c258ecfac0f7d7b1d964a810f",
         "4fa55becd24134dfbbcbc42a9c74f9ebd15099ac53ce2a1f1653d30f7a1bd76d"},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (int path = 0; path < PATHS; path++)
            if (has(path)) {
                seal_patterns(path, rows[i].key_n, false, rows[i].texts);
                seal_patterns(path, rows[i].key_n, true, rows[i].aads);
            }
}

/* The counter's second byte moves after 2^8 blocks, its third after 2^16; the first block of text has number 2. */
static void test_long(void **state) {
    static const struct {
        unsigned key_n;
        size_t n;
        const char *digest;
    } rows[] = {
        {16, 4080, "10851d937d59de6bf3fafa35de60921ede438b4df3b07b8ff5187bdcc094abb6"},
        {16, 4096, "c7dfaf7c8006273217c7e9fe7964fdf46e55cbffc1baed1c19b1b04327273419"},
        {16, 4097, "ce3e564e66a412c14ad26b953e2e66a39c06f85f6c3179faefdf786ddb9f2554"},
        {16, 16385, "656a975f79490bd093df02f3886f2d964c04fbab00235a3798bef42a55849214"},
        {16, 1048560, "4f0de0c49f1767eb01547049722decf2015a720b0600a5a8efcedbf10e23ea73"},
        {16, 1048577, "338304e2b24a430290b469e16a156a71a708911c4b6bd587461e0868ff56cbd1"},
        {16, LONG_MAX, "e956e02f55d21437bbba48754077a3288562e74dc54c808385cf003da841e942"},
        {32, 4080, "5959eeb4ca95c86846adb9d36cf0556df79c8a31085e908108ed7fdc06998547"},
        {32, 4096, "95258257b62efe3f417890a68f7b2218c0db01b138887a70f1c891d2424fae26"},
        {32, 4097, "1df81330160f69673e4a86ba6a402a96df62c728f1df3a89611c8f1876dfebd8"},
        {32, 16385, "2c29de9503d2bc93c90630496598168fb7070e5dae7df36ac86b1b16c5468b3b"},
        {32, 1048560, "56898b36fae53d8d5d3ab6ae6c080d1e27097e3bf93760063cc79e1e4ddeadcd"},
        {32, 1048577, "bb70902032f798d29ec741ed2982d86a62361122254afd81efffe647502dee57"},
        {32, LONG_MAX, "35283fec56cce682146338866065b9494fec91e40fdd1ef57a87536d743bc048"},
    };
    pattern(plain, LONG_MAX, 7);
    for (size_t i = 0; i < array_size(rows); i++)
        for (int path = 0; path < PATHS; path++) {
            uint8_t nonce[12], aad[5];
            struct gcm_key g;
            if (!has(path))
                continue;
            size_t n = rows[i].n;
            pattern(aad, 5, 11);
            key_of_pattern(&g, path, rows[i].key_n, nonce);
            gcm_seal(&g, nonce, aad, 5, plain, n, sealed, sealed + n);
            assert_digest(sealed, n + GCM_TAG_BYTES, rows[i].digest);
            assert_true(gcm_open(&g, nonce, aad, 5, sealed, n, sealed, sealed + n)); /* in place */
            assert_memory_equal(sealed, plain, n);
            gcm_key_deinit(&g);
        }
}

enum { AREA_PART = RANDOM_MAX + 3 * GUARD };

/* Any lengths, alignments and keys, in place or not: wolfCrypt seals what we open and the other way round, and nothing
 * beside the text is written. */
static void one_random(struct rng *rng, int path, uint8_t *area, size_t *n_total) {
    uint8_t key[32], nonce[12], tag[16], tag_theirs[16], aad[700];
    unsigned key_n = rng_below(rng, 2) ? 32 : 16;
    size_t n = rng_below(rng, 4) ? rng_below(rng, 1500) : rng_below(rng, RANDOM_MAX + 1),
           n_aad = rng_below(rng, 3) ? 5 : rng_below(rng, 700);
    uint8_t *from = area + GUARD + rng_below(rng, 64), *aside = area + AREA_PART + GUARD + rng_below(rng, 64);
    uint8_t *to = rng_below(rng, 2) ? from : aside, *theirs = area + 2 * AREA_PART;
    rng_secret(key, sizeof(key));
    rng_secret(nonce, sizeof(nonce));
    rng_secret(aad, n_aad);
    rng_secret(plain, n);
    memset(area, 0xee, 2 * AREA_PART);
    memcpy(from, plain, n);
    Aes aes;
    assert_int_equal(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
    assert_int_equal(wc_AesGcmSetKey(&aes, key, key_n), 0);
    assert_int_equal(wc_AesGcmEncrypt(&aes, theirs, plain, (word32)n, nonce, 12, tag_theirs, 16, aad, (word32)n_aad), 0);
    struct gcm_key g;
    assert_int_equal(gcm_key_init(&g, (enum gcm_path)path, key, key_n), 0);
    gcm_seal(&g, nonce, aad, n_aad, from, n, to, tag);
    assert_memory_equal(to, theirs, n);
    assert_memory_equal(tag, tag_theirs, 16);
    assert_int_equal(to[-1], 0xee);
    assert_int_equal(to[n], 0xee);
    if (to != from)
        assert_memory_equal(from, plain, n);
    assert_int_equal(wc_AesGcmDecrypt(&aes, opened, to, (word32)n, nonce, 12, tag, 16, aad, (word32)n_aad), 0);
    assert_memory_equal(opened, plain, n);
    uint8_t *back = rng_below(rng, 2) ? to : from;
    assert_true(gcm_open(&g, nonce, aad, n_aad, to, n, back, tag));
    assert_memory_equal(back, plain, n);
    assert_int_equal(back[-1], 0xee);
    assert_int_equal(back[n], 0xee);
    wc_AesFree(&aes);
    gcm_key_deinit(&g);
    *n_total += n;
}

static void test_random(void **state) {
    struct rng rng;
    uint8_t *area = malloc(3 * AREA_PART);
    uint64_t seed;
    rng_secret(&seed, sizeof(seed));
    print_message("seed %#llx\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int path = 0; path < PATHS; path++)
        for (size_t n_total = 0; has(path) && n_total < 12u << 20;)
            one_random(&rng, path, area, &n_total);
    free(area);
}

/* A text that ends with its page: the next may be neither read nor written, and the same before it. */
static void test_page_ends(void **state) {
    long page = sysconf(_SC_PAGESIZE);
    uint8_t *pages = mmap(NULL, (size_t)page * 3, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + page, (size_t)page, PROT_READ | PROT_WRITE), 0);
    for (int path = 0; path < PATHS; path++)
        for (size_t n = 0; n <= SMALL_MAX; n++) {
            uint8_t nonce[12], tag[16];
            struct gcm_key g;
            if (!has(path))
                continue;
            key_of_pattern(&g, path, 32, nonce);
            for (int end = 0; end < 2; end++) {
                uint8_t *text = end ? pages + 2 * page - n : pages + page;
                gcm_seal(&g, nonce, text, n, text, n, sealed, tag);
                gcm_seal(&g, nonce, text, n, text + n, 0, sealed, tag);
                assert_true(gcm_open(&g, nonce, text, n, text + n, 0, sealed, tag));
                gcm_seal(&g, nonce, NULL, 0, text, n, text, tag);
                assert_true(gcm_open(&g, nonce, NULL, 0, text, n, text, tag));
            }
            uint8_t *last = memcpy(pages + 2 * page - sizeof(nonce), nonce, sizeof(nonce));
            gcm_seal(&g, last, NULL, 0, sealed, n, sealed, tag);
            assert_true(gcm_open(&g, last, NULL, 0, sealed, n, sealed, tag));
            gcm_key_deinit(&g);
        }
    munmap(pages, (size_t)page * 3);
}

static void refuse(const struct gcm_key *g, const uint8_t *nonce, const uint8_t *aad, size_t n_aad, size_t n, const uint8_t *tag) {
    memset(opened, 0x5a, n + 1);
    assert_false(gcm_open(g, nonce, aad, n_aad, sealed, n, opened, tag));
    assert_wiped(opened, n);
    assert_int_equal(opened[n], 0x5a);
}

static void tamper(int path, unsigned key_n, size_t n, size_t n_aad) {
    uint8_t nonce[12], aad[64], tag[16];
    struct gcm_key g;
    key_of_pattern(&g, path, key_n, nonce);
    pattern(aad, sizeof(aad), 11);
    pattern(plain, n, 7);
    gcm_seal(&g, nonce, aad, n_aad, plain, n, sealed, tag);
    for (size_t i = 0; i < 128; i++) {
        tag[i / 8] ^= (uint8_t)(1 << i % 8);
        refuse(&g, nonce, aad, n_aad, n, tag);
        tag[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < n; i++) {
        sealed[i] ^= (uint8_t)(1 << i % 8);
        refuse(&g, nonce, aad, n_aad, n, tag);
        sealed[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < n_aad; i++) {
        aad[i] ^= (uint8_t)(1 << i % 8);
        refuse(&g, nonce, aad, n_aad, n, tag);
        aad[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < 12; i++) {
        nonce[i] ^= 1;
        refuse(&g, nonce, aad, n_aad, n, tag);
        nonce[i] ^= 1;
    }
    if (n)
        refuse(&g, nonce, aad, n_aad, n - 1, tag);
    sealed[n] = 0;
    refuse(&g, nonce, aad, n_aad, n + 1, tag); /* zeros pad the hash, but lengths are in it */
    if (n_aad)
        refuse(&g, nonce, aad, n_aad - 1, n, tag);
    aad[n_aad] = 0;
    refuse(&g, nonce, aad, n_aad + 1, n, tag);
    tag[0] ^= 1;
    assert_false(gcm_open(&g, nonce, aad, n_aad, sealed, n, sealed, tag)); /* in place */
    assert_wiped(sealed, n);
    gcm_key_deinit(&g);
}

static void test_tampered(void **state) {
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 224, 239, 240, 241, 255, 256, 257, 511, 512, 600};
    for (int path = 0; path < PATHS; path++)
        for (size_t i = 0; i < array_size(sizes); i++)
            if (has(path)) {
                tamper(path, 16, sizes[i], i % 3 ? 5 : 0);
                tamper(path, 32, sizes[i], i % 3 ? 33 : 5);
            }
}

static void test_keys(void **state) {
    uint8_t key[32];
    struct gcm_key g;
    pattern(key, 32, 3);
    for (unsigned key_n = 16; key_n <= 32; key_n += 16)
        for (int path = 0; path < PATHS; path++) {
            if (!has(path))
                continue;
            assert_int_equal(gcm_key_init(&g, (enum gcm_path)path, key, key_n), 0);
            gcm_key_deinit(&g);
            gcm_key_deinit(&g);
            assert_wiped((const uint8_t *)&g, sizeof(g));
        }
}

/* The same text whole and in pieces, cut anywhere, some of them empty, is sealed and opened to the same bytes. */
static void one_in_pieces(struct rng *rng, int path, size_t n) {
    enum { PIECES = 24 };
    uint8_t nonce[12], tag[16], tag_whole[16], aad[5] = {1, 2, 3, 4, 5};
    struct iovec pieces[PIECES];
    unsigned n_pieces = 0;
    struct gcm_key g;
    key_of_pattern(&g, path, rng_below(rng, 2) ? 32 : 16, nonce);
    rng_secret(plain, n);
    for (int open = 0; open < 2; open++) {
        uint8_t *text = open ? sealed : plain;
        size_t at = 0, longest = rng_below(rng, 3) ? 700 : 20000;
        for (n_pieces = 0; n_pieces < PIECES - 1; n_pieces++) {
            size_t n_now = min_of(rng_below(rng, 4) ? rng_below(rng, longest) : rng_below(rng, 20), n - at);
            pieces[n_pieces] = (struct iovec){.iov_base = n_now ? text + at : NULL, .iov_len = n_now};
            at += n_now;
        }
        pieces[n_pieces++] = (struct iovec){.iov_base = text + at, .iov_len = n - at};
        if (!open) {
            gcm_seal(&g, nonce, aad, sizeof(aad), plain, n, sealed, tag_whole);
            opened[n] = 0x5a;
            gcm_seal_pieces(&g, nonce, aad, sizeof(aad), pieces, n_pieces, opened, tag);
            assert_memory_equal(opened, sealed, n);
            assert_memory_equal(tag, tag_whole, sizeof(tag));
        } else {
            memset(opened, 0, n);
            assert_true(gcm_open_pieces(&g, nonce, aad, sizeof(aad), pieces, n_pieces, opened, tag));
            assert_memory_equal(opened, plain, n);
            tag[rng_below(rng, 16)] ^= 1;
            assert_false(gcm_open_pieces(&g, nonce, aad, sizeof(aad), pieces, n_pieces, opened, tag));
            assert_wiped(opened, n);
        }
        assert_int_equal(opened[n], 0x5a);
    }
    gcm_key_deinit(&g);
}

static void test_pieces(void **state) {
    struct rng rng;
    uint64_t seed;
    rng_secret(&seed, sizeof(seed));
    print_message("seed %#llx\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int path = 0; path < PATHS; path++)
        if (has(path)) {
            for (size_t n = 0; n < 1100; n++)
                one_in_pieces(&rng, path, n);
            for (int i = 0; i < 300; i++)
                one_in_pieces(&rng, path, rng_below(&rng, 20000));
        }
}

static void init_odd(void *key) {
    struct gcm_key g;
    ignore_result(gcm_key_init(&g, gcm_path_best(), key, 24)); /* dies before */
}
static void seal_without_key(void *nonce) {
    struct gcm_key g = GCM_KEY_NULL;
    gcm_seal(&g, nonce, NULL, 0, NULL, 0, sealed, sealed);
}

static void test_misuse(void **state) {
    uint8_t key[32] = {0};
    assert_true(unit_dies(init_odd, key));
    assert_true(unit_dies(seal_without_key, key));
}

/* The kernel lists what the CPU has and the kernel supports. */
struct cpu {
    char vendor[13];
    int family, model;
    bool vaes, wide;
};

static struct cpu this_cpu(void) {
    char line[8192];
    struct cpu cpu = {0};
    FILE *f = fopen("/proc/cpuinfo", "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        ignore_result(sscanf(line, "vendor_id : %12s", cpu.vendor)); /* one of these, or another line */
        ignore_result(sscanf(line, "cpu family : %d", &cpu.family));
        ignore_result(sscanf(line, "model : %d", &cpu.model));
        if (!strncmp(line, "flags", 5)) {
            cpu.vaes = strstr(line, " vaes ") && strstr(line, " vpclmulqdq ") && strstr(line, " avx2 ");
            cpu.wide = cpu.vaes && strstr(line, " avx512f ") && strstr(line, " avx512bw ") && strstr(line, " avx512vl ");
        }
    }
    fclose(f);
    return cpu;
}

static unsigned signature_of(int family, int model) {
    int base = min_of(family, 15);
    return (unsigned)((family - base) << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | 2 /* stepping */);
}

static void test_choice(void **state) {
    struct cpu cpu = this_cpu();
    bool slow = cpu.wide && vaes_512_slows(cpu.vendor, signature_of(cpu.family, cpu.model));
    assert_int_equal(gcm_path_usable(GCM_VAES), cpu.vaes);
    assert_int_equal(gcm_path_usable(GCM_VAES_512), cpu.wide);
    assert_int_equal(gcm_path_best(), cpu.wide && !slow ? GCM_VAES_512 : cpu.vaes ? GCM_VAES : GCM_WOLFCRYPT);
    assert_int_equal(gcm_path_now(), gcm_path_best());
    gcm_path_force(GCM_WOLFCRYPT);
    assert_int_equal(gcm_path_now(), GCM_WOLFCRYPT);
    gcm_path_force(gcm_path_best());
    assert_string_equal(gcm_path_text(GCM_VAES), "AES-GCM with VAES");
    assert_string_equal(gcm_path_text(GCM_VAES_512), "AES-GCM with VAES on 512 bits");
    assert_string_not_equal(gcm_path_text(GCM_WOLFCRYPT), gcm_path_text(GCM_VAES));
}

/* CPUs by name; the numbers are those of Linux' intel-family.h and of AMD's. */
static void test_slowed(void **state) {
    static const struct {
        const char *vendor;
        int family, model;
        bool slow;
    } rows[] = {
        {"GenuineIntel", 6, 0x55, true},                                      /* Skylake-X, Cascade Lake */
        {"GenuineIntel", 6, 0x6a, true},                                      /* Ice Lake, servers */
        {"GenuineIntel", 6, 0x7e, true},                                      /* Ice Lake, laptops */
        {"GenuineIntel", 6, 0x8c, true},                                      /* Tiger Lake */
        {"GenuineIntel", 6, 0xa7, false},                                     /* Rocket Lake */
        {"GenuineIntel", 6, 0x8f, false},                                     /* Sapphire Rapids */
        {"GenuineIntel", 6, 0x05, false},                                     /* of another age: 0x55 without its upper half */
        {"GenuineIntel", 15, 0x55, false}, {"AuthenticAMD", 25, 0x61, false}, /* Zen 4 */
        {"AuthenticAMD", 6, 0x55, false},
    };
    if (!has(GCM_VAES)) {
        print_message("this CPU has no VAES: its kinds are not told apart\n");
        return;
    }
    for (size_t i = 0; i < array_size(rows); i++)
        assert_int_equal(vaes_512_slows(rows[i].vendor, signature_of(rows[i].family, rows[i].model)), rows[i].slow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_small_lengths), cmocka_unit_test(test_long),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_page_ends),     cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_keys),      cmocka_unit_test(test_misuse),        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_pieces),    cmocka_unit_test(test_slowed),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
