/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/node_values.h - the kinds of values in the node file, each read into one field of struct node_config
 *
 * Every reader gets the node, the key's full path for the texts, and the field; it says what is wrong and returns false. */
#pragma once

#include <ringwall/config/node_config.h>

#include "decode.h"

enum { NAMES_MAX = 16 };
enum { DURATION_S_MAX = 10 * 365 * 86400 };
bool parse_duration(struct str s, uint64_t *ret_s);       /* "24h", "25s", "1h30m"; to DURATION_S_MAX */
bool parse_size(struct str s, uint64_t *ret_bytes);       /* "512MiB", "1GiB", plain bytes */
bool parse_listen(struct str s, struct listen_spec *ret); /* "*:15020", "localhost:15000", "[::1]:80"; host points into s */

typedef bool (*node_value_fn)(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_text(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_word(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* not empty */
bool value_node_name(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_namespace(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_domain(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_trust_domain(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_aliases(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* field: world_settings */
bool value_workers(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_cpu_latency(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_connections(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_port(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_rate(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* uint32_t, from 1 */
bool value_ttl(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_timeout(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_part(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* double */
bool value_mesh_bytes(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_listen(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_address(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_accounts(struct decode *d, const struct yaml_node *n, const char *path, void *field);     /* name_list */
bool value_server_names(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* name_list */
bool value_bool(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_bundles(struct decode *d, const struct yaml_node *n, const char *path, void *field); /* field: struct node_config */
bool value_capture_mode(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_enrol(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_switch(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_same_node(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_provider(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_log_level(struct decode *d, const struct yaml_node *n, const char *path, void *field);
bool value_log_format(struct decode *d, const struct yaml_node *n, const char *path, void *field);
