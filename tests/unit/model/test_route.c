/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: each connection goes where it was meant to, by the way it must, or not at all; plaintext never reaches the mesh
 * unless a port is DISABLE. Method: one mesh, a table of what is dialled and where it goes; then choice by weight, and
 * what was tried. */
#include <ringwall/model/route.h>

#include "mesh.h"
#include "unit.h"

static const uint16_t own_ports[3] = {15001, 15006, 15008};

static struct route ask(struct mesh *m, const char *dialled, const struct route_tried *tried, struct rng *rng) {
    struct endpoint e;
    struct route r;
    assert_true(endpoint_parse(str_of(dialled), &e));
    route_outbound(m->world, mesh_workload(m, "app", "client"), &e, own_ports, tried, rng, &r);
    return r;
}

static const char mesh_text[] =
    "ns app ambient\nns out\nns gated ambient waypoint=wp\n"
    "pod app/client ip=10.1.0.1,2001:db8::1\n"
    "pod app/web ip=10.1.0.2,2001:db8::2 labels=app:web ports=http:8080\n"
    "pod out/plain ip=10.1.0.3 labels=app:web\n"
    "pod app/far ip=10.1.0.2 network=far labels=app:far\n"
    "pod app/off ip=10.1.0.4 labels=app:off ports=http:80\n"
    "pod gated/g ip=10.1.0.5 labels=app:g\n"
    "pod app/host ip=10.0.0.9 host labels=app:host\n"
    "pod app/own-waypoint ip=10.1.0.6 waypoint=w labels=app:own\n"
    "entry app/vm ip=10.1.0.7 labels=app:vm ports=http:9090\n"
    "auth app/off DISABLE selector=app:off port=81:STRICT\n"
    "service app/web vip=10.2.0.1,2001:db8:2::1 ports=http:80:8080,named:81:=http,same:82,nope:83:=no selector=app:web\n"
    "service app/off vip=10.2.0.2 ports=http:80,s:81 selector=app:off\n"
    "service gated/g vip=10.2.0.3 ports=http:80 selector=app:g\n"
    "service app/empty vip=10.2.0.4 ports=http:80 selector=app:nobody\n"
    "service app/far vip=10.2.0.5 ports=http:80 selector=app:far\n"
    "service app/host vip=10.2.0.6 ports=http:80 selector=app:host\n"
    "service app/own vip=10.2.0.7 ports=http:80 selector=app:own\n"
    "service app/loop vip=10.2.0.8 ports=http:80:15008 selector=app:web\n"
    "external-entry app/ext vip=10.2.0.9 ports=http:80 external\n"
    "external-entry app/ext2 vip=10.2.0.10 ports=http:80:8443 external\nslice ip=192.0.2.1\n"
    "service app/vm vip=10.2.0.11 ports=http:80:7 selector=app:vm\n"
    "service out/plain vip=10.2.0.12 ports=http:80:8080 selector=app:web\n"
    "service app/slices vip=10.2.0.13 ports=http:80:1,x:81:2\n"
    "slice pod=web ip=10.1.0.2 ports=http:7777\n"
    "service app/stale vip=10.2.0.14 ports=http:80\nslice pod=web ip=10.1.0.3\nslice pod=ghost ip=10.1.0.2\n"
    "service app/unready vip=10.2.0.15 ports=http:80\nslice pod=web ip=10.1.0.2 unready\n";

