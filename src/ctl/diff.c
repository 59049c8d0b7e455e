/* SPDX-License-Identifier: GPL-3.0-or-later
 * diff.c - `policy diff DIR`: what would the daemon's connections say to another mesh directory?
 *
 * The directory is loaded as the daemon would load it. Equal connections are one pair with a count. A pair's new verdict
 * comes from the matcher on that directory; its present one from being open, or from the daemon, asked for many pairs at
 * once. Inbound connections are judged, and those outbound ones whose other end is another node: the others are seen
 * inbound too. What leaves in plaintext has no identity at its other end: while it is open it is cut where the mesh wants a
 * tunnel; made again, it would have one, and our identity in it. */
#include <stdlib.h>

#include <ringwall/base/map.h>
#include <ringwall/wire/explain.h>

#include "client.h"
#include "ctl.h"
#include "mesh.h"
#include "show.h"

struct pair {
    struct map_node node;
    char *key;                              /* owned */
    bool open;                              /* now; else it ended or was refused a while ago */
    bool outbound, plain_out, logged_allow; /* plain_out: outbound without a tunnel */
    int64_t world;                          /* that judged it last, as logged */
    int64_t count;
    struct identity source;
    struct addr source_ip;
    struct endpoint to;
    struct str name; /* "ns/name" in `key`; empty: not known */
    bool denied_before, denied_then;
    const struct json *before; /* as of authz check, in one of the daemon's answers; NULL: no workload of that name */
    struct json *then;         /* as of authz check; NULL: see then_why */
    const char *then_why;
    bool asks; /* the daemon is to be asked */
};

struct diff {
    const struct command_line *line;
    struct json *config, *connections, *recent; /* the daemon's answers */
    struct json **verdicts;                     /* and those to batches of pairs */
    size_t n_verdicts;
    int64_t world_number;
    struct world *world; /* of the directory */
    struct pair **pairs;
    size_t n_pairs, pairs_cap;
    struct map by_key;
    size_t n_open, n_recent; /* connections in all pairs */
};

static struct pair *pair_free(struct pair *p) {
    if (!p)
        return NULL;
    json_free(p->then);
    free(p->key);
    free(p);
    return NULL;
}
DEFINE_FREEP(struct pair, pair_free)

static void diff_deinit(struct diff *d) {
    map_deinit(&d->by_key);
    for (size_t i = 0; i < d->n_pairs; i++)
        pair_free(d->pairs[i]);
    free(d->pairs);
    for (size_t i = 0; i < d->n_verdicts; i++)
        json_free(d->verdicts[i]);
    free(d->verdicts);
    json_free(d->config);
    json_free(d->connections);
    json_free(d->recent);
    world_free(d->world);
}

/* ---- the daemon's side ---- */

static bool ask_json(const struct command_line *l, const char *target, struct json **ret) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    return show_ask(l, target, &a) && (*ret = show_read(&a));
}

static bool ask_all(struct diff *d) {
    if (!ask_json(d->line, "/debug/configz", &d->config) || !ask_json(d->line, "/connections", &d->connections) ||
        !ask_json(d->line, "/recent", &d->recent))
        return false;
    ignore_result(json_number(json_get(d->config, "world"), &d->world_number)); /* 0: none; then nothing counts as logged by it */
    return true;
}

/* ---- the directory ---- */

static struct str setting(const struct json *config, const char *key, struct str otherwise) {
    struct str s = json_text(json_get(config, key));
    return s.n ? s : otherwise;
}

