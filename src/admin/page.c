/* SPDX-License-Identifier: GPL-3.0-or-later
 * page.c - the dashboard: three files of src/admin/page in the program; it reads the same JSON as everybody, and nothing
 * from elsewhere */
#include "page_data.h"
#include "private.h"

static void file(struct reply *r, const char *type, const unsigned char *bytes, size_t n) {
    r->status = 200;
    r->type = type;
    growing_add(&r->body, (struct str){(const char *)bytes, n});
}

void page_html(const struct view *v, struct reply *r) {
    file(r, "text/html; charset=utf-8", page_html_bytes, sizeof(page_html_bytes));
}
void page_script(const struct view *v, struct reply *r) {
    file(r, "text/javascript; charset=utf-8", page_js_bytes, sizeof(page_js_bytes));
}
void page_style(const struct view *v, struct reply *r) {
    file(r, "text/css; charset=utf-8", page_css_bytes, sizeof(page_css_bytes));
}