static void where_it_goes(void **state) {
    static const struct {
        const char *dialled;
        enum route_kind kind;
        const char *target; /* or the reason's word */
        const char *workload;
    } rows[] = {
        /* workloads by address */
        {"10.1.0.2:1234", ROUTE_TUNNEL, "10.1.0.2:1234", "web"},
        {"[2001:db8::2]:80", ROUTE_TUNNEL, "[2001:db8::2]:80", "web"},
        {"10.1.0.3:80", ROUTE_PLAIN, "10.1.0.3:80", "plain"},
        {"10.1.0.4:80", ROUTE_PLAIN, "10.1.0.4:80", "off"},
        {"10.1.0.4:81", ROUTE_TUNNEL, "10.1.0.4:81", "off"}, /* the port is STRICT */
        {"10.1.0.5:80", ROUTE_REFUSE, "waypoint-required", "g"},
        {"10.1.0.6:80", ROUTE_REFUSE, "waypoint-required", "own-waypoint"},
        {"10.1.0.2:15008", ROUTE_REFUSE, "loop", "web"},
        {"10.1.0.2:15001", ROUTE_REFUSE, "loop", "web"},
        {"10.1.0.4:15006", ROUTE_REFUSE, "loop", "off"},
        {"10.1.0.3:15008", ROUTE_PLAIN, "10.1.0.3:15008", "plain"},
        {"10.0.0.9:80", ROUTE_PLAIN, "10.0.0.9:80", NULL}, /* a host's address is not a workload's */
        /* outside */
        {"192.0.2.7:443", ROUTE_PLAIN, "192.0.2.7:443", NULL},
        {"192.0.2.7:15008", ROUTE_PLAIN, "192.0.2.7:15008", NULL},
        {"127.0.0.1:15001", ROUTE_REFUSE, "loop", NULL},
        {"[::1]:15008", ROUTE_REFUSE, "loop", NULL},
        {"127.0.0.1:80", ROUTE_PLAIN, "127.0.0.1:80", NULL},
        /* services */
        {"10.2.0.1:80", ROUTE_TUNNEL, "10.1.0.2:8080", "web"},
        {"[2001:db8:2::1]:80", ROUTE_TUNNEL, "[2001:db8::2]:8080", "web"}, /* keeps the family dialled */
        {"10.2.0.1:81", ROUTE_TUNNEL, "10.1.0.2:8080", "web"},
        {"10.2.0.1:82", ROUTE_TUNNEL, "10.1.0.2:82", "web"},
        {"10.2.0.1:83", ROUTE_REFUSE, "no-endpoint", NULL},
        {"10.2.0.1:84", ROUTE_REFUSE, "no-endpoint", NULL},
        {"10.2.0.2:80", ROUTE_PLAIN, "10.1.0.4:80", "off"},
        {"10.2.0.2:81", ROUTE_TUNNEL, "10.1.0.4:81", "off"},
        {"10.2.0.3:80", ROUTE_REFUSE, "waypoint-required", NULL},
        {"10.2.0.4:80", ROUTE_REFUSE, "no-endpoint", NULL},
        {"10.2.0.5:80", ROUTE_REFUSE, "no-endpoint", NULL}, /* another network */
        {"10.2.0.6:80", ROUTE_PLAIN, "10.0.0.9:80", "host"},
        {"10.2.0.7:80", ROUTE_REFUSE, "waypoint-required", NULL},
        {"10.2.0.8:80", ROUTE_REFUSE, "loop", "web"},
        {"10.2.0.9:80", ROUTE_PLAIN, "10.2.0.9:80", NULL},
        {"10.2.0.9:81", ROUTE_PLAIN, "10.2.0.9:81", NULL},
        {"10.2.0.10:80", ROUTE_PLAIN, "192.0.2.1:8443", NULL},
        {"10.2.0.10:81", ROUTE_REFUSE, "no-endpoint", NULL},
        {"10.2.0.11:80", ROUTE_TUNNEL, "10.1.0.7:9090", "vm"}, /* a WorkloadEntry's own port of that name */
        {"10.2.0.12:80", ROUTE_PLAIN, "10.1.0.3:8080", "plain"},
        {"10.2.0.13:80", ROUTE_TUNNEL, "10.1.0.2:7777", "web"},
        {"10.2.0.13:81", ROUTE_REFUSE, "no-endpoint", NULL}, /* the slice has no such port */
        {"10.2.0.14:80", ROUTE_REFUSE, "no-endpoint", NULL},
        {"10.2.0.15:80", ROUTE_REFUSE, "no-endpoint", NULL},
    };
    struct mesh m;
    struct rng rng;
    mesh_make(&m, mesh_text);
    rng_seed(&rng, 1);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct route r = ask(&m, rows[i].dialled, NULL, &rng);
        char target[ENDPOINT_TEXT];
        const char *got = r.kind == ROUTE_REFUSE ? close_reason_word(r.reason) : endpoint_format(&r.target, target).at;
        const char *workload = r.workload ? r.workload->name.at : "nothing";
        if (r.kind != rows[i].kind || strcmp(got, rows[i].target) ||
            strcmp(workload, rows[i].workload ? rows[i].workload : "nothing"))
            fail_msg("%s: kind %d, %s, workload %s", rows[i].dialled, r.kind, got, workload);
    }
    assert_non_null(ask(&m, "10.2.0.1:80", NULL, &rng).service);
    assert_null(ask(&m, "10.1.0.2:80", NULL, &rng).service);
    mesh_deinit(&m);
}

