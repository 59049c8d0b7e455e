/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/fuzz/replay.c - a fuzz target's corpus as an ordinary test, with any compiler
 *
 * Runs the target on nothing, on each file of the directories given, and on every beginning of each small file: a cut is the
 * mutation that finds most. A crash, a sanitizer's report or a failed check ends the test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUT_MAX = 4096, FILE_MAX = 16 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* An exact heap copy: a sanitizer sees a read past the end. */
static void run(const uint8_t *bytes, size_t n) {
    uint8_t *copy = calloc(1, n ? n : 1);

    if (!copy)
        abort();
    if (n)
        memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static int replay(const char *path) {
    static uint8_t bytes[FILE_MAX];
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f) {
        perror(path);
        return 1;
    }
    n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    run(bytes, n);
    for (size_t cut = 0; n <= CUT_MAX && cut < n; cut++)
        run(bytes, cut);
    return 0;
}

static int is_input(const struct dirent *e) { return e->d_name[0] != '.'; }

int main(int argc, char **argv) {
    size_t n_files = 0;
    int bad = 0;

    run(NULL, 0);
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int n = scandir(argv[i], &entries, is_input, alphasort);

        if (n < 0) {
            perror(argv[i]);
            return 1;
        }
        for (int k = 0; k < n; k++) {
            char path[4096];

            snprintf(path, sizeof(path), "%s/%s", argv[i], entries[k]->d_name);
            bad |= replay(path);
            n_files++;
            free(entries[k]);
        }
        free(entries);
    }
    printf("%zu inputs\n", n_files);
    return bad || n_files == 0;
}
