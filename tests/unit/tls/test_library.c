/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what the library holds is counted for all threads, bounded, and wiped when it is given back; private keys are given secret
 * memory; its random bytes are the kernel's; its arithmetic leaves the processor in a state in which what follows is fast.
 * Method: the library's own allocation functions, called as it calls them; the registers looked at after each operation. */
#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <pthread.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <ringwall/base/secret.h>
#include <ringwall/tls/session.h>

#include "library.h"
#include "unit.h"

static int group_setup(void **state) { return tls_library_init(); }

static void test_text(void **state) {
    char text[128], cut[8];
    assert_ptr_equal(tls_library_text(text, sizeof(text)), text);
    assert_true(!strncmp(text, "wolfSSL 5.", 10));
    assert_non_null(strstr(text, "AES"));
    assert_true(strlen(tls_library_text(cut, sizeof(cut))) < sizeof(cut));
}

static void test_count(void **state) {
    size_t before = tls_memory_used();
    void *at = wolfSSL_Malloc(100000);
    assert_in_range(tls_memory_used(), before + 100000, before + 110000);
    at = wolfSSL_Realloc(at, 200000);
    assert_in_range(tls_memory_used(), before + 200000, before + 220000);
    wolfSSL_Free(at);
    assert_int_equal(tls_memory_used(), before);
    wolfSSL_Free(NULL);
    at = wolfSSL_Realloc(NULL, 10);
    assert_non_null(at);
    wolfSSL_Free(at);
}

static void test_limit(void **state) {
    void *held = wolfSSL_Malloc(1 << 20);
    size_t used = tls_memory_used();
    tls_memory_limit(used + 1000);
    assert_true(library_memory_left());
    tls_memory_limit(used);
    assert_false(library_memory_left());
    void *within = wolfSSL_Malloc(used / 16), *beyond = wolfSSL_Malloc(used / 4);
    assert_non_null(within); /* a handshake under way may end */
    assert_null(beyond);
    void *same = wolfSSL_Realloc(held, used); /* fails: the block stays as it was */
    assert_null(same);
    tls_memory_limit(SIZE_MAX);
    wolfSSL_Free(within);
    wolfSSL_Free(held);
    assert_true(library_memory_left());
    assert_null(wolfSSL_Malloc(SIZE_MAX / 2));
}

static void test_keys(void **state) {
    size_t before = tls_memory_used();
    void *ecc = wolfSSL_Malloc(sizeof(ecc_key)), *rsa = wolfSSL_Malloc(sizeof(RsaKey)),
         *other = wolfSSL_Malloc(sizeof(ecc_key) + 1);
    assert_true(secret_holds(ecc) && secret_holds(rsa) && !secret_holds(other));
    assert_in_range(tls_memory_used(), before + 2 * sizeof(ecc_key) + sizeof(RsaKey),
                    before + 2 * sizeof(ecc_key) + sizeof(RsaKey) + 200);
    library_takes_key(true);
    uint8_t *key = wolfSSL_Malloc(100);
    assert_true(secret_holds(key));
    assert_null(wolfSSL_Malloc(SECRET_BLOCK_MAX + 1)); /* rather fails than leaves it to the heap */
    memset(key, 'k', 100);
    key = wolfSSL_Realloc(key, 3000);
    assert_true(secret_holds(key));
    library_takes_key(false);
    for (int i = 0; i < 100; i++)
        assert_int_equal(key[i], 'k');
    uint8_t *heap = wolfSSL_Realloc(wolfSSL_Malloc(5000), 100);
    assert_false(secret_holds(heap));
    wolfSSL_Free(heap);
    wolfSSL_Free(key);
    wolfSSL_Free(other);
    wolfSSL_Free(rsa);
    wolfSSL_Free(ecc);
    assert_int_equal(tls_memory_used(), before);
}

static void *allocate_much(void *unused) {
    for (int i = 0; i < 2000; i++) {
        void *a = wolfSSL_Malloc(20000), *b = wolfSSL_Malloc(100);
        wolfSSL_Free(a);
        wolfSSL_Free(b);
    }
    return NULL;
}

static void test_threads(void **state) {
    size_t before = tls_memory_used();
    pthread_t threads[4];
    for (size_t i = 0; i < array_size(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_much, NULL), 0);
    for (size_t i = 0; i < array_size(threads); i++)
        pthread_join(threads[i], NULL);
    /* Each may leave less than a step behind. */
    assert_in_range(tls_memory_used() + 4 * 33 * 1024, before, before + 8 * 33 * 1024);
}

static void test_random(void **state) {
    WC_RNG a, b;
    uint8_t first[1000], second[sizeof(first)];
    static const uint8_t zeros[100];
    assert_int_equal(wc_InitRng(&a), 0);
    assert_int_equal(wc_InitRng(&b), 0);
    for (unsigned n = 16; n <= sizeof(first); n += 123) {
        memset(first, 0, sizeof(first));
        memset(second, 0, sizeof(second));
        assert_int_equal(wc_RNG_GenerateBlock(&a, first, n), 0);
        assert_int_equal(wc_RNG_GenerateBlock(&b, second, n), 0);
        assert_memory_not_equal(first, second, n);
        assert_memory_not_equal(first + n - 16, zeros, 16); /* to the end, and no further */
        assert_memory_equal(first + n, zeros, min_of(sizeof(first) - n, sizeof(zeros)));
    }
    wc_FreeRng(&a);
    wc_FreeRng(&b);
}

#ifdef __x86_64__
/* Are upper halves of ymm registers in use? Then the next SHA-256 by the CPU's instructions is slow, by 13,000 cycles on some. */
static bool upper_halves_used(void) {
    uint32_t a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a & 4;
}

static bool can_tell(void) {
    uint32_t a, b, c, d;
    if (!__builtin_cpu_supports("avx2") || !__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || !(a & 4))
        return false;
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0" : : : "xmm0");
    bool seen = upper_halves_used();
    __asm__ volatile("vzeroupper" : : : "memory");
    return seen && !upper_halves_used();
}

static void test_leaves_no_upper_halves(void **state) {
    static const int curves[] = {ECC_SECP256R1, ECC_SECP384R1};
    if (!can_tell()) {
        print_message("skipped: this CPU does not tell whether upper halves of vector registers are in use\n");
        skip();
    }
    for (size_t i = 0; i < array_size(curves); i++) {
        int n = i == 0 ? 32 : 48, good = 0;
        uint8_t hash[48] = {1}, signature[ECC_MAX_SIG_SIZE], secret[48];
        word32 signature_n = sizeof(signature), secret_n = sizeof(secret);
        WC_RNG rng;
        ecc_key key;
        assert_int_equal(wc_InitRng(&rng), 0);
        assert_int_equal(wc_ecc_init(&key), 0);
        assert_int_equal(wc_ecc_make_key_ex(&rng, n, &key, curves[i]), 0);
        assert_false(upper_halves_used());
        assert_int_equal(wc_ecc_sign_hash(hash, (word32)n, signature, &signature_n, &rng, &key), 0);
        assert_false(upper_halves_used());
        assert_int_equal(wc_ecc_verify_hash(signature, signature_n, hash, (word32)n, &good, &key), 0);
        assert_false(upper_halves_used());
        assert_true(good);
        assert_int_equal(wc_ecc_set_rng(&key, &rng), 0);
        assert_int_equal(wc_ecc_shared_secret(&key, &key, secret, &secret_n), 0);
        assert_false(upper_halves_used());
        wc_ecc_free(&key);
        wc_FreeRng(&rng);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_random),
#ifdef __x86_64__
        cmocka_unit_test(test_leaves_no_upper_halves),
#endif
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