static void nothing_dialled(void **state) {
    static const struct endpoint none[] = {{.port = 80}, {.addr = {.bytes = {[15] = 9}}}};
    struct mesh m;
    struct route r;
    mesh_make(&m, mesh_text);
    for (size_t i = 0; i < array_size(none); i++) {
        route_outbound(m.world, mesh_workload(&m, "app", "client"), &none[i], own_ports, NULL, NULL, &r);
        assert_true(r.kind == ROUTE_REFUSE && r.reason == CLOSE_NO_ORIGIN);
    }
    mesh_deinit(&m);
}

static void choice_follows_weight(void **state) {
    enum { N = 30000 };
    struct mesh m;
    struct rng rng;
    size_t n_c = 0;
    mesh_make(&m, "ns app ambient\npod app/client ip=10.1.0.1\npod app/b ip=10.1.0.2 labels=app:web\npod app/c ip=10.1.0.3 "
                  "labels=app:web weight=2\n"
                  "pod app/d ip=10.1.0.4 labels=app:web unready weight=100\npod app/e ip=10.1.0.5 labels=app:web dying\n"
                  "service app/web vip=10.2.0.1 ports=http:80 selector=app:web");
    const struct service *s = world_service_at(m.world, 0);
    assert_true(s->n_endpoints == 4 && s->n_ready == 2);
    rng_seed(&rng, 7);
    for (int i = 0; i < N; i++) {
        struct route r = ask(&m, "10.2.0.1:80", NULL, &rng);
        assert_int_equal(r.kind, ROUTE_TUNNEL);
        assert_true(r.workload->ready && !r.workload->terminating);
        n_c += str_is(r.workload->name, STR("c"));
    }
    assert_in_range(n_c, N * 2 / 3 - N / 50, N * 2 / 3 + N / 50);
    mesh_deinit(&m);
}

static void tried_ones_are_not_taken_again(void **state) {
    struct mesh m;
    struct rng rng;
    struct route_tried tried = {.n = 0};
    mesh_make(
        &m,
        "ns app ambient\npod app/client ip=10.1.0.1\npod app/b ip=10.1.0.2 labels=app:web\npod app/c ip=10.1.0.3 labels=app:web\n"
        "pod app/d ip=10.1.0.4 labels=app:web\nservice app/web vip=10.2.0.1 ports=http:80 selector=app:web");
    rng_seed(&rng, 3);
    for (int i = 0; i < 3; i++) {
        struct route r = ask(&m, "10.2.0.1:80", &tried, &rng);
        assert_int_equal(r.kind, ROUTE_TUNNEL);
        for (size_t j = 0; j < tried.n; j++)
            assert_false(endpoint_is(&tried.items[j], &r.target));
        tried.items[tried.n++] = r.target;
    }
    struct route r = ask(&m, "10.2.0.1:80", &tried, &rng);
    assert_true(r.kind == ROUTE_REFUSE && r.reason == CLOSE_NO_ENDPOINT);
    r = ask(&m, "10.1.0.2:80", &tried, &rng);
    assert_true(r.kind == ROUTE_REFUSE && r.reason == CLOSE_NO_ENDPOINT);
    mesh_deinit(&m);
}

