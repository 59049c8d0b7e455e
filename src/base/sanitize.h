/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/sanitize.h - what our own allocators and publish tell the sanitizers; nothing at all in other builds
 *
 * gcc defines __SANITIZE_ADDRESS__ and __SANITIZE_THREAD__, clang answers through __has_feature. */
#pragma once

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RINGWALL_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define RINGWALL_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define RINGWALL_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define RINGWALL_TSAN 1
#endif

#ifdef RINGWALL_ASAN
#include <sanitizer/asan_interface.h>
static inline void sanitize_poison(const void *at, size_t n) { __asan_poison_memory_region(at, n); }
static inline void sanitize_unpoison(const void *at, size_t n) { __asan_unpoison_memory_region(at, n); }
#else
static inline void sanitize_poison(const void *at, size_t n) {}
static inline void sanitize_unpoison(const void *at, size_t n) {}
#endif

#ifdef RINGWALL_TSAN
void __tsan_acquire(void *at);
void __tsan_release(void *at);
static inline void sanitize_acquire(void *at) { __tsan_acquire(at); }
static inline void sanitize_release(void *at) { __tsan_release(at); }
#else
static inline void sanitize_acquire(void *at) {}
static inline void sanitize_release(void *at) {}
#endif