/* 0; 1: errors, in diags; negative errno, told. */
static int load_as_daemon(struct diff *d, const char *dir, struct diag_list *diags) {
    const struct json *c = json_get(d->config, "config"), *aliases = json_get(c, "trustDomainAliases");
    struct str enrol = json_text(show_at(c, "capture.enrol"));
    int64_t bytes = MESH_BYTES_DEFAULT;
    size_t n = json_count(aliases);
    cleanup_free struct str *names = calloc(n + 1, sizeof(*names));
    if (!names) {
        complain("out of memory");
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        names[i] = json_text(json_at(aliases, i));
    struct world_settings settings = {.node = setting(c, "node", STR_NULL),
                                      .trust_domain = setting(c, "trustDomain", STR("cluster.local")),
                                      .root_namespace = setting(c, "rootNamespace", STR("istio-system")),
                                      .cluster = setting(c, "cluster", STR("Kubernetes")),
                                      .cluster_domain = setting(c, "clusterDomain", STR("cluster.local")),
                                      .network = setting(c, "network", STR_NULL),
                                      .trust_domain_aliases = names,
                                      .n_trust_domain_aliases = n};
    struct mesh_options o = {.dir = dir,
                             .settings = &settings,
                             .enrol = str_is(enrol, STR("all"))    ? MESH_ENROL_ALL
                                      : str_is(enrol, STR("none")) ? MESH_ENROL_NONE
                                                                   : MESH_ENROL_LABEL};
    o.bytes_max = json_number(show_at(c, "limits.meshBytes"), &bytes) && bytes > 0 ? (uint64_t)bytes : MESH_BYTES_DEFAULT;
    return mesh_read_as(&o, diags, &d->world);
}

static bool load(struct diff *d, const char *dir) {
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    const char *node_file = d->line->options[CTL_CONFIG];
    int r = node_file ? mesh_read(dir, node_file, &diags, &d->world) : load_as_daemon(d, dir, &diags);
    if (r)
        print_diags(&diags, stderr);
    return r == 0;
}

/* ---- pairs ---- */

/* A pair with this key: a new one, or the one that is there. NULL: out of memory, told. */
static struct pair *pair_of(struct diff *d, const struct pair *like, struct str source, struct str ns, struct str name) {
    struct growing key cleanup(growing_deinit) = GROWING_NULL;
    char ip[ADDR_TEXT], to[ENDPOINT_TEXT];
    growing_addf(&key, STR_FMT "%s" STR_FMT " %d%d%d%d " STR_FMT, STR_ARG(ns), name.n ? "/" : "", STR_ARG(name), like->open,
                 like->outbound, like->plain_out, like->logged_allow, STR_ARG(source));
    growing_addf(&key, " " STR_FMT, STR_ARG(addr_format(&like->source_ip, ip)));
    growing_addf(&key, " " STR_FMT, STR_ARG(endpoint_format(&like->to, to)));
    struct map_node *found = key.failed ? NULL : map_find(&d->by_key, key.at, key.n);
    if (found)
        return map_entry(found, struct pair, node);
    cleanup(pair_freep) struct pair *p = malloc(sizeof(*p));
    if (d->n_pairs == d->pairs_cap) {
        size_t cap = max_of(d->pairs_cap * 2, (size_t)64);
        struct pair **more = reallocarray(d->pairs, cap, sizeof(*more));
        if (more) {
            d->pairs = more;
            d->pairs_cap = cap;
        }
    }
    if (p)
        *p = *like;
    if (key.failed || !p || d->n_pairs == d->pairs_cap) {
        complain("out of memory");
        return NULL;
    }
    p->key = take_ptr(key.at);
    p->name = name.n ? (struct str){p->key, ns.n + 1 + name.n} : STR_NULL;
    ignore_result(map_insert(&d->by_key, &p->node, p->key, key.n)); /* it was looked for just now */
    d->pairs[d->n_pairs++] = p;
    return take_ptr(p);
}

/* The far end's node judges it too, and sees it as inbound; here only if that is another node. */
static bool seen_inbound_too(const struct diff *d, struct str ns, struct str name) {
    const struct workload *to = name.n ? world_workload_by_name(d->world, ns, name) : NULL;
    return to && to->local;
}

static bool add_open(struct diff *d, const struct json *flow) {
    struct pair like = {.open = true, .logged_allow = true};
    struct endpoint from;
    bool mtls = str_is(json_text(json_get(flow, "protocol")), STR("HBONE"));
    struct str source = json_text(show_at(flow, "src.identity")), to = json_text(show_at(flow, "dst.hboneAddr"));
    struct str ns = json_text(show_at(flow, "dst.namespace")), name = json_text(show_at(flow, "dst.workload"));
    like.outbound = str_is(json_text(json_get(flow, "direction")), STR("outbound"));
    if (!to.n)
        to = json_text(show_at(flow, "dst.addr"));
    if (!endpoint_parse(to, &like.to) || !endpoint_parse(json_text(show_at(flow, "src.addr")), &from))
        return true; /* it has no destination yet */
    like.plain_out = like.outbound && !mtls;
    if (like.plain_out)
        source = STR_NULL; /* whoever we are, the other end does not know it */
    if (source.n && !identity_parse(source, &like.source))
        return true;
    if (like.outbound && seen_inbound_too(d, ns, name))
        return true;
    like.source_ip = from.addr;
    struct pair *p = pair_of(d, &like, source, ns, name);
    if (p) {
        p->count++;
        d->n_open++;
    }
    return p;
}

static bool add_recent(struct diff *d, const struct json *contact) {
    struct pair like = {.logged_allow = json_truth(json_get(contact, "allowed"))};
    struct str source = json_text(json_get(contact, "source")), rest = json_text(json_get(contact, "to")), ns = STR_NULL;
    int64_t port, count = 1, world = 0;
    like.outbound = str_is(json_text(json_get(contact, "direction")), STR("outbound"));
    like.plain_out = like.outbound && str_is(json_text(json_get(contact, "protocol")), STR("TCP"));
    if (!json_number(json_get(contact, "port"), &port) || port < 1 || port > UINT16_MAX ||
        !addr_parse(json_text(json_get(contact, "destinationIp")), &like.to.addr) ||
        !addr_parse(json_text(json_get(contact, "sourceIp")), &like.source_ip))
        return true;
    if (source.n && !identity_parse(source, &like.source))
        return true;
    if (rest.n)
        ignore_result(str_split(&rest, '/', &ns)); /* text that is there has a first piece */
    if (like.outbound && seen_inbound_too(d, ns, rest))
        return true;
    like.to.port = (uint16_t)port;
    struct pair *p = pair_of(d, &like, source, ns, rest);
    if (!p)
        return false;
    if (json_number(json_get(contact, "count"), &count) && count > 0)
        p->count += count;
    d->n_recent += (size_t)max_of(count, (int64_t)0);
    ignore_result(json_number(json_get(contact, "world"), &world)); /* absent: 0, no world */
    p->world = max_of(p->world, world);
    return true;
}

static bool collect(struct diff *d) {
    for (size_t i = 0; i < json_count(d->connections); i++)
        if (!add_open(d, json_at(d->connections, i)))
            return false;
    for (size_t i = 0; i < json_count(d->recent); i++)
        if (!add_recent(d, json_at(d->recent, i)))
            return false;
    return true;
}

/* ---- verdicts ---- */

static const struct workload *find_then(const struct diff *d, const struct pair *p) {
    struct addr ignored;
    const struct workload *found = p->name.n ? explain_find(d->world, p->name, &ignored) : NULL;
    return found ? found : world_workload_by_addr(d->world, world_get_settings(d->world)->network, &p->to.addr);
}

static const char then_gone[] = "the workload is not in the directory";
static const char then_tunnel[] = "the workload is in the mesh and takes tunnels on this port: plaintext to it is refused";

static const struct identity nobody;

/* Plaintext that leaves is judged by the mesh first, and by policy only where that applies. True: it is decided. */
static bool judge_plain_out(const struct diff *d, struct pair *p, const struct workload *to, const struct identity **source) {
    struct mtls_effective m;
    if (!to || !to->enrolled) {
        p->denied_then = false; /* outside, or under no policy */
        return true;
    }
    authz_mtls(d->world, to, p->to.port, &m);
    if (m.mode == MTLS_DISABLE)
        *source = &nobody;
    p->denied_then = p->open && m.mode != MTLS_DISABLE;
    p->then_why = then_tunnel;
    return p->denied_then;
}

/* Fills denied_then, and `then` when the pair is worth showing. */
static bool judge_then(const struct diff *d, struct pair *p, bool show) {
    struct authz_query q = {
        .to = find_then(d, p), .source = &p->source, .source_ip = p->source_ip, .destination_ip = p->to.addr, .port = p->to.port};
    struct verdict v = {0};
    p->then_why = then_gone;
    if (p->plain_out && judge_plain_out(d, p, q.to, &q.source))
        return true;
    if (!q.to) {
        p->denied_then = true;
        return true;
    }
    if (!show) {
        authz_judge(d->world, &q, &v);
        p->denied_then = !v.allow;
        return true;
    }
    struct growing text cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    char why[128] = "out of memory";
    json_begin(&w, &text, false);
    explain_authz(&w, d->world, &q, &v);
    p->denied_then = !v.allow;
    p->then = text.failed ? NULL : json_read((struct str){text.at, text.n}, why);
    if (!p->then)
        complain("%s", why);
    return p->then;
}

static bool differs(const struct pair *p) { return p->denied_before != p->denied_then; }

/* What is known without the daemon: what is open is allowed, and so is what its newest world judged. */
static bool judge_known(const struct diff *d, struct pair *p) {
    if (!judge_then(d, p, false))
        return false;
    p->asks = true;
    if (p->open || (p->world == d->world_number && p->world)) {
        p->denied_before = !p->open && !p->logged_allow;
        p->asks = differs(p) && !p->plain_out;
    }
    return true;
}

/* ---- asking the daemon, for as many pairs at once as its /authz/pairs takes ---- */

enum { PAIR_BYTES_MAX = 1800, PAIR_ENCODED_MAX = 3900 }; /* below the limits of a request's target */
struct batch {
    struct growing target, values; /* the target is made of the values; values are "source,ip,destination,name,port;" */
    struct pair *pairs[256];
    size_t n;
};

static void batch_deinit(struct batch *b) {
    growing_deinit(&b->target);
    growing_deinit(&b->values);
}

/* A workload that the daemon does not know is none to talk to; that a connection is open is known better than why. */
static void take_answer(struct pair *p, const struct json *verdict) {
    struct str word = json_text(json_get(verdict, "verdict"));
    bool allows = str_is(word, STR("allow"));
    if (p->plain_out) { /* outside the mesh, or open to plaintext: as it was */
        bool tunnel = json_truth(json_get(verdict, "enrolled")) && !str_is(json_text(json_get(verdict, "mtls")), STR("DISABLE"));
        p->before = tunnel ? verdict : NULL;
        p->denied_before = tunnel && !allows;
        return;
    }
    p->before = word.n && (allows || !p->open) ? verdict : NULL;
    p->denied_before = !p->open && !allows;
}

static bool keep_answer(struct diff *d, const struct answer *a) {
    struct json **more = reallocarray(d->verdicts, d->n_verdicts + 1, sizeof(*more));
    if (!more) {
        complain("out of memory");
        return false;
    }
    d->verdicts = more;
    d->verdicts[d->n_verdicts] = show_read(a);
    return d->verdicts[d->n_verdicts] && ++d->n_verdicts;
}

static bool send_batch(struct diff *d, struct batch *b) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (b->n == 0)
        return true;
    if (b->target.failed || b->values.failed) {
        complain("out of memory");
        return false;
    }
    if (!client_ask(d->line->options[CTL_SOCKET], "GET", b->target.at, &a))
        return false;
    if (a.status != 200) {
        complain("/authz/pairs: %u " STR_FMT, a.status, STR_ARG(a.body));
        return false;
    }
    if (!keep_answer(d, &a))
        return false;
    const struct json *all = d->verdicts[d->n_verdicts - 1];
    if (json_count(all) != b->n) {
        complain("/authz/pairs: %zu verdicts were asked for, %zu came", b->n, json_count(all));
        return false;
    }
    for (size_t i = 0; i < b->n; i++)
        take_answer(b->pairs[i], json_at(all, i));
    batch_deinit(b);
    b->n = 0;
    return true;
}