/* Which of a service's endpoints are ever chosen, as a string of their letters. */
static const char *seen(struct mesh *m, const char *client, const char *dialled, const struct route_tried *tried) {
    static char text[27];
    struct endpoint e;
    struct rng rng;
    bool met[26] = {false};
    size_t n = 0;
    rng_seed(&rng, 11);
    assert_true(endpoint_parse(str_of(dialled), &e));
    for (int i = 0; i < 300; i++) {
        struct route r;
        route_outbound(m->world, mesh_workload(m, "app", client), &e, own_ports, tried, &rng, &r);
        if (r.kind == ROUTE_REFUSE)
            return close_reason_word(r.reason);
        met[(r.workload ? r.workload->name.at[0] : (char)('a' + r.target.addr.bytes[15])) - 'a'] = true;
    }
    for (int i = 0; i < 26; i++)
        if (met[i])
            text[n++] = (char)('a' + i);
    text[n] = 0;
    return text;
}

static const char places_text[] =
    "ns app ambient\n"
    "pod app/client ip=10.1.0.1 node=n1 at=r1/z1/s1\npod app/elsewhere ip=10.1.0.20 node=n9 at=r9/z9\n"
    "pod app/zoneless ip=10.1.0.21 at=r1\npod app/unplaced ip=10.1.0.22\n"
    "pod app/a ip=10.1.0.2 node=n1 at=r1/z1/s1 labels=s:x,near:y\n"
    "pod app/b ip=10.1.0.3 node=n2 at=r1/z1/s1 labels=s:x,near:y,mid:y\n"
    "pod app/c ip=10.1.0.4 node=n3 at=r1/z1/s2 labels=s:x,mid:y\n"
    "pod app/d ip=10.1.0.5 node=n4 at=r1/z2/s1 labels=s:x,mid:y,wide:y\n"
    "pod app/e ip=10.1.0.6 node=n5 at=r2/z1/s1 labels=s:x,wide:y\n"
    "pod app/f ip=10.1.0.7 labels=s:x\n"
    "service app/any vip=10.2.0.1 ports=http:80 selector=s:x\n"
    "service app/close vip=10.2.0.2 ports=http:80 selector=s:x prefer=close\n"
    "service app/node vip=10.2.0.3 ports=http:80 selector=s:x prefer=node\n"
    "service app/local vip=10.2.0.4 ports=http:80 selector=s:x local\n"
    "service app/wide vip=10.2.0.5 ports=http:80 selector=wide:y prefer=close\n"
    "service app/mid vip=10.2.0.6 ports=http:80 selector=mid:y prefer=node\n"
    "external-entry app/outside vip=10.2.0.7 ports=http:80 prefer=close\n"
    "slice ip=192.0.2.1 at=r2/z1\nslice ip=192.0.2.2 at=/z1\nslice ip=192.0.2.3 at=r1/z2\nslice ip=192.0.2.4\n"
    "external-entry app/far vip=10.2.0.8 ports=http:80\nslice ip=192.0.2.1 network=far\n"
    "service app/slices vip=10.2.0.9 ports=http:80 local\nslice ip=192.0.2.1 node=n1\nslice ip=192.0.2.2 node=n2\nslice pod=a "
    "ip=10.1.0.2\n"
    "external-entry app/weights vip=10.2.0.10 ports=http:80\nslice ip=192.0.2.1 weight=0\nslice ip=192.0.2.2 weight=1000000000\n";

static void near_ones_first(void **state) {
    static const struct {
        const char *client, *dialled, *chosen;
    } rows[] = {
        {"client", "10.2.0.1:80", "abcdef"},
        {"client", "10.2.0.2:80", "ab"},
        {"client", "10.2.0.3:80", "a"},
        {"client", "10.2.0.4:80", "a"},
        {"client", "10.2.0.5:80", "d"}, /* the region is all that it shares */
        {"client", "10.2.0.6:80", "b"}, /* no endpoint on the node: the subzone */
        {"zoneless", "10.2.0.2:80", "abcd"},
        {"elsewhere", "10.2.0.2:80", "abcdef"}, /* nobody is near: everybody */
        {"elsewhere", "10.2.0.4:80", "no-endpoint"},
        {"unplaced", "10.2.0.2:80", "abcdef"},
        {"unplaced", "10.2.0.4:80", "no-endpoint"}, /* an unknown node is no node */
        {"client", "10.2.0.7:80", "c"},             /* 192.0.2.2: the zone, whatever its region is called */
        {"client", "10.2.0.8:80", "no-endpoint"},
        {"client", "10.2.0.9:80", "ab"},
        {"client", "10.2.0.10:80", "c"},
    };
    struct mesh m;
    mesh_make(&m, places_text);
    for (size_t i = 0; i < array_size(rows); i++) {
        const char *got = seen(&m, rows[i].client, rows[i].dialled, NULL);
        if (strcmp(got, rows[i].chosen))
            fail_msg("row %zu: %s to %s: %s", i, rows[i].client, rows[i].dialled, got);
    }
    mesh_deinit(&m);
}

