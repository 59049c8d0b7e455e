/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml.c - libfyaml's events to a tree with places
 *
 * Plain YAML only: what makes one piece of text mean two things (anchors, aliases, tags, merge keys, duplicate or
 * structured keys) is refused, because a policy that two readers understand differently is a hole.
 * Not here: types of scalars, and what keys mean. */
#include <errno.h>
#include <stdlib.h>

#include <libfyaml.h>

#include <ringwall/wire/yaml.h>

#include "library.h"
#include "yaml_error.h"
#include "yaml_flow.h"
#include "yaml_scalar.h"
#include "yaml_tree.h"

/* A flow collection is held whole, many times its size, before its first event: longer ones are read as JSON or refused. */
enum { FLOW_BYTES_MAX = 256 * 1024 };

struct reader {
    struct str input;
    struct growing scratch; /* a value that had to be put together */
    struct tree tree;
};

/* Where an event begins. An absent value has no place of its own: its key's is used. */
static struct place place_of(const struct reader *r, struct fy_event *e) {
    const struct fy_mark *m = fy_event_start_mark(e);
    const struct tree_level *l = tree_level(&r->tree);

    if (m && m->line >= 0 && m->column >= 0)
        return (struct place){(uint32_t)m->line + 1, (uint32_t)m->column + 1};
    if (l && l->has_key)
        return (struct place){l->key_line, l->key_column};
    return l ? (struct place){l->node->line, l->node->column} : (struct place){1, 1};
}

/* Where a token begins. The mark is at its text: `before` characters (a sign or a quote) stand in front of that. */
static struct place token_place(struct fy_token *t, int before, struct place otherwise) {
    const struct fy_mark *m = t ? fy_token_start_mark(t) : NULL;

    if (!m || m->line < 0 || m->column < before)
        return otherwise;
    return (struct place){(uint32_t)m->line + 1, (uint32_t)(m->column - before) + 1};
}

static int plain_only(struct reader *r, struct place at, struct fy_token *anchor, struct fy_token *tag) {
    if (anchor)
        return tree_refuse(&r->tree, token_place(anchor, 1, at),
                           "anchors (&name) are not supported: write the value out where it is used");
    if (tag)
        return tree_refuse(&r->tree, token_place(tag, 0, at),
                           "tags (!name) are not supported: leave it out, and put quotes around a value that must be text");
    return 0;
}

/* What escapes in double quotes can bring in though the file has it not. */
static int text_only(struct reader *r, struct place at, struct str text) {
    if (text.n && !str_is_utf8(text))
        return tree_refuse(&r->tree, at, "escape for a control character: a value holds text only");
    return 0;
}

/* The library marks the text; a reader looks for the quote before it, or for the key of a block. */
static struct place scalar_place(const struct reader *r, struct fy_event *e, enum fy_scalar_style style) {
    struct place at = place_of(r, e);
    const struct tree_level *l = tree_level(&r->tree);

    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        return token_place(e->scalar.value, 1, at);
    if ((style == FYSS_LITERAL || style == FYSS_FOLDED) && l && l->has_key)
        return (struct place){l->key_line, l->key_column};
    return at;
}

/* What stands between the quotes, as written. False: the marks are not where they should be. */
static bool quoted_source(const struct reader *r, struct fy_token *t, char quote, struct str *ret) {
    const struct fy_mark *begin = fy_token_start_mark(t), *end = fy_token_end_mark(t);

    if (!begin || !end || begin->input_pos < 1 || end->input_pos < begin->input_pos || end->input_pos >= r->input.n)
        return false;
    *ret = (struct str){r->input.at + begin->input_pos, end->input_pos - begin->input_pos};
    return r->input.at[begin->input_pos - 1] == quote && r->input.at[end->input_pos] == quote;
}

static int quoted_text(struct reader *r, struct fy_token *t, bool double_quoted, struct place at, struct str *ret) {
    struct str source;
    int v;

    if (!quoted_source(r, t, double_quoted ? '"' : '\'', &source))
        return tree_refuse(&r->tree, at, "this value cannot be read: write it on one line");
    v = yaml_quoted_text(source, double_quoted, &r->scratch, ret);
    if (v > 0)
        return tree_refuse(&r->tree, at, "unknown escape in double quotes: write \\\\ for a backslash, or use single quotes");
    return v < 0 ? v : text_only(r, at, *ret);
}

