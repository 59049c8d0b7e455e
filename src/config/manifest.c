/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/manifest.c - see manifest.h
 *
 * What is skipped and what is an error follows one thought: an object that the user meant as policy must never be passed
 * over in silence. So an unknown kind of security.istio.io, an unknown version of a kind we take, and a group or kind that is
 * one slip away from ours are errors; everything else that we do not take is counted for one notice. A file without any
 * text is an error too: it is what a writer leaves behind between truncating and writing. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>

#include "kinds.h"
#include "manifest.h"

enum { NEAR_DISTANCE = 2 };

struct kind_row {
    const char *kind, *group, *versions[4];
    kind_decode_fn decode; /* NULL: the metadata is all we want */
    bool cluster_scoped;
};
static const struct kind_row kind_table[_OBJECT_KIND_MAX] = {
    [OBJECT_NAMESPACE] = {"Namespace", "", {"v1"}, decode_namespace, true},
    [OBJECT_NODE] = {"Node", "", {"v1"}, decode_node, true},
    [OBJECT_SERVICE_ACCOUNT] = {"ServiceAccount", "", {"v1"}, NULL, false},
    [OBJECT_POD] = {"Pod", "", {"v1"}, decode_pod, false},
    [OBJECT_SERVICE] = {"Service", "", {"v1"}, decode_service, false},
    [OBJECT_ENDPOINT_SLICE] = {"EndpointSlice", "discovery.k8s.io", {"v1"}, decode_endpoint_slice, false},
    [OBJECT_WORKLOAD_ENTRY] = {"WorkloadEntry", "networking.istio.io", {"v1", "v1beta1", "v1alpha3"}, decode_workload_entry, false},
    [OBJECT_SERVICE_ENTRY] = {"ServiceEntry", "networking.istio.io", {"v1", "v1beta1", "v1alpha3"}, decode_service_entry, false},
    [OBJECT_GATEWAY] = {"Gateway", "gateway.networking.k8s.io", {"v1", "v1beta1", "v1alpha2"}, NULL, false},
    [OBJECT_AUTHORIZATION_POLICY] =
        {"AuthorizationPolicy", "security.istio.io", {"v1", "v1beta1"}, decode_authorization_policy, false},
    [OBJECT_PEER_AUTHENTICATION] =
        {"PeerAuthentication", "security.istio.io", {"v1", "v1beta1"}, decode_peer_authentication, false},
    [OBJECT_REQUEST_AUTHENTICATION] =
        {"RequestAuthentication", "security.istio.io", {"v1", "v1beta1"}, decode_request_authentication, false},
};

const char *object_kind_name(enum object_kind k) { return kind_table[k].kind; }

struct reading {
    struct manifest *m;
    struct arena *tree; /* of the document that is being read */
    struct decode d;
    struct object **tail;
    struct str cluster_domain;
};

static void skip(struct reading *r, struct str kind, struct str api_version, const struct yaml_node *root) {
    struct skipped **at = &r->m->skipped;
    for (; *at; at = &(*at)->next)
        if (str_is((*at)->kind, kind) && str_is((*at)->api_version, api_version)) {
            (*at)->n++;
            return;
        }
    struct skipped *s = decode_array(&r->d, struct skipped, 1);
    if (!s)
        return;
    *s = (struct skipped){
        .kind = decode_copy(&r->d, kind), .api_version = decode_copy(&r->d, api_version), .at = decode_at(&r->d, root), .n = 1};
    *at = s;
}

static bool read_timestamp(struct decode *d, const struct yaml_node *n, const char *name, bool *ret_has, int64_t *ret_s) {
    struct str text;
    if (yaml_is_null(n)) /* kubectl prints creationTimestamp: null for what was never created */
        return true;
    if (!decode_str(d, n, name, &text))
        return false;
    if (!clock_parse_rfc3339(text.at, text.n, ret_s)) {
        decode_errorf(d, n, "%s is no time: write it as \"2026-01-31T12:00:00Z\"", name);
        return false;
    }
    *ret_has = true;
    return true;
}