/* The cluster's controller shares endpoints out among zones: its plan counts when it is whole, and when nothing else was said. */
static void hints_are_followed_when_all_have_them(void **state) {
    static const char text[] =
        "ns app ambient\nns near ambient prefer=close\n"
        "pod app/one ip=10.1.0.1 at=r1/z1\npod app/two ip=10.1.0.2 at=r1/z2\npod app/three ip=10.1.0.3 at=r1/z3\n"
        "pod app/lost ip=10.1.0.4\n"
        "external-entry app/whole vip=10.2.0.1 ports=http:80\n"
        "slice ip=192.0.2.1 at=/z1 zones=z1\nslice ip=192.0.2.2 at=/z1 zones=z2,z1\nslice ip=192.0.2.3 at=/z2 zones=z2\n"
        "slice ip=192.0.2.4 at=/z1 unready\n"
        "external-entry app/partly vip=10.2.0.2 ports=http:80\n"
        "slice ip=192.0.2.1 zones=z1\nslice ip=192.0.2.2 zones=z2\nslice ip=192.0.2.3\n"
        "external-entry app/off vip=10.2.0.3 ports=http:80 nohints\nslice ip=192.0.2.1 zones=z1\nslice ip=192.0.2.2 zones=z2\n"
        "external-entry app/own vip=10.2.0.4 ports=http:80 prefer=close\n"
        "slice ip=192.0.2.1 at=/z1 zones=z2\nslice ip=192.0.2.2 at=/z2 zones=z1\n"
        "external-entry near/all vip=10.2.0.5 ports=http:80\nslice ip=192.0.2.1 at=/z1\nslice ip=192.0.2.2 at=/z2\n"
        "external-entry near/any vip=10.2.0.6 ports=http:80 prefer=any\nslice ip=192.0.2.1 at=/z1\nslice ip=192.0.2.2 at=/z2\n";
    static const struct {
        const char *client, *dialled, *chosen;
    } rows[] = {
        {"one", "10.2.0.1:80", "bc"},                                  /* z1 */
        {"two", "10.2.0.1:80", "cd"},                                  /* z2 */
        {"three", "10.2.0.1:80", "bcd"},                               /* nobody is meant for z3: everybody */
        {"lost", "10.2.0.1:80", "bcd"},                                /* in no zone that is known */
        {"one", "10.2.0.2:80", "bcd"},                                 /* one without a hint: the plan is old */
        {"one", "10.2.0.3:80", "bc"},                                  /* topology-mode: Disabled */
        {"one", "10.2.0.4:80", "b"},                                   /* what the service says itself counts before */
        {"one", "10.2.0.5:80", "b"},                                   /* the namespace's word */
        {"two", "10.2.0.5:80", "c"},     {"one", "10.2.0.6:80", "bc"}, /* the service's word against it */
    };
    struct mesh m;
    mesh_make(&m, text);
    for (size_t i = 0; i < array_size(rows); i++) {
        const char *got = seen(&m, rows[i].client, rows[i].dialled, NULL);
        if (strcmp(got, rows[i].chosen))
            fail_msg("row %zu: %s to %s: %s", i, rows[i].client, rows[i].dialled, got);
    }
    mesh_deinit(&m);
}