static bool add_to_batch(struct diff *d, struct batch *b, struct pair *p) {
    char ip[ADDR_TEXT], to[ADDR_TEXT];
    struct growing one cleanup(growing_deinit) = GROWING_NULL, target cleanup(growing_deinit) = GROWING_NULL;
    growing_addf(&one, "%s,", identity_is_none(&p->source) ? "none" : p->source.text);
    growing_addf(&one, STR_FMT "," STR_FMT ",", STR_ARG(addr_format(&p->source_ip, ip)), STR_ARG(addr_format(&p->to.addr, to)));
    growing_addf(&one, STR_FMT ",%u", STR_ARG(p->name), p->to.port);
    for (unsigned again = 0; again < 2 && !one.failed; again++) {
        struct growing values cleanup(growing_deinit) = GROWING_NULL;
        growing_deinit(&target);
        growing_addf(&values, STR_FMT "%s%s", STR_ARG(((struct str){b->values.at, b->values.n})), b->n ? ";" : "", one.at);
        growing_addf(&target, "/authz/pairs");
        if (!values.failed)
            client_add_query(&target, "pairs", values.at);
        if (values.failed || target.failed)
            break;
        bool fits = values.n <= PAIR_BYTES_MAX && target.n <= PAIR_ENCODED_MAX && b->n < array_size(b->pairs);
        if (!fits && b->n) {
            if (!send_batch(d, b))
                return false;
            continue;
        }
        batch_deinit(b);
        b->values = values;
        b->target = target;
        values = target = GROWING_NULL;
        b->pairs[b->n++] = p;
        return true;
    }
    complain("out of memory");
    return false;
}

