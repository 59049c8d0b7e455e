/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/authorization_policy.c - AuthorizationPolicy: every field of Istio's, and every error its webhook gives
 *
 * Nothing is decided here about what a field means at L4: L7 fields are read like the rest and handed on
 * (facts/identity.md 5.1, 5.8). */
#include <stddef.h>

#include "../kinds.h"
#include "policy_values.h"

enum { RULES_MAX = 512, FROM_MAX = 512 };
static const char *const actions[] = {"ALLOW", "DENY", "AUDIT", "CUSTOM"}; /* as enum policy_action */

/* A list of a source or an operation: where it goes and how its values are checked. */
struct field_row {
    const char *key;
    size_t at;
    bool (*check)(struct decode *d, const char *name, const struct text_item *item); /* NULL: any string */
    enum { FIELD_PLAIN, FIELD_IDENTITY, FIELD_ACCOUNT, FIELD_NAME } group;           /* NAME: not together with ACCOUNT */
};
#define SOURCE(key, member, check, group) \
    { key, offsetof(struct source_spec, member), check, group }
static const struct field_row source_fields[] = {
    SOURCE("principals", principals, NULL, FIELD_NAME),
    SOURCE("notPrincipals", not_principals, NULL, FIELD_NAME),
    SOURCE("requestPrincipals", request_principals, NULL, FIELD_IDENTITY),
    SOURCE("notRequestPrincipals", not_request_principals, NULL, FIELD_IDENTITY),
    SOURCE("namespaces", namespaces, NULL, FIELD_NAME),
    SOURCE("notNamespaces", not_namespaces, NULL, FIELD_NAME),
    SOURCE("ipBlocks", ip_blocks, policy_check_ip, FIELD_PLAIN),
    SOURCE("notIpBlocks", not_ip_blocks, policy_check_ip, FIELD_PLAIN),
    SOURCE("remoteIpBlocks", remote_ip_blocks, policy_check_ip, FIELD_PLAIN),
    SOURCE("notRemoteIpBlocks", not_remote_ip_blocks, policy_check_ip, FIELD_PLAIN),
    SOURCE("serviceAccounts", service_accounts, policy_check_account, FIELD_ACCOUNT),
    SOURCE("notServiceAccounts", not_service_accounts, policy_check_account, FIELD_ACCOUNT),
    SOURCE("trustDomains", trust_domains, policy_check_trust_domain, FIELD_IDENTITY),
    SOURCE("notTrustDomains", not_trust_domains, policy_check_trust_domain, FIELD_IDENTITY),
};
#define OPERATION(key, member, check) \
    { key, offsetof(struct operation_spec, member), check, FIELD_PLAIN }
static const struct field_row operation_fields[] = {
    OPERATION("hosts", hosts, NULL),
    OPERATION("notHosts", not_hosts, NULL),
    OPERATION("ports", ports, policy_check_port),
    OPERATION("notPorts", not_ports, policy_check_port),
    OPERATION("methods", methods, NULL),
    OPERATION("notMethods", not_methods, NULL),
    OPERATION("paths", paths, policy_check_path),
    OPERATION("notPaths", not_paths, policy_check_path),
};

struct rule_context {
    struct decode *d;
    enum policy_action action;
};

static bool check_values(struct decode *d, const struct field_row *row, const struct text_list *list, const struct yaml_node *n) {
    bool good = true;
    for (size_t i = 0; row->check && i < list->n; i++)
        good &= row->check(d, row->key, &list->items[i]);
    if (row->group == FIELD_ACCOUNT && list->n > POLICY_ACCOUNTS_MAX) {
        decode_key_errorf(d, n, "%s has %zu values: at most %d are allowed", row->key, list->n, POLICY_ACCOUNTS_MAX);
        good = false;
    }
    return good;
}