static void when_near_ones_were_tried_the_next(void **state) {
    struct mesh m;
    struct route_tried tried = {.n = 0};
    static const char *const then[] = {"a", "b", "c", "d", "ef"}; /* 10.2.0.3 prefers the node */
    mesh_make(&m, places_text);
    for (size_t i = 0; i < array_size(then); i++) {
        assert_string_equal(seen(&m, "client", "10.2.0.3:80", &tried), then[i]);
        tried.items[tried.n++] = (struct endpoint){mesh_workload(&m, "app", (char[]){then[i][0], 0})->addrs[0], 80};
    }
    mesh_deinit(&m);
}

struct ejecting {
    const char *last_bytes; /* of the addresses ejected */
    size_t n_asked;
};

static bool is_ejected(void *context, const struct endpoint *e) {
    struct ejecting *j = context;
    j->n_asked++;
    for (const char *p = j->last_bytes; *p; p++)
        if (e->addr.bytes[15] == (uint8_t)*p)
            return true;
    return false;
}

static void ejected_ones_only_when_nothing_else_is_left(void **state) {
    static const struct {
        const char *dialled, *ejected, *chosen;
    } rows[] = {
        {"10.2.0.1:80", "", "abcdef"},
        {"10.2.0.1:80", "\2\3", "cdef"},
        {"10.2.0.1:80", "\2\3\4\5\6", "f"},
        {"10.2.0.1:80", "\2\3\4\5\6\7", "abcdef"}, /* never all of them */
        {"10.2.0.2:80", "\2", "b"},
        {"10.2.0.2:80", "\2\3", "c"}, /* health before nearness */
        {"10.2.0.2:80", "\2\3\4\5\6\7", "ab"},
        {"10.2.0.4:80", "\2", "a"}, /* the only one allowed */
    };
    struct mesh m;
    mesh_make(&m, places_text);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct ejecting j = {.last_bytes = rows[i].ejected};
        struct route_tried tried = {.is_ejected = is_ejected, .context = &j};
        const char *got = seen(&m, "client", rows[i].dialled, &tried);
        if (strcmp(got, rows[i].chosen))
            fail_msg("row %zu: %s", i, got);
        assert_in_range(j.n_asked, 300, 300 * 6); /* each once a choice */
    }
    /* what was tried stays untaken, also when all the rest is ejected */
    struct ejecting j = {.last_bytes = "\2\3\4\5\6\7"};
    struct route_tried tried = {.n = 1, .is_ejected = is_ejected, .context = &j};
    tried.items[0] = (struct endpoint){mesh_addr("10.1.0.2"), 80};
    assert_string_equal(seen(&m, "client", "10.2.0.1:80", &tried), "bcdef");
    mesh_deinit(&m);
}

/* A headless service has no address: its names lead to the workloads' own, and these route by themselves. */
static void headless_services_are_their_pods(void **state) {
    struct mesh m;
    struct rng rng;
    rng_seed(&rng, 1);
    mesh_make(&m, "ns app ambient\npod app/client ip=10.1.0.1\npod app/db-0 ip=10.1.0.2 labels=app:db\npod app/db-1 ip=10.1.0.3 "
                  "labels=app:db unready\n"
                  "service app/db ports=sql:5432 selector=app:db notready");
    assert_int_equal(world_service_at(m.world, 0)->n_ready, 2);
    struct route r = ask(&m, "10.1.0.3:5432", NULL, &rng); /* peers of a set find each other before they are ready */
    assert_true(r.kind == ROUTE_TUNNEL && r.target.port == 5432 && !r.service && str_is(r.workload->name, STR("db-1")));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(where_it_goes),
                                       cmocka_unit_test(nothing_dialled),
                                       cmocka_unit_test(choice_follows_weight),
                                       cmocka_unit_test(tried_ones_are_not_taken_again),
                                       cmocka_unit_test(near_ones_first),
                                       cmocka_unit_test(hints_are_followed_when_all_have_them),
                                       cmocka_unit_test(when_near_ones_were_tried_the_next),
                                       cmocka_unit_test(ejected_ones_only_when_nothing_else_is_left),
                                       cmocka_unit_test(headless_services_are_their_pods)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
