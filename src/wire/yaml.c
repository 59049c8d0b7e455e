/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml.c - libfyaml's events to a tree with places
 *
 * The tree is built without recursion on a stack of YAML_DEPTH_MAX levels. All text is copied into the arena, so the input
 * may go. Plain YAML only: what makes one piece of text mean two things (anchors, aliases, tags, merge keys, duplicate or
 * structured keys) is refused, because a policy that two readers understand differently is a hole.
 * Not here: types of scalars, and what keys mean. */
#include <errno.h>
#include <stdlib.h>

#include <libfyaml.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/yaml.h>

#include "library.h"
#include "yaml_error.h"
#include "yaml_scalar.h"

enum {
    PAIRWISE_MAX = 12, /* keys of a mapping that are compared pair by pair; more are sorted */
    WORDS_REMEMBERED = 256,
    WORD_MAX = 40,
};

struct level {
    struct yaml_node *node, *last; /* the collection, its newest child */
    bool has_key;
    struct str key;
    uint32_t key_line, key_column;
};
struct reader {
    struct str input;
    struct growing scratch; /* a value that had to be put together */
    struct arena *arena;
    struct yaml_error *error;
    struct yaml_node *root; /* of the document being read */
    size_t n_nodes;
    unsigned depth;
    struct level levels[YAML_DEPTH_MAX];
    struct str words[WORDS_REMEMBERED]; /* the same few words stand all over a file: one copy of each */
};
struct place {
    uint32_t line, column;
};

static int refuse(struct reader *r, struct place at, const char *fmt, ...) printf_like(3, 4);
static int refuse(struct reader *r, struct place at, const char *fmt, ...) {
    struct text t = TEXT_OVER(r->error->text);
    va_list ap;

    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    r->error->line = at.line;
    r->error->column = at.column;
    return 1;
}

/* Where an event begins. An absent value has no place of its own: its key's is used. */
static struct place place_of(const struct reader *r, struct fy_event *e) {
    const struct fy_mark *m = fy_event_start_mark(e);
    const struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;

    if (m && m->line >= 0 && m->column >= 0)
        return (struct place){(uint32_t)m->line + 1, (uint32_t)m->column + 1};
    if (l && l->has_key)
        return (struct place){l->key_line, l->key_column};
    return l ? (struct place){l->node->line, l->node->column} : (struct place){1, 1};
}

/* A copy of a word, shared with earlier equal ones where the small table still knows them. NULL .at: no memory. */
static struct str word_copy(struct reader *r, struct str s) {
    uint32_t hash = 2166136261u;
    struct str *known;
    bool ok = true;

    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (uint8_t)s.at[i]) * 16777619u;
    known = &r->words[hash % WORDS_REMEMBERED];
    if (known->at && str_is(*known, s))
        return *known;
    s = arena_str(r->arena, s, &ok);
    if (!ok)
        return STR_NULL;
    *known = s;
    return s;
}

static struct yaml_node *node_new(struct reader *r, enum yaml_kind kind, struct place at) {
    struct yaml_node *n = arena_array(r->arena, struct yaml_node, 1);

    if (!n)
        return NULL;
    n->kind = kind;
    n->line = at.line;
    n->column = at.column;
    return n;
}

/* Hangs a node under the collection being read, or makes it the root. */
static void node_hang(struct reader *r, struct yaml_node *n) {
    struct level *l;

    if (r->depth == 0) {
        r->root = n;
        return;
    }
    l = &r->levels[r->depth - 1];
    if (l->node->kind == YAML_MAPPING) {
        n->key = l->key;
        n->key_line = l->key_line;
        n->key_column = l->key_column;
        l->has_key = false;
    }
    if (l->last)
        l->last->next = n;
    else
        l->node->first = n;
    l->last = n;
    l->node->n_children++;
}

static bool key_wanted(const struct reader *r) {
    return r->depth && r->levels[r->depth - 1].node->kind == YAML_MAPPING && !r->levels[r->depth - 1].has_key;
}

