/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/decode.h - from a tree of YAML nodes to values, saying exactly what is wrong and what to write instead
 *
 * A decoder asks for what it expects; what is not so becomes a diagnostic with the place of the key or value, and the
 * decoder goes on, so one load shows all errors of a file. Types are strict, as the API server's are: a number is no
 * string and a string is no number. Memory failure is sticky in `failed` and is asked for once, at the end. */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/model/diag.h>
#include <ringwall/model/spec.h>
#include <ringwall/wire/yaml.h>

struct decode {
    struct arena *arena; /* owns every string and array that is handed out */
    struct diag_list *diags;
    struct str file; /* as the user knows it; lives as long as the arena */
    struct str what; /* the object that is being read, for the texts; empty: none */
    bool failed;     /* no memory: what was handed out is incomplete */
};

enum scalar_type { SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT, SCALAR_STRING };
enum scalar_type scalar_type_of(const struct yaml_node *n);

struct origin decode_at(const struct decode *d, const struct yaml_node *n);     /* of the value; NULL: the file */
struct origin decode_key_at(const struct decode *d, const struct yaml_node *n); /* of its key, else of the value */
void decode_errorf(struct decode *d, const struct yaml_node *n, const char *fmt, ...) printf_like(3, 4);
void decode_warnf(struct decode *d, const struct yaml_node *n, const char *fmt, ...) printf_like(3, 4);
void decode_key_errorf(struct decode *d, const struct yaml_node *n, const char *fmt, ...) printf_like(3, 4);
void decode_key_warnf(struct decode *d, const struct yaml_node *n, const char *fmt, ...) printf_like(3, 4);

void *decode_alloc(struct decode *d, size_t size, size_t n); /* zeroed; NULL sets failed */
#define decode_array(d, type, n) ((type *)decode_alloc((d), sizeof(type), (n)))
struct str decode_copy(struct decode *d, struct str s);

/* Every `name` below is how the texts call the node. False: not so, and it was said. A node may be NULL only where the
 * function's comment says so. */
bool decode_mapping(struct decode *d, const struct yaml_node *n, const char *name);
bool decode_sequence(struct decode *d, const struct yaml_node *n, const char *name);
bool decode_str(struct decode *d, const struct yaml_node *n, const char *name, struct str *ret); /* copied */
bool decode_u64(struct decode *d, const struct yaml_node *n, const char *name, uint64_t min, uint64_t max, uint64_t *ret);
bool decode_bool(struct decode *d, const struct yaml_node *n, const char *name, bool *ret);
bool decode_enum(struct decode *d, const struct yaml_node *n, const char *name, const char *const *words, size_t n_words,
                 unsigned *ret);
/* A list of strings, each with its place. NULL: absent. An empty list sets nothing: a warning, and present stays false. */
bool decode_text_list(struct decode *d, const struct yaml_node *n, const char *name, struct text_list *ret);
/* A mapping of string to string. NULL or null: none. */
bool decode_labels(struct decode *d, const struct yaml_node *n, const char *name, struct label **ret, size_t *ret_n);
struct str label_value(const struct label *labels, size_t n, struct str key); /* empty: absent */

/* Every key of the mapping must be one of `known`; a near one is proposed. */
bool decode_keys(struct decode *d, const struct yaml_node *mapping, const char *name, const char *const *known, size_t n_known);
/* The nearest word within a third of the length (at least 2); NULL: none is near. */
const char *nearest_word(struct str s, const char *const *words, size_t n_words);
/* "a, b or c" into a bounded text. */
void words_format(struct text *to, const char *const *words, size_t n_words);