static bool compare_all(struct diff *d) {
    struct batch b cleanup(batch_deinit) = {.n = 0};
    for (size_t i = 0; i < d->n_pairs; i++)
        if (!judge_known(d, d->pairs[i]) || (d->pairs[i]->asks && !add_to_batch(d, &b, d->pairs[i])))
            return false;
    if (!send_batch(d, &b))
        return false;
    for (size_t i = 0; i < d->n_pairs; i++)
        if (differs(d->pairs[i]) && !judge_then(d, d->pairs[i], true))
            return false;
    return true;
}

/* ---- what is told ---- */

static struct str text_of(const struct json *o, const char *key) { return json_text(json_get(o, key)); }

static void write_text(struct json_writer *w, const char *key, struct str s) {
    if (s.n)
        json_str(w, key, s);
    else
        json_null(w, key);
}

static void write_side(struct json_writer *w, const char *key, const struct json *verdict, bool denied, const char *otherwise) {
    int64_t rule;
    json_object(w, key);
    json_z(w, "verdict", denied ? "deny" : "allow");
    json_str(w, "reason", verdict ? text_of(verdict, "reason") : str_of(otherwise));
    write_text(w, "code", text_of(verdict, "code"));
    write_text(w, "kind", text_of(verdict, "kind"));
    write_text(w, "policy", text_of(verdict, "policy"));
    if (json_number(json_get(verdict, "rule"), &rule))
        json_i64(w, "rule", rule);
    else
        json_null(w, "rule");
    write_text(w, "at", text_of(verdict, "at"));
    json_end(w);
}

