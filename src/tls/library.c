/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/library.c - wolfSSL's start and end, the memory that it may hold, its random bytes
 *
 * All its allocations pass through here and are counted for all threads together. A thread adds up its own changes and
 * hands them on in steps, so that workers do not fight for one cache line; the sum is exact to STEP_BYTES a thread.
 * At the limit new sessions are refused; a little above it, allocations fail, so that handshakes under way may end and
 * tunnels that are up go on. Small blocks, where keys and secrets live, are wiped when they are freed, whatever the
 * library did itself.
 *
 * Private keys do not go to the heap: what the library allocates while it is given a key (library_takes_key), and its working
 * form of a key, which it makes for each signature and is told by its size, is secret memory. Public keys and a handshake's own
 * keys have the same form, and so lie there, too. */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/cpuid.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/rng.h>
#include <ringwall/base/secret.h>
#include <ringwall/tls/key.h>
#include <ringwall/tls/session.h>

#include "gcm/gcm.h"
#include "library.h"

enum {
    STEP_BYTES = 32 * 1024,
    WIPE_BYTES_MAX = 8 * 1024, /* larger blocks are record buffers */
    SLACK_PARTS = 8,           /* allocations fail at limit + limit / 8 */
};

static _Atomic int64_t memory_used;
static _Atomic int64_t memory_limit = INT64_MAX;
static _Thread_local int64_t memory_pending; /* not yet in memory_used */
static _Thread_local bool takes_key;

_Static_assert(sizeof(ecc_key) <= SECRET_BLOCK_MAX && sizeof(RsaKey) <= SECRET_BLOCK_MAX, "a key's working form is a block");

static void account(int64_t change) {
    memory_pending += change;
    if (memory_pending > STEP_BYTES || memory_pending < -STEP_BYTES) {
        atomic_fetch_add_explicit(&memory_used, memory_pending, memory_order_relaxed);
        memory_pending = 0;
    }
}

static int64_t used_now(void) { return atomic_load_explicit(&memory_used, memory_order_relaxed) + memory_pending; }

static bool may_grow(size_t n) {
    int64_t limit = atomic_load_explicit(&memory_limit, memory_order_relaxed);
    int64_t slack = limit / SLACK_PARTS;
    return n <= INT64_MAX / 4 && used_now() + (int64_t)n <= (limit > INT64_MAX - slack ? INT64_MAX : limit + slack);
}

static bool may_hold_key(size_t n) { return takes_key || n == sizeof(ecc_key) || n == sizeof(RsaKey); }
static size_t block_room(void *at) { return secret_holds(at) ? secret_room(at) : malloc_usable_size(at); }

static void *library_malloc(size_t n) {
    if (!may_grow(n))
        return NULL;
    void *at = may_hold_key(n) ? secret_take(n) : malloc(n);
    if (at)
        account((int64_t)block_room(at));
    return at;
}

static void library_free(void *at) {
    if (!at)
        return;
    size_t n = block_room(at);
    account(-(int64_t)n);
    if (secret_holds(at)) {
        secret_give(at);
        return;
    }
    if (n <= WIPE_BYTES_MAX)
        secret_wipe(at, n);
    free(at);
}

static void *library_realloc(void *at, size_t n) {
    /* Never realloc(3): it would leave an unwiped copy behind. */
    void *fresh = library_malloc(n);
    if (!fresh || !at)
        return fresh;
    memcpy(fresh, at, min_of(n, block_room(at)));
    library_free(at);
    return fresh;
}

void library_takes_key(bool does) { takes_key = does; }

size_t tls_memory_used(void) { return (size_t)max_of(used_now(), (int64_t)0); }

void tls_memory_limit(size_t bytes) {
    atomic_store_explicit(&memory_limit, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, memory_order_relaxed);
}

bool library_memory_left(void) { return used_now() < atomic_load_explicit(&memory_limit, memory_order_relaxed); }

#ifndef CUSTOM_RAND_GENERATE_BLOCK
#error "this wolfSSL would ask a generator of its own: run deploy/setup"
#endif
/* All random bytes of the library are the kernel's, each time: no state that a fork or a snapshot could repeat, and none to
 * seed and test for each session. */
int ringwall_random(unsigned char *to, unsigned int n) {
    rng_secret(to, n);
    return 0;
}

int tls_library_init(void) {
    if (wolfSSL_SetAllocators(library_malloc, library_free, library_realloc) != 0 || wolfSSL_Init() != WOLFSSL_SUCCESS)
        return err_origin(-ENOTRECOVERABLE);
    return 0;
}

void tls_library_cleanup(void) { wolfSSL_Cleanup(); }

const char *tls_library_text(char *to, size_t n) {
    const char *cipher = "AES in C", *field = "", *records = gcm_path_text(gcm_path_best());
#if defined(WOLFSSL_AESNI) && defined(HAVE_CPUID_INTEL)
    word32 flags = cpuid_get_flags();
    if (IS_INTEL_AESNI(flags))
        cipher = IS_INTEL_AVX2(flags) ? "AES-NI with AVX2" : IS_INTEL_AVX1(flags) ? "AES-NI with AVX" : "AES-NI";
#endif
#ifdef WOLFSSL_SP_ASM
    field = ", P-256 in assembly";
#endif
    snprintf(to, n, "wolfSSL %s: %s%s; %s", wolfSSL_lib_version(), cipher, field, records);
    return to;
}