static bool read_name(struct decode *d, const struct yaml_node *metadata, struct object_meta *m, const char *kind) {
    const struct yaml_node *name = yaml_get(metadata, "name");
    if (!name) {
        decode_errorf(d, metadata, "metadata of a %s has no name: write metadata.name%s", kind,
                      yaml_get(metadata, "generateName") ? ", generateName gives none in a file" : "");
        return false;
    }
    if (!decode_str(d, name, "metadata.name", &m->name))
        return false;
    m->at = decode_at(d, name);
    if (!is_dns_name(m->name)) {
        decode_errorf(
            d, name,
            "metadata.name is no valid name: write at most 253 of a-z, 0-9, \"-\" and \".\", a letter or digit first and last");
        return false;
    }
    return true;
}

static bool read_namespace(struct decode *d, const struct yaml_node *metadata, struct object_meta *m, const struct kind_row *row) {
    const struct yaml_node *ns = yaml_get(metadata, "namespace");
    if (row->cluster_scoped)
        return true;
    m->ns = STR("default"); /* as kubectl does with a fresh context */
    if (!ns)
        return true;
    if (!decode_str(d, ns, "metadata.namespace", &m->ns))
        return false;
    if (!is_dns_label(m->ns)) {
        decode_errorf(
            d, ns, "metadata.namespace is no valid name: write at most 63 of a-z, 0-9 and \"-\", a letter or digit first and last");
        return false;
    }
    return true;
}

static bool read_meta(struct decode *d, const struct yaml_node *root, const struct kind_row *row, struct object_meta *m) {
    struct yaml_node *metadata = yaml_get(root, "metadata");
    const struct yaml_node *uid;
    bool has_deleted = false, good;
    int64_t deleted_s;
    if (!metadata) {
        decode_errorf(d, root, "%s has no metadata: write metadata with a name", row->kind);
        return false;
    }
    if (!decode_mapping(d, metadata, "metadata") || !read_name(d, metadata, m, row->kind) || !read_namespace(d, metadata, m, row))
        return false;
    bool ok = true;
    d->what = m->ns.n ? arena_strf(d->arena, &ok, "%s " STR_FMT "/" STR_FMT, row->kind, STR_ARG(m->ns), STR_ARG(m->name))
                      : arena_strf(d->arena, &ok, "%s " STR_FMT, row->kind, STR_ARG(m->name));
    d->failed |= !ok;
    m->node = metadata;
    m->labels_node = yaml_get(metadata, "labels");
    m->annotations_node = yaml_get(metadata, "annotations");
    good = decode_labels(d, m->labels_node, "label", &m->labels, &m->n_labels);
    good &= decode_labels(d, m->annotations_node, "annotation", &m->annotations, &m->n_annotations);
    good &=
        read_timestamp(d, yaml_get(metadata, "creationTimestamp"), "metadata.creationTimestamp", &m->has_created, &m->created_s);
    good &= read_timestamp(d, yaml_get(metadata, "deletionTimestamp"), "metadata.deletionTimestamp", &has_deleted, &deleted_s);
    m->deleted = has_deleted;
    uid = yaml_get(metadata, "uid");
    if (!yaml_is_null(uid))
        good &= decode_str(d, uid, "metadata.uid", &m->uid);
    return good;
}

static void take(struct reading *r, enum object_kind kind, struct yaml_node *root) {
    const struct kind_row *row = &kind_table[kind];
    struct decode *d = &r->d;
    struct object_meta meta = {.cluster_domain = r->cluster_domain};
    size_t n_errors = d->diags->n_errors;
    if (read_meta(d, root, row, &meta)) {
        const void *spec = row->decode ? row->decode(d, &meta, root) : NULL;
        struct object *o = decode_array(d, struct object, 1);
        if (o && d->diags->n_errors == n_errors) {
            *o = (struct object){.kind = kind, .ns = meta.ns, .name = meta.name, .at = meta.at, .spec = spec};
            *r->tail = o;
            r->tail = &o->next;
            r->m->n_objects++;
        }
    }
    d->what = STR_NULL;
}