static const char *before_text(const struct pair *p) {
    if (p->plain_out && !p->open)
        return "it went out when it was logged";
    return p->open ? "it is open" : "the workload is not known";
}

static void write_pair(struct json_writer *w, const struct pair *p) {
    char ip[ADDR_TEXT];
    json_object(w, NULL);
    json_z(w, "change", p->denied_then ? "deny" : "allow");
    json_z(w, "state", p->open ? "open" : "recent");
    json_z(w, "direction", p->outbound ? "outbound" : "inbound");
    json_bool(w, "plaintext", p->plain_out || identity_is_none(&p->source));
    json_i64(w, "count", p->count);
    write_text(w, "source", identity_uri(&p->source));
    json_str(w, "sourceIp", addr_format(&p->source_ip, ip));
    write_text(w, "to", p->name);
    json_str(w, "destinationIp", addr_format(&p->to.addr, ip));
    json_u64(w, "port", p->to.port);
    write_side(w, "old", p->before, p->denied_before, before_text(p));
    write_side(w, "new", p->then, p->denied_then, p->then_why);
    json_end(w);
}

static int print_json(const struct diff *d) {
    struct growing text cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &text, true);
    json_array(&w, NULL);
    for (size_t i = 0; i < d->n_pairs; i++)
        if (differs(d->pairs[i]))
            write_pair(&w, d->pairs[i]);
    json_end(&w);
    if (text.failed) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    fwrite(text.at, 1, text.n, stdout);
    return EXIT_DONE;
}