/* libfyaml 0.7.12 lets a block that holds only empty lines swallow the keys behind it: the first line with text must stand
 * further right than the block's parent. */
static int block_is_indented(struct reader *r, struct fy_token *t, struct place at) {
    const struct fy_mark *begin = fy_token_start_mark(t), *end = fy_token_end_mark(t);
    const struct tree_level *l = tree_level(&r->tree);
    size_t parent = !l ? 0 : l->node->kind == YAML_MAPPING ? l->key_column : l->node->column, indent = 0;

    if (!begin || !end || end->input_pos > r->input.n || begin->input_pos > end->input_pos)
        return tree_refuse(&r->tree, at, "this block cannot be read: put the value in double quotes");
    for (size_t i = begin->input_pos; i < end->input_pos; i++) {
        char c = r->input.at[i];

        if (c == ' ')
            indent++;
        else if (c == '\n' || c == '\r')
            indent = 0;
        else
            return indent >= parent ? 0 : tree_refuse(&r->tree, at, "block without text: write \"\" for empty text");
    }
    return 0;
}

static int block_text(struct reader *r, struct fy_token *t, struct place at, struct str *ret) {
    int v = block_is_indented(r, t, at);

    if (v)
        return v;
    ret->at = fy_token_get_text(t, &ret->n);
    /* In 0.7.12 some blocks come out shorter than they say, with NULs behind. */
    if (ret->n && (!ret->at || memchr(ret->at, 0, ret->n)))
        return tree_refuse(&r->tree, at, "this block cannot be read: put the value in double quotes");
    return 0;
}

static int scalar_text(struct reader *r, struct fy_token *t, enum fy_scalar_style style, struct place at, struct str *ret) {
    struct str text = STR_NULL;
    int v = 0;

    if (!t)
        style = FYSS_ANY; /* an absent value */
    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        v = quoted_text(r, t, style == FYSS_DOUBLE_QUOTED, at, &text);
    else if (style == FYSS_LITERAL || style == FYSS_FOLDED)
        v = block_text(r, t, at, &text);
    else if (t)
        text.at = fy_token_get_text(t, &text.n);
    if (v)
        return v;
    if (!text.at)
        text.n = 0;
    *ret = text;
    return 0;
}

static int scalar_read(struct reader *r, struct fy_event *e) {
    enum fy_scalar_style style = e->scalar.value ? fy_token_scalar_style(e->scalar.value) : FYSS_PLAIN;
    struct place at = scalar_place(r, e, style);
    struct str text;
    int v = plain_only(r, at, e->scalar.anchor, e->scalar.tag);

    if (!v)
        v = scalar_text(r, e->scalar.value, style, at, &text);
    return v ? v : tree_scalar(&r->tree, at, text, style != FYSS_PLAIN);
}

static int collection_begun(struct reader *r, struct fy_event *e, enum yaml_kind kind) {
    struct place at = place_of(r, e);
    int v = kind == YAML_MAPPING ? plain_only(r, at, e->mapping_start.anchor, e->mapping_start.tag)
                                 : plain_only(r, at, e->sequence_start.anchor, e->sequence_start.tag);

    return v ? v : tree_begun(&r->tree, at, kind);
}

static bool is_empty_document(const struct yaml_node *root) {
    return !root || (root->kind == YAML_SCALAR && !root->quoted && root->scalar.n == 0);
}

static int event_taken(struct reader *r, struct fy_event *e, int (*document)(void *context, struct yaml_node *root),
                       void *context) {
    switch (e->type) {
    case FYET_DOCUMENT_START:
        tree_document_begun(&r->tree);
        return 0;
    case FYET_DOCUMENT_END:
        return is_empty_document(r->tree.root) ? 0 : document(context, r->tree.root);
    case FYET_SCALAR:
        return scalar_read(r, e);
    case FYET_SEQUENCE_START:
        return collection_begun(r, e, YAML_SEQUENCE);
    case FYET_MAPPING_START:
        return collection_begun(r, e, YAML_MAPPING);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        return tree_ended(&r->tree);
    case FYET_ALIAS:
        return tree_refuse(&r->tree, token_place(e->alias.anchor, 1, place_of(r, e)),
                           "aliases (*name) are not supported: write the value out; quote text that begins with a star");
    default:
        return 0;
    }
}