static void version_of(struct str api_version, struct str *ret_group, struct str *ret_version) {
    const char *slash = api_version.n ? memchr(api_version.at, '/', api_version.n) : NULL;
    *ret_group = slash ? (struct str){api_version.at, (size_t)(slash - api_version.at)} : STR_NULL;
    *ret_version = slash ? (struct str){slash + 1, api_version.n - ret_group->n - 1} : api_version;
}

static bool version_is_known(const struct kind_row *row, struct str version) {
    for (size_t i = 0; i < array_size(row->versions) && row->versions[i]; i++)
        if (str_is(version, str_of(row->versions[i])))
            return true;
    return false;
}

static const char *api_version_text(const struct kind_row *row, char *out, size_t n) {
    struct text t = {.at = out, .cap = n};
    text_addf(&t, "%s%s%s", row->group, *row->group ? "/" : "", row->versions[0]);
    return out;
}

/* A kind of ours in no group ("v1"), or in half of its group's name; Linkerd's AuthorizationPolicy is neither. */
static bool is_part_of_group(struct str group, struct str whole) {
    if (!whole.n || group.n >= whole.n)
        return false;
    return str_has_prefix(whole, group) || (str_has_suffix(whole, group) && whole.at[whole.n - group.n - 1] == '.');
}

/* True when the object was dealt with: an unknown kind or group that looks like a slip of the pen. */
static bool refuse_slip(struct reading *r, const struct yaml_node *root, struct str kind, struct str group) {
    const struct yaml_node *kind_node = yaml_get(root, "kind"), *version_node = yaml_get(root, "apiVersion");
    bool ours = str_is(group, STR("security.istio.io"));
    char buffer[96];
    for (size_t i = 0; i < _OBJECT_KIND_MAX; i++) {
        const struct kind_row *row = &kind_table[i];
        struct str row_kind = str_of(row->kind), row_group = str_of(row->group);
        if (str_is(group, row_group) && str_distance(kind, row_kind) <= NEAR_DISTANCE) {
            decode_errorf(&r->d, kind_node, "unknown kind \"" STR_FMT "\": did you mean %s?", STR_ARG(kind), row->kind);
            return true;
        }
        if (!str_is(kind, row_kind) || !row_group.n)
            continue;
        api_version_text(row, buffer, sizeof(buffer));
        if (str_distance(group, row_group) <= NEAR_DISTANCE) {
            decode_errorf(&r->d, version_node, "unknown group \"" STR_FMT "\" of kind %s: did you mean apiVersion: %s?",
                          STR_ARG(group), row->kind, buffer);
            return true;
        }
        if (is_part_of_group(group, row_group)) {
            decode_errorf(&r->d, version_node, "kind %s is of group %s: write apiVersion: %s", row->kind, row->group, buffer);
            return true;
        }
    }
    if (ours)
        decode_errorf(
            &r->d, kind_node,
            "unknown kind \"%.*s\" of security.istio.io: write AuthorizationPolicy, PeerAuthentication or RequestAuthentication",
            (int)min_of(kind.n, (size_t)64), kind.at);
    return ours;
}

static void read_object(struct reading *r, struct yaml_node *root, struct str kind, struct str api_version) {
    struct str group, version;
    char buffer[96];
    version_of(api_version, &group, &version);
    for (size_t i = 0; i < _OBJECT_KIND_MAX; i++) {
        const struct kind_row *row = &kind_table[i];
        if (!str_is(kind, str_of(row->kind)) || !str_is(group, str_of(row->group)))
            continue;
        if (!version_is_known(row, version)) {
            decode_errorf(&r->d, yaml_get(root, "apiVersion"), "unknown version of kind %s: write apiVersion: %s", row->kind,
                          api_version_text(row, buffer, sizeof(buffer)));
            return;
        }
        if (i == OBJECT_REQUEST_AUTHENTICATION)
            skip(r, kind, STR_NULL, root);
        take(r, (enum object_kind)i, root);
        return;
    }
    if (!refuse_slip(r, root, kind, group))
        skip(r, kind, api_version, root);
}