static int key_taken(struct reader *r, struct str key, struct place at) {
    struct level *l = &r->levels[r->depth - 1];

    if (key.n == 0)
        return refuse(r, at, "empty key: write a name before the colon");
    if (str_is(key, STR("<<")))
        return refuse(r, at, "merge key \"<<\" is not supported: write the keys out");
    l->key = word_copy(r, key);
    if (!l->key.at)
        return -ENOMEM;
    l->key_line = at.line;
    l->key_column = at.column;
    l->has_key = true;
    return 0;
}

static int bounded(struct reader *r, struct place at) {
    if (++r->n_nodes > YAML_NODES_MAX)
        return refuse(r, at, "document has more than %d values: split it with \"---\" or into files", YAML_NODES_MAX);
    return 0;
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
        return refuse(r, token_place(anchor, 1, at), "anchors (&name) are not supported: write the value out where it is used");
    if (tag)
        return refuse(r, token_place(tag, 0, at),
                      "tags (!name) are not supported: leave it out, and put quotes around a value that must be text");
    return 0;
}

/* What escapes in double quotes can bring in though the file has it not. */
static int text_only(struct reader *r, struct place at, struct str text) {
    if (text.n && !str_is_utf8(text))
        return refuse(r, at, "escape for a control character: a value holds text only");
    return 0;
}

/* The library marks the text; a reader looks for the quote before it, or for the key of a block. */
static struct place scalar_place(const struct reader *r, struct fy_event *e, enum fy_scalar_style style) {
    struct place at = place_of(r, e);
    const struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;

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
        return refuse(r, at, "this value cannot be read: write it on one line");
    v = yaml_quoted_text(source, double_quoted, &r->scratch, ret);
    if (v > 0)
        return refuse(r, at, "unknown escape in double quotes: write \\\\ for a backslash, or use single quotes");
    return v < 0 ? v : text_only(r, at, *ret);
}

/* libfyaml 0.7.12 lets a block that holds only empty lines swallow the keys behind it: the first line with text must stand
 * further right than the block's parent. */