static struct reader *reader_free(struct reader *r) {
    if (r)
        growing_deinit(&r->scratch);
    free(r);
    return NULL;
}
DEFINE_FREEP(struct reader, reader_free)

static void parser_free(struct fy_parser **p) {
    if (*p)
        fy_parser_destroy(*p);
}

static void diag_free(struct fy_diag **d) {
    if (*d)
        fy_diag_destroy(*d);
}

static void diag_silent(struct fy_diag *diag, void *user, const char *text, size_t n) {}

/* The first complaint of the library, in our words where we have better ones. */
static int syntax_error(struct fy_diag *diag, struct str text, struct yaml_error *ret) {
    void *cursor = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &cursor);

    if (e)
        yaml_error_tell(text, e->msg, (uint32_t)max_of(e->line, 1), (uint32_t)max_of(e->column, 1), ret);
    else
        yaml_error_tell(text, "this is not YAML 1.2", 1, 1, ret);
    return 1;
}

enum { FLOW_REFUSED = 1, FLOW_FOR_THE_LIBRARY = 2 };

/* 0: the text was JSON, the tree is there. What is short the library may read as well, and tells what is wrong with it. */
static int read_flow(struct tree *t, struct str text) {
    struct place at;
    int v = FLOW_FOR_THE_LIBRARY;

    if (yaml_is_flow(text))
        v = yaml_json_read(t, text);
    else if (text.n > FLOW_BYTES_MAX && yaml_flow_is_long(text, FLOW_BYTES_MAX, &at))
        v = tree_refuse(t, at, "a list or mapping in brackets is longer than %d KiB: write it in lines", FLOW_BYTES_MAX / 1024);
    return v == FLOW_REFUSED && text.n <= FLOW_BYTES_MAX ? FLOW_FOR_THE_LIBRARY : v;
}

int yaml_parse(struct str text, struct arena *a, int (*document)(void *context, struct yaml_node *root), void *context,
               struct yaml_error *ret_error) {
    struct fy_diag_cfg diag_cfg;
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 |
                                        FYPCF_SLOPPY_FLOW_INDENTATION | FYPCF_DISABLE_MMAP_OPT};
    cleanup(diag_free) struct fy_diag *diag = NULL;
    cleanup(parser_free) struct fy_parser *parser = NULL;
    cleanup(reader_freep) struct reader *r = calloc(1, sizeof(*r));
    struct fy_event *e;
    int v = 0;

    if (!r)
        return -ENOMEM;
    if (!yaml_text_sound(&text, ret_error))
        return 1;
    if (text.n == 0)
        return 0;
    r->tree.arena = a;
    r->tree.error = ret_error;
    v = read_flow(&r->tree, text);
    if (v <= 0)
        return v ? v : document(context, r->tree.root);
    if (v == FLOW_REFUSED)
        return 1;
    v = 0;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = diag_silent;
    diag = fy_diag_create(&diag_cfg);
    if (!diag)
        return -ENOMEM;
    fy_diag_set_collect_errors(diag, true);
    cfg.diag = diag;
    parser = fy_parser_create(&cfg);
    if (!parser || fy_parser_set_string(parser, text.at, text.n))
        return -ENOMEM;
    r->input = text;
    while (v == 0 && (e = fy_parser_parse(parser))) {
        v = event_taken(r, e, document, context);
        fy_parser_event_free(parser, e);
    }
    if (v == 0 && fy_parser_get_stream_error(parser))
        return syntax_error(diag, text, ret_error);
    return v;
}

struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key) {
    if (!mapping || mapping->kind != YAML_MAPPING)
        return NULL;
    yaml_for_each(it, mapping) if (str_is(it->key, str_of(key))) return it;
    return NULL;
}

bool yaml_is_null(const struct yaml_node *n) {
    if (!n)
        return true;
    if (n->kind != YAML_SCALAR || n->quoted)
        return false;
    return n->scalar.n == 0 || str_is(n->scalar, STR("~")) || str_is(n->scalar, STR("null")) || str_is(n->scalar, STR("Null")) ||
           str_is(n->scalar, STR("NULL"));
}

const char *yaml_library_version(void) { return fy_library_version(); }
