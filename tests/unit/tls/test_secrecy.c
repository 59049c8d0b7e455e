/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a private key stands in memory that is left out of core files, and nowhere else: not while contexts use it, nor in the
 * middle of a handshake that a peer lets hang, nor on the stack afterwards.
 * Method: all of the process's memory that a core file would have is read and searched for the key's bytes in several forms. The
 * forms themselves are kept masked, or the search would find them. Then the stack: it is painted, and looked at after each step. */
#include <fcntl.h>
#include <sys/mman.h>

#include <ringwall/tls/session.h>
#include <ringwall/tls/web.h>

#include "key_private.h"
#include "pki.h"
#include "unit.h"

/* ---- the search ---- */

enum { MASK = 0x5a, SCALAR_BYTES = 32, SCALAR_AT = 36 /* of P-256 in PKCS#8 */, WINDOW = 1 << 20, FORM_MAX = 2 * SCALAR_BYTES };
enum { MAPPING_MAX = 1 << 30 }; /* what is larger is a sanitizer's shadow */

struct form {
    const char *name;
    size_t n;
    uint8_t masked[FORM_MAX];
};
enum { BIG, LITTLE, LOWER, UPPER, RANDOM, N_FORMS };

static uint8_t hex_digit(unsigned v, char a) { return (uint8_t)(v < 10 ? '0' + v : (unsigned)a + v - 10); }

static void forms_of(const struct tls_key *key, struct form forms[N_FORMS]) {
    const uint8_t *scalar = key->pkcs8.at + SCALAR_AT;
    static const char *const names[N_FORMS] = {"big-endian", "little-endian", "hex", "HEX", "the random bytes it was made of"};
    assert_int_equal(key->public.kind, KEY_P256);
    assert_true(key->pkcs8.n >= SCALAR_AT + SCALAR_BYTES);
    for (size_t i = 0; i < N_FORMS; i++)
        forms[i] = (struct form){.name = names[i], .n = i == LOWER || i == UPPER ? 2 * SCALAR_BYTES : SCALAR_BYTES};
    for (size_t i = 0; i < SCALAR_BYTES; i++) {
        forms[BIG].masked[i] = scalar[i] ^ MASK;
        forms[LITTLE].masked[SCALAR_BYTES - 1 - i] = scalar[i] ^ MASK;
        for (unsigned half = 0; half < 2; half++) {
            unsigned v = half ? scalar[i] & 15u : scalar[i] >> 4;
            forms[LOWER].masked[2 * i + half] = hex_digit(v, 'a') ^ MASK;
            forms[UPPER].masked[2 * i + half] = hex_digit(v, 'A') ^ MASK;
        }
    }
    /* The library adds one to random bytes. */
    bool borrow = true;
    for (size_t i = SCALAR_BYTES; i-- > 0;) {
        forms[RANDOM].masked[i] = (uint8_t)(scalar[i] - borrow) ^ MASK;
        borrow = borrow && scalar[i] == 0;
    }
}

static bool form_in(const struct form *f, const uint8_t *at, size_t n) {
    const uint8_t *end = at + n;
    while ((size_t)(end - at) >= f->n) {
        at = memchr(at, f->masked[0] ^ MASK, (size_t)(end - at) - f->n + 1);
        if (!at)
            return false;
        size_t i = 1;
        while (i < f->n && (at[i] ^ MASK) == f->masked[i])
            i++;
        if (i == f->n)
            return true;
        at++;
    }
    return false;
}

static uint8_t *window; /* itself in no core file */

static const struct form *search_mapping(int memory, uint64_t from, uint64_t to, const struct form *forms, size_t n) {
    for (uint64_t at = from; at < to; at += WINDOW - FORM_MAX) {
        ssize_t got = pread(memory, window, min_of(to - at, (uint64_t)WINDOW), (off_t)at);
        for (size_t k = 0; k < n && got > 0; k++)
            if (form_in(&forms[k], window, (size_t)got))
                return &forms[k];
        if (to - at <= WINDOW)
            break;
    }
    return NULL;
}

/* A form that stands where a core file would have it; NULL: none. */
static const struct form *search(const struct form *forms, size_t n) {
    FILE *smaps = fopen("/proc/self/smaps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_true(smaps && memory >= 0);
    char line[1024], access[8] = "";
    unsigned long from = 0, to = 0, a, b;
    const struct form *found = NULL;
    while (!found && fgets(line, sizeof(line), smaps)) {
        if (sscanf(line, "%lx-%lx %7s", &a, &b, access) == 3) {
            from = a;
            to = b;
        } else if (!strncmp(line, "VmFlags:", 8) && access[0] == 'r' && !strstr(line, " dd") && !strstr(line, " io") &&
                   to - from < MAPPING_MAX)
            found = search_mapping(memory, from, to, forms, n);
    }
    explicit_bzero(window, WINDOW);
    close(memory);
    fclose(smaps);
    return found;
}

static void expect_hidden(const struct tls_key *key, const char *when) {
    struct form forms[N_FORMS];
    forms_of(key, forms);
    const struct form *found = search(forms, N_FORMS);
    if (found)
        fail_msg("%s: the key is in memory that can be dumped: %s", when, found->name);
}

/* ---- two ends ---- */

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};

