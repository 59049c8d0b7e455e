/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: pages that are as they are in their files leave our account and come back by themselves, and nothing that was written is
 * ever lost. Method: files mapped here, in every way that matters, and the program's own code, by the kernel's account. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringwall/base/mapped.h>

#include "unit.h"

enum { PAGE = 4096, PAGES = 64 };

/* Of the mapping that holds this address. */
static size_t resident_kib(const void *at) {
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    char line[512];
    size_t from, to, kib = 0;
    bool here = false;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "%zx-%zx ", &from, &to) == 2)
            here = (uintptr_t)at >= from && (uintptr_t)at < to;
        else if (here && sscanf(line, "Rss: %zu", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static int file_of(char fill) {
    FILE *f = tmpfile();
    assert_non_null(f);
    char page[PAGE];
    memset(page, fill, sizeof(page));
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(fwrite(page, sizeof(page), 1, f), 1);
    assert_int_equal(fflush(f), 0);
    int fd = dup(fileno(f));
    fclose(f);
    return fd;
}

static char *mapped(int fd, int rights, int how) {
    char *at = mmap(NULL, (size_t)PAGE * PAGES, rights, how, fd, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    return at;
}

static void touch(const char *at, char fill) {
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(*(const volatile char *)(at + i * PAGE), fill);
}

static void clean_pages_go_and_come_back(void **state) {
    int fd = file_of('a');
    char *at = mapped(fd, PROT_READ, MAP_PRIVATE);
    touch(at, 'a');
    assert_int_equal(resident_kib(at), PAGE / 1024 * PAGES);
    mapped_trim();
    assert_int_equal(resident_kib(at), 0);
    touch(at, 'a');
    munmap(at, (size_t)PAGE * PAGES);
    close(fd);
}

static void what_was_written_stays(void **state) {
    int fd = file_of('b');
    char *relocated = mapped(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE), *open = mapped(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    touch(relocated, 'b');
    relocated[PAGE] = open[PAGE] = memory[0] = 'w';
    assert_int_equal(mprotect(relocated, (size_t)PAGE * PAGES, PROT_READ), 0); /* as the linker does after relocating */
    assert_int_equal(mprotect(memory, PAGE, PROT_READ), 0);
    mapped_trim();
    assert_int_equal(relocated[PAGE], 'w');
    assert_int_equal(open[PAGE], 'w');
    assert_int_equal(memory[0], 'w');
    munmap(relocated, (size_t)PAGE * PAGES);
    munmap(open, (size_t)PAGE * PAGES);
    munmap(memory, PAGE);
    close(fd);
}

static void code_goes_on(void **state) {
    for (unsigned i = 0; i < 100; i++)
        mapped_trim();
    char text[32];
    assert_int_equal(snprintf(text, sizeof(text), "%s %.1f", "still", 1.5), 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_pages_go_and_come_back),
        cmocka_unit_test(what_was_written_stays),
        cmocka_unit_test(code_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