/* kind and apiVersion of the object, or of the typed list that it stands in (their items often have neither). */
static bool type_of(struct reading *r, const struct yaml_node *root, const char *key, const char *example, struct str outer,
                    struct str *ret) {
    const struct yaml_node *n = yaml_get(root, key);
    if (!n && outer.n) {
        *ret = outer;
        return true;
    }
    if (!n) {
        decode_errorf(&r->d, root, "this is no manifest, it has no %s: write one, for example %s", key, example);
        return false;
    }
    if (!decode_str(&r->d, n, key, ret))
        return false;
    if (ret->n == 0)
        decode_errorf(&r->d, n, "%s is empty: write one, for example %s", key, example);
    return ret->n > 0;
}

static void read_root(struct reading *r, struct yaml_node *root, struct str outer_kind, struct str outer_version) {
    struct str kind, api_version;
    if (!decode_mapping(&r->d, root, "a manifest"))
        return;
    if (!type_of(r, root, "apiVersion", "apiVersion: security.istio.io/v1", outer_version, &api_version) ||
        !type_of(r, root, "kind", "kind: AuthorizationPolicy", outer_kind, &kind))
        return;
    if (!str_has_suffix(kind, STR("List")) || !yaml_get(root, "items")) {
        if (str_is(kind, STR("List")))
            decode_errorf(&r->d, root, "a List has no items: write items: [], or remove it");
        else
            read_object(r, root, kind, api_version);
        return;
    }
    const struct yaml_node *items = yaml_get(root, "items");
    bool typed = kind.n > 4;
    if (!decode_sequence(&r->d, items, "items"))
        return;
    kind.n -= 4;
    yaml_for_each(it, items) read_root(r, it, typed ? kind : STR_NULL, typed ? api_version : STR_NULL);
}

static int read_document(void *context, struct yaml_node *root) {
    struct reading *r = context;
    if (!yaml_is_null(root)) /* nothing between two "---", or comments only */
        read_root(r, root, STR_NULL, STR_NULL);
    arena_deinit(r->tree); /* what we keep of it was copied: a file costs as much as its largest document */
    return r->d.failed ? err_origin(-ENOMEM) : 0;
}

static bool is_blank(struct str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!strchr(" \t\r\n", text.at[i]) || !text.at[i])
            return false;
    return true;
}

int manifest_parse(struct manifest *m, struct str path, struct str text, struct str cluster_domain) {
    cleanup(arena_deinit) struct arena tree = ARENA_NULL;
    struct yaml_error error;
    bool ok = true;
    struct reading r = {
        .m = m, .tree = &tree, .d = {.arena = &m->arena, .diags = &m->diags}, .tail = &m->first, .cluster_domain = cluster_domain};
    r.d.file = arena_str(&m->arena, path, &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    if (is_blank(text)) {
        decode_errorf(&r.d, NULL, "the file is empty, as a half-written one is: write manifests into it, or remove it");
        return 0;
    }
    int e = yaml_parse(text, &tree, read_document, &r, &error);
    if (e < 0)
        return err_trace(e);
    if (e > 0) {
        struct origin at = {r.d.file, error.line, error.column};
        diag_addf(&m->diags, DIAG_ERROR, &at, "%s", error.text);
    }
    return r.d.failed ? err_origin(-ENOMEM) : 0;
}

void manifest_deinit(struct manifest *m) {
    diag_list_deinit(&m->diags);
    arena_deinit(&m->arena);
    *m = MANIFEST_NULL;
}