/* The lists of a source or operation into `to`; *ret_mask gets a bit for each group that is set. */
static bool decode_fields(struct rule_context *c, const struct yaml_node *n, const char *name, const struct field_row *rows,
                          size_t n_rows, void *to, unsigned *ret_mask) {
    const char *keys[array_size(source_fields)];
    unsigned mask = 0;
    bool good = true;
    for (size_t i = 0; i < n_rows; i++)
        keys[i] = rows[i].key;
    bool known = decode_keys(c->d, n, name, keys, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        const struct yaml_node *field = yaml_get(n, rows[i].key);
        struct text_list *list = (struct text_list *)((char *)to + rows[i].at);
        if (!field)
            continue;
        if (!decode_text_list(c->d, field, rows[i].key, list) || !check_values(c->d, &rows[i], list, field)) {
            good = false;
            continue;
        }
        if (!list->present)
            continue;
        mask |= 1u << rows[i].group;
        if (c->action == POLICY_CUSTOM && rows[i].group != FIELD_PLAIN) {
            decode_key_errorf(c->d, field, "%s is not allowed with action CUSTOM: remove it, or use ALLOW or DENY", rows[i].key);
            good = false;
        }
    }
    bool is_set = false;
    for (size_t i = 0; i < n_rows; i++)
        is_set |= ((struct text_list *)((char *)to + rows[i].at))->present;
    if (good && known && !is_set) {
        decode_errorf(c->d, n, "%s sets no field: write a condition, or remove the element to match everything", name);
        good = false;
    }
    *ret_mask = mask;
    return good && known;
}

static bool decode_source(struct rule_context *c, const struct yaml_node *n, struct source_spec *to) {
    unsigned mask;
    to->at = decode_at(c->d, n);
    if (!decode_fields(c, n, "source", source_fields, array_size(source_fields), to, &mask))
        return false;
    if ((mask & 1u << FIELD_ACCOUNT) && (mask & 1u << FIELD_NAME)) {
        decode_errorf(c->d, n,
                      "serviceAccounts cannot stand together with principals or namespaces in one source: write two sources");
        return false;
    }
    return true;
}

static bool decode_operation(struct rule_context *c, const struct yaml_node *n, struct operation_spec *to) {
    unsigned mask;
    to->at = decode_at(c->d, n);
    return decode_fields(c, n, "operation", operation_fields, array_size(operation_fields), to, &mask);
}

/* from and to: a list of elements with one key each. Returns that key's mapping, or NULL when it was refused. */
static const struct yaml_node *unwrap(struct decode *d, const struct yaml_node *element, const char *list, const char *key) {
    char name[48];
    struct text t = TEXT_OVER(name);
    text_addf(&t, "an element of %s", list);
    if (!decode_mapping(d, element, name))
        return NULL;
    bool known = decode_keys(d, element, name, &key, 1);
    const struct yaml_node *inner = yaml_get(element, key);
    if (!inner && !known)
        return NULL;
    if (!inner) {
        decode_errorf(d, element, "an element of %s has no %s: write - %s: and conditions below it", list, key, key);
        return NULL;
    }
    return decode_mapping(d, inner, key) ? inner : NULL;
}

/* The list of a rule when it is there and has what it must have; NULL otherwise, *ret_good false after an error. */
static const struct yaml_node *rule_list(struct decode *d, const struct yaml_node *rule, const char *key, size_t n_max,
                                         bool *ret_good) {
    const struct yaml_node *n = yaml_get(rule, key);
    if (!n)
        return NULL;
    if (!decode_sequence(d, n, key)) {
        *ret_good = false;
        return NULL;
    }
    if (n->n_children == 0) {
        decode_key_errorf(d, n, "%s is an empty list: write an element, or remove %s to match everything", key, key);
        *ret_good = false;
        return NULL;
    }
    if (n_max && n->n_children > n_max) {
        decode_key_errorf(d, n, "%s has %zu elements: at most %zu are allowed", key, n->n_children, n_max);
        *ret_good = false;
        return NULL;
    }
    return n;
}

static bool decode_rule(struct rule_context *c, const struct yaml_node *n, struct rule_spec *to) {
    static const char *const keys[] = {"from", "to", "when"};
    struct decode *d = c->d;
    bool good = true;
    to->at = decode_at(d, n);
    if (yaml_is_null(n)) {
        decode_errorf(d, n, "a rule is empty: write {} to match everything, or remove it");
        return false;
    }
    if (!decode_mapping(d, n, "a rule"))
        return false;
    decode_keys(d, n, "a rule", keys, array_size(keys));
    const struct yaml_node *from = rule_list(d, n, "from", FROM_MAX, &good), *ops = rule_list(d, n, "to", 0, &good);
    const struct yaml_node *when = yaml_get(n, "when");
    if (when && !decode_sequence(d, when, "when")) {
        good = false;
        when = NULL;
    }
    to->from = decode_array(d, struct source_spec, from ? from->n_children : 0);
    to->to = decode_array(d, struct operation_spec, ops ? ops->n_children : 0);
    to->when = decode_array(d, struct condition_spec, when ? when->n_children : 0);
    if (d->failed)
        return false;
    yaml_for_each(it, from) {
        const struct yaml_node *source = unwrap(d, it, "from", "source");
        good = source && decode_source(c, source, &to->from[to->n_from++]) && good;
    }
    yaml_for_each(it, ops) {
        const struct yaml_node *operation = unwrap(d, it, "to", "operation");
        good = operation && decode_operation(c, operation, &to->to[to->n_to++]) && good;
    }
    yaml_for_each(it, when) good = policy_decode_condition(d, it, c->action, &to->when[to->n_when++]) && good;
    return good;
}

