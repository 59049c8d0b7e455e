/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: JSON text; and any bytes as a string that we write. */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct str text = {(const char *)bytes, n};
    struct growing g = GROWING_NULL;
    struct json_writer w;
    char why[128];
    struct json *root = json_read(text, why);

    free(json_dump(root));
    json_free(root);
    json_begin(&w, &g, n % 2);
    json_array(&w, NULL);
    json_str(&w, NULL, text);
    json_end(&w);
    check(!g.failed && str_is_utf8((struct str){g.at, g.n}));
    root = json_read((struct str){g.at, g.n}, why);
    check(root || memchr(bytes, 0, n)); /* the reader takes no NUL */
    json_free(root);
    growing_deinit(&g);
    return 0;
}