static int block_is_indented(struct reader *r, struct fy_token *t, struct place at) {
    const struct fy_mark *begin = fy_token_start_mark(t), *end = fy_token_end_mark(t);
    const struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;
    size_t parent = !l ? 0 : l->node->kind == YAML_MAPPING ? l->key_column : l->node->column, indent = 0;

    if (!begin || !end || end->input_pos > r->input.n || begin->input_pos > end->input_pos)
        return refuse(r, at, "this block cannot be read: put the value in double quotes");
    for (size_t i = begin->input_pos; i < end->input_pos; i++) {
        char c = r->input.at[i];

        if (c == ' ')
            indent++;
        else if (c == '\n' || c == '\r')
            indent = 0;
        else
            return indent >= parent ? 0 : refuse(r, at, "block without text: write \"\" for empty text");
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
        return refuse(r, at, "this block cannot be read: put the value in double quotes");
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
    if (text.n > YAML_SCALAR_MAX)
        return refuse(r, at, "value is longer than %d KiB", YAML_SCALAR_MAX / 1024);
    *ret = text;
    return 0;
}

static int scalar_read(struct reader *r, struct fy_event *e) {
    enum fy_scalar_style style = e->scalar.value ? fy_token_scalar_style(e->scalar.value) : FYSS_PLAIN;
    struct place at = scalar_place(r, e, style);
    struct str text;
    struct yaml_node *n;
    bool ok = true;
    int v = plain_only(r, at, e->scalar.anchor, e->scalar.tag);

    if (!v)
        v = scalar_text(r, e->scalar.value, style, at, &text);
    if (v)
        return v;
    if (key_wanted(r))
        return key_taken(r, text, at);
    v = bounded(r, at);
    if (v)
        return v;
    n = node_new(r, YAML_SCALAR, at);
    if (!n)
        return -ENOMEM;
    n->quoted = style != FYSS_PLAIN;
    if (text.n && text.n <= WORD_MAX)
        n->scalar = word_copy(r, text);
    else if (text.n)
        n->scalar = arena_str(r->arena, text, &ok);
    node_hang(r, n);
    return text.n && !n->scalar.at ? -ENOMEM : 0;
}

static int collection_begun(struct reader *r, struct fy_event *e, enum yaml_kind kind) {
    struct place at = place_of(r, e);
    struct yaml_node *n;
    int v = kind == YAML_MAPPING ? plain_only(r, at, e->mapping_start.anchor, e->mapping_start.tag)
                                 : plain_only(r, at, e->sequence_start.anchor, e->sequence_start.tag);

    if (!v && key_wanted(r))
        v = refuse(r, at, "a list or mapping cannot be a key: write a plain name before the colon");
    if (!v && r->depth == YAML_DEPTH_MAX)
        v = refuse(r, at, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (!v)
        v = bounded(r, at);
    if (v)
        return v;
    n = node_new(r, kind, at);
    if (!n)
        return -ENOMEM;
    node_hang(r, n);
    r->levels[r->depth++] = (struct level){.node = n};
    return 0;
}

static int key_order(const void *a, const void *b) {
    const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
    int order = str_compare(x->key, y->key);

    if (order)
        return order;
    if (x->key_line != y->key_line)
        return x->key_line < y->key_line ? -1 : 1;
    return x->key_column < y->key_column ? -1 : x->key_column > y->key_column;
}

static int refuse_twice(struct reader *r, const struct yaml_node *first, const struct yaml_node *again) {
    return refuse(r, (struct place){again->key_line, again->key_column},
                  "key \"%.*s\" is here a second time; the first is at %u:%u: keep one", (int)min_of(again->key.n, (size_t)64),
                  again->key.at, first->key_line, first->key_column);
}

static int keys_differ_sorted(struct reader *r, const struct yaml_node *mapping) {
    cleanup_free struct yaml_node **sorted = malloc(mapping->n_children * sizeof(struct yaml_node *));
    size_t n = 0;

    if (!sorted)
        return -ENOMEM;
    yaml_for_each(it, mapping) sorted[n++] = it;
    qsort(sorted, n, sizeof(*sorted), key_order);
    for (size_t i = 1; i < n; i++)
        if (str_is(sorted[i - 1]->key, sorted[i]->key))
            return refuse_twice(r, sorted[i - 1], sorted[i]);
    return 0;
}

static int keys_differ(struct reader *r, const struct yaml_node *mapping) {
    if (mapping->n_children > PAIRWISE_MAX)
        return keys_differ_sorted(r, mapping);
    yaml_for_each(it, mapping) for (const struct yaml_node *later = it->next; later;
                                    later = later->next) if (str_is(it->key, later->key)) return refuse_twice(r, it, later);
    return 0;
}

static int collection_ended(struct reader *r) {
    const struct level *l;

    check(r->depth > 0);
    l = &r->levels[--r->depth];
    return l->node->kind == YAML_MAPPING ? keys_differ(r, l->node) : 0;
}

static bool is_empty_document(const struct yaml_node *root) {
    return !root || (root->kind == YAML_SCALAR && !root->quoted && root->scalar.n == 0);
}

static int event_taken(struct reader *r, struct fy_event *e, int (*document)(void *context, struct yaml_node *root),
                       void *context) {
    switch (e->type) {
    case FYET_DOCUMENT_START:
        r->root = NULL;
        r->n_nodes = 0;
        r->depth = 0;
        memset(r->words, 0, sizeof(r->words)); /* the arena may be reset between documents */
        return 0;
    case FYET_DOCUMENT_END:
        return is_empty_document(r->root) ? 0 : document(context, r->root);
    case FYET_SCALAR:
        return scalar_read(r, e);
    case FYET_SEQUENCE_START:
        return collection_begun(r, e, YAML_SEQUENCE);
    case FYET_MAPPING_START:
        return collection_begun(r, e, YAML_MAPPING);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        return collection_ended(r);
    case FYET_ALIAS:
        return refuse(r, token_place(e->alias.anchor, 1, place_of(r, e)),
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
    r->arena = a;
    r->error = ret_error;
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