static struct {
    struct pki pki;
    struct pki_node node;
    struct tls_credential *client, *server;
    struct buf_pool *pool;
} f;

static int group_setup(void **state) {
    window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(window, MAP_FAILED);
    assert_int_equal(madvise(window, WINDOW, MADV_DONTDUMP), 0);
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    struct identity a = pki_identity("cluster.local", "ns", "client"), b = pki_identity("cluster.local", "ns", "server");
    f.client = pki_credential(&f.pki, &f.node, &a, PKI_FLAWLESS, NULL);
    f.server = pki_credential(&f.pki, &f.node, &b, PKI_FLAWLESS, NULL);
    f.pool = buf_pool_new(256);
    return f.pool ? 0 : -1;
}

static int group_teardown(void **state) {
    tls_credential_unref(f.client);
    tls_credential_unref(f.server);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    buf_pool_free(f.pool);
    munmap(window, WINDOW);
    return 0;
}

static void end_init(struct end *e, struct tls_context *context) {
    bufq_init(&e->in, f.pool);
    bufq_init(&e->out, f.pool);
    e->context = tls_context_ref(context);
    struct tls_session_options o = {.context = context, .trust = f.pki.trust, .in = &e->in, .out = &e->out};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
}

static void end_deinit(struct end *e) {
    e->session = tls_session_free(e->session);
    e->context = tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

static void expect_all_hidden(const char *when) {
    expect_hidden(tls_credential_key(f.client), when);
    expect_hidden(tls_credential_key(f.server), when);
}

/* ---- cases ---- */

static void test_search_finds(void **state) {
    struct form forms[N_FORMS];
    const struct tls_key *key = tls_credential_key(f.client);
    forms_of(key, forms);
    uint8_t *copy = malloc(FORM_MAX);
    assert_non_null(copy);
    for (size_t k = 0; k < N_FORMS; k++) {
        for (size_t i = 0; i < forms[k].n; i++)
            copy[i] = forms[k].masked[i] ^ MASK;
        assert_ptr_equal(search(forms, N_FORMS), &forms[k]);
        explicit_bzero(copy, FORM_MAX);
    }
    free(copy);
}

static void test_made_and_used(void **state) {
    struct tls_key *key;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    assert_int_equal(tls_key_generate(&key), 0);
    expect_hidden(key, "after it was made");
    assert_int_equal(key_sign(key, (struct der){(const uint8_t *)"bytes", 5}, signature, &n), 0);
    expect_hidden(key, "after it signed");
    struct secret pem = SECRET_NULL;
    struct tls_key *again;
    assert_int_equal(tls_key_to_pem(key, &pem), 0);
    assert_int_equal(tls_key_from_pem((struct str){(const char *)pem.at, pem.n}, &again), TLS_KEY_OK);
    expect_hidden(key, "after it was written and read");
    secret_deinit(&pem);
    tls_key_free(again);
    tls_key_free(key);
    expect_hidden(f.pki.key, "the root's, which signed");
    expect_hidden(f.node.key, "the node's, which signed");
}

/* Every step of a handshake: at each of them the other side may let it hang. */
static void test_handshake(void **state) {
    struct tls_context *client, *server;
    assert_int_equal(tls_context_new(f.client, TLS_ROLE_CLIENT, &client), 0);
    assert_int_equal(tls_context_new(f.server, TLS_ROLE_SERVER, &server), 0);
    expect_all_hidden("contexts");
    struct end ends[2];
    end_init(&ends[0], client);
    end_init(&ends[1], server);
    int r[2] = {TLS_WANT_INPUT, TLS_WANT_INPUT};
    for (int i = 0; r[0] || r[1]; i++) {
        char when[32];
        assert_true(i < 10);
        r[i % 2] = tls_session_handshake(ends[i % 2].session, PKI_NOW);
        snprintf(when, sizeof(when), "step %d of a handshake", i);
        expect_all_hidden(when);
        assert_true(r[i % 2] == TLS_DONE || r[i % 2] == TLS_WANT_INPUT);
        bufq_move(&ends[1 - i % 2].in, &ends[i % 2].out);
    }
    expect_all_hidden("an idle tunnel");
    static const uint8_t bytes[5000];
    size_t n;
    assert_int_equal(tls_session_seal(ends[0].session, bytes, sizeof(bytes), &n), 0);
    expect_all_hidden("a tunnel with traffic");
    end_deinit(&ends[0]);
    end_deinit(&ends[1]);
    tls_context_unref(client);
    tls_context_unref(server);
    expect_all_hidden("after all");
}

/* A client that says hello and no more: as many of them as a daemon may meet. */
static void test_stalled(void **state) {
    enum { N = 50 };
    static struct end servers[N], clients[N];
    struct tls_context *client, *server;
    assert_int_equal(tls_context_new(f.client, TLS_ROLE_CLIENT, &client), 0);
    assert_int_equal(tls_context_new(f.server, TLS_ROLE_SERVER, &server), 0);
    for (int i = 0; i < N; i++) {
        end_init(&clients[i], client);
        end_init(&servers[i], server);
        assert_int_equal(tls_session_handshake(clients[i].session, PKI_NOW), TLS_WANT_INPUT);
        bufq_move(&servers[i].in, &clients[i].out);
        assert_int_equal(tls_session_handshake(servers[i].session, PKI_NOW), TLS_WANT_INPUT);
    }
    expect_all_hidden("handshakes that hang");
    for (int i = 0; i < N; i++) {
        end_deinit(&clients[i]);
        end_deinit(&servers[i]);
    }
    tls_context_unref(client);
    tls_context_unref(server);
}

/* The key of a context of the web, as the door on TCP has it. */
static void test_web(void **state) {
    struct tls_context *server;
    assert_int_equal(tls_web_server_new(tls_credential_key(f.server), tls_credential_chain(f.server), &server), 0);
    expect_all_hidden("a web server");
    tls_context_unref(server);
}

/* ---- the stack ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { PAINTED = 160 * 1024, PAINT = 0xa5, FRAMES = 2048 /* between a step and the wiping in it */ };