static bool decode_rules(struct decode *d, const struct yaml_node *spec, struct policy_spec *p) {
    struct rule_context c = {.d = d, .action = p->action};
    const struct yaml_node *n = yaml_get(spec, "rules");
    bool needed = p->action == POLICY_DENY || p->action == POLICY_CUSTOM, good = true;
    if (n && !decode_sequence(d, n, "rules"))
        return false;
    if (needed && (!n || n->n_children == 0)) {
        decode_errorf(d, n ? n : spec, "action %s has no rules and would never match: write rules, [{}] matches everything",
                      actions[p->action]);
        return false;
    }
    if (!n)
        return true;
    if (n->n_children > RULES_MAX) {
        decode_key_errorf(d, n, "rules has %zu elements: at most %d are allowed, write a second policy", n->n_children, RULES_MAX);
        return false;
    }
    p->rules = decode_array(d, struct rule_spec, n->n_children);
    yaml_for_each(it, n) good = !d->failed && decode_rule(&c, it, &p->rules[p->n_rules++]) && good;
    return good;
}

static bool check_provider(struct decode *d, const struct yaml_node *spec, enum policy_action action) {
    static const char *const keys[] = {"name"};
    const struct yaml_node *n = yaml_get(spec, "provider"), *name;
    struct str text = STR_NULL;
    if (!n) {
        if (action == POLICY_CUSTOM)
            decode_errorf(d, spec, "action CUSTOM needs a provider: write provider: {name: ...}");
        return action != POLICY_CUSTOM;
    }
    if (action != POLICY_CUSTOM) {
        decode_key_errorf(d, n, "provider is only allowed with action CUSTOM: remove it");
        return false;
    }
    if (!decode_mapping(d, n, "provider"))
        return false;
    decode_keys(d, n, "provider", keys, array_size(keys));
    name = yaml_get(n, "name");
    if (name && !decode_str(d, name, "provider.name", &text))
        return false;
    if (text.n == 0)
        decode_errorf(d, n, "provider has no name: write provider: {name: ...}");
    return text.n > 0;
}

/* A dry run that is misread would switch a policy off or on, so only the words that Istio reads are taken. */
static bool read_dry_run(struct decode *d, const struct object_meta *m, struct policy_spec *p) {
    static const char key[] = "istio.io/dry-run";
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"}, {"1", "t", "T", "true", "TRUE", "True"}};
    const struct yaml_node *n = meta_annotation_node(m, key);
    struct str value = meta_annotation(m, key);
    if (!n)
        return true;
    for (size_t yes = 0; yes < array_size(words); yes++)
        for (size_t i = 0; i < array_size(words[yes]); i++)
            if (str_is(value, str_of(words[yes][i]))) {
                p->dry_run = yes;
                return true;
            }
    decode_errorf(d, n, "annotation %s must be \"true\" or \"false\"", key);
    return false;
}

const void *decode_authorization_policy(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    static const char *const keys[] = {"selector", "rules", "action", "provider", "targetRef", "targetRefs"};
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *action = yaml_get(spec, "action");
    unsigned word = POLICY_ALLOW;
    struct policy_spec *p = decode_array(d, struct policy_spec, 1);
    if (!spec || !p)
        return NULL;
    *p = (struct policy_spec){.ns = m->ns, .name = m->name, .at = m->at};
    decode_keys(d, spec, "spec", keys, array_size(keys));
    bool good = decode_attachment(d, spec, &p->selector, &p->has_target_refs);
    good &= read_dry_run(d, m, p);
    bool has_action = !action || decode_enum(d, action, "action", actions, array_size(actions), &word);
    p->action = (enum policy_action)word;
    /* With a misspelt action the rules are read as ALLOW's, which asks least of them: only what is wrong in any case is said. */
    good &= has_action && check_provider(d, spec, p->action);
    good &= decode_rules(d, spec, p);
    return good ? p : NULL;
}