static void print_side(const char *when, const struct json *verdict, const char *otherwise) {
    printf("  %-5s ", when);
    put_text(stdout, verdict ? text_of(verdict, "reason") : str_of(otherwise));
    putchar('\n');
}

static void print_pair(const struct pair *p) {
    char ip[ADDR_TEXT], to[ENDPOINT_TEXT];
    printf("%s  %s %s%s, %lld connection%s\n", p->denied_then ? "DENY " : "ALLOW", p->open ? "open" : "recent",
           p->plain_out  ? "outbound in plaintext"
           : p->outbound ? "outbound"
                         : "inbound",
           p->open && p->denied_then ? ": would be reset" : "", (long long)p->count, p->count == 1 ? "" : "s");
    printf("  from  ");
    put_text(stdout, identity_is_none(&p->source) ? STR("none (plaintext)") : identity_uri(&p->source));
    printf(" at " STR_FMT "\n  to    ", STR_ARG(addr_format(&p->source_ip, ip)));
    put_text(stdout, p->name.n ? p->name : STR("a workload without a name"));
    printf(" at " STR_FMT "\n", STR_ARG(endpoint_format(&p->to, to)));
    print_side("now", p->before, before_text(p));
    print_side("then", p->then, p->then_why);
    putchar('\n');
}

static int print_text(const struct diff *d) {
    long long counts[3] = {0};
    for (unsigned pass = 0; pass < array_size(counts); pass++) /* open ones cut, recent ones refused, recent ones let in */
        for (size_t i = 0; i < d->n_pairs; i++) {
            const struct pair *p = d->pairs[i];
            if (!differs(p) || pass != (p->open ? 0u : p->denied_then ? 1u : 2u))
                continue;
            print_pair(p);
            counts[pass] += p->count;
        }
    printf("of %zu open connections %lld would be cut; of %zu recent ones %lld would be newly denied, %lld newly allowed\n",
           d->n_open, counts[0], d->n_recent, counts[1], counts[2]);
    return EXIT_DONE;
}

int policy_diff_command(const struct command_line *l) {
    struct diff d cleanup(diff_deinit) = {.line = l};
    if (l->n_words == 0) {
        complain("policy diff needs the mesh directory; see ringwallctl policy diff --help");
        return EXIT_USAGE;
    }
    if (map_init(&d.by_key, 256) < 0) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    if (!ask_all(&d) || !load(&d, l->words[0]) || !collect(&d) || !compare_all(&d))
        return EXIT_FAILED;
    return wants_json(l) ? print_json(&d) : print_text(&d);
}