static uint8_t *below(void) {
    uint8_t *at = __builtin_alloca(PAINTED);
    __asm__ volatile("" : "+r"(at) : : "memory");
    return at;
}

static __attribute__((noinline)) void paint(void) {
    uint8_t *at = below();
    memset(at, PAINT, PAINTED);
    __asm__ volatile("" : : "r"(at) : "memory");
}

/* How deep was the stack since then? */
static __attribute__((noinline)) size_t depth(void) {
    const volatile uint8_t *at = below();
    size_t i = FRAMES; /* this frame is not that of paint() */
    while (i < PAINTED && at[i] == PAINT)
        i++;
    return PAINTED - i;
}

static void expect_wiped(size_t bytes, const char *what) {
    size_t n = depth();
    if (n > bytes + FRAMES)
        fail_msg("%s: %zu bytes of stack, %zu wiped", what, n, bytes);
    assert_true(n > bytes - 64); /* else nothing was wiped */
}

static void test_stack_of_foreign_keys(void **state) {
    static const char *const commands[] = {
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -no_public 2>/dev/null",
        "openssl ecparam -name secp384r1 -genkey -noout",
        "openssl ecparam -name secp384r1 -genkey -noout | openssl ec -no_public 2>/dev/null",
        "openssl genrsa 2048 2>/dev/null",
        "openssl genrsa 4096 2>/dev/null",
    };
    static char text[8192];
    for (size_t i = 0; i < array_size(commands); i++) {
        struct tls_key *key;
        uint8_t signature[SIGNATURE_BYTES_MAX];
        FILE *p = popen(commands[i], "r");
        assert_non_null(p);
        size_t n = fread(text, 1, sizeof(text), p);
        pclose(p);
        paint();
        assert_int_equal(tls_key_from_pem((struct str){text, n}, &key), TLS_KEY_OK);
        expect_wiped(SECRET_STACK_MAX, commands[i]);
        paint();
        assert_int_equal(key_sign(key, (struct der){(const uint8_t *)"bytes", 5}, signature, &n), 0);
        expect_wiped(SECRET_STACK_MAX, commands[i]);
        tls_key_free(key);
    }
}

static void test_stack(void **state) {
    enum { P256 = 16 * 1024 };
    struct tls_key *key;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    assert_int_equal(key_stack_bytes(KEY_P256), P256);
    paint();
    assert_int_equal(tls_key_generate(&key), 0);
    expect_wiped(SECRET_STACK_MAX, "making a key");
    paint();
    assert_int_equal(key_sign(key, (struct der){(const uint8_t *)"bytes", 5}, signature, &n), 0);
    expect_wiped(SECRET_STACK_MAX, "signing");
    tls_key_free(key);
    struct tls_context *contexts[2];
    struct end ends[2];
    for (int i = 0; i < 2; i++) {
        paint();
        assert_int_equal(tls_context_new(i ? f.server : f.client, i ? TLS_ROLE_SERVER : TLS_ROLE_CLIENT, &contexts[i]), 0);
        expect_wiped(SECRET_STACK_MAX, "a context");
        end_init(&ends[i], contexts[i]);
    }
    for (int i = 0; i < 4; i++) {
        paint();
        assert_in_range(tls_session_handshake(ends[i % 2].session, PKI_NOW), TLS_DONE, TLS_WANT_INPUT);
        expect_wiped(P256, "a step of a handshake");
        bufq_move(&ends[1 - i % 2].in, &ends[i % 2].out);
    }
    for (int i = 0; i < 2; i++) {
        end_deinit(&ends[i]);
        tls_context_unref(contexts[i]);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search_finds),
        cmocka_unit_test(test_made_and_used),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_web),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_stack_of_foreign_keys),
#endif
    };
    if (tls_library_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
