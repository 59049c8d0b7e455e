/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an address leads to the one service it belongs to: an own address before any block, the longest of blocks, no IPv4
 * address by an IPv6 block; who comes second is told. Method: one mesh, a table of addresses; a connection to a block goes to
 * the entry's endpoints, and without any to the very address dialled. */
#include <ringwall/model/route.h>

#include "mesh.h"
#include "unit.h"

static const char mesh_text[] = "ns app ambient\npod app/client ip=10.1.0.1\npod app/web ip=10.1.0.2 labels=app:web\n"
                                "pod app/inside ip=240.0.1.9\n"
                                "external-entry app/wide vip=240.0.0.0/8 ports=http:80 external\n"
                                "external-entry app/narrow vip=240.0.1.0/24,2001:db8::/32 ports=http:80:8080 selector=app:web\n"
                                "external-entry app/one vip=240.0.1.7 ports=http:80 selector=app:web\n"
                                "external-entry app/odd vip=240.128.0.0/9,2001:db8:8000::/33 external\n"
                                "external-entry app/six vip=::/0 external\n"
                                "external-entry app/twice vip=240.0.1.0/24 ports=http:80\n";

static void longest_prefix(void **state) {
    static const struct {
        const char *addr, *name; /* NULL: none */
    } rows[] = {
        {"240.0.1.7", "one"},
        {"240.0.1.8", "narrow"},
        {"240.0.2.1", "wide"},
        {"240.127.255.255", "wide"},
        {"240.128.0.0", "odd"},
        {"240.255.255.255", "odd"},
        {"241.0.0.0", NULL},
        {"10.1.0.2", NULL},
        {"2001:db8::1", "narrow"},
        {"2001:db8:7fff::1", "narrow"},
        {"2001:db8:8000::1", "odd"},
        {"2001:db9::1", "six"},
        {"::1", "six"},
    };
    struct mesh m;
    mesh_make(&m, mesh_text);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct addr a = mesh_addr(rows[i].addr);
        const struct service *s = world_service_by_vip(m.world, STR(""), &a);
        if (!s != !rows[i].name || (s && !str_is(s->name, str_of(rows[i].name))))
            fail_msg("%s: " STR_FMT, rows[i].addr, STR_ARG(s ? s->name : STR("none")));
        assert_null(world_service_by_vip(m.world, STR("far"), &a));
    }
    assert_true(
        mesh_says(&m, DIAG_WARNING, 10,
                  "the address 240.0.1.0/24 of ServiceEntry app/twice is already that of ServiceEntry app/narrow (mesh:6)"));
    mesh_deinit(&m);
}

static void where_a_block_leads(void **state) {
    static const uint16_t ports[3] = {15001, 15006, 15008};
    static const struct {
        const char *dialled;
        enum route_kind kind;
        const char *target;
    } rows[] = {
        {"240.0.1.8:80", ROUTE_TUNNEL, "10.1.0.2:8080"},
        {"240.0.1.8:81", ROUTE_REFUSE, ""},
        {"240.0.2.1:5000", ROUTE_PLAIN, "240.0.2.1:5000"}, /* a name for something outside */
        {"240.0.1.9:80", ROUTE_TUNNEL, "240.0.1.9:80"},    /* a workload before any service */
    };
    struct mesh m;
    struct rng rng;
    mesh_make(&m, mesh_text);
    rng_seed(&rng, 1);
    for (size_t i = 0; i < array_size(rows); i++) {
        char text[ENDPOINT_TEXT];
        struct endpoint e;
        struct route r;
        assert_true(endpoint_parse(str_of(rows[i].dialled), &e));
        route_outbound(m.world, mesh_workload(&m, "app", "client"), &e, ports, NULL, &rng, &r);
        assert_int_equal(r.kind, rows[i].kind);
        if (r.kind != ROUTE_REFUSE && !str_is(endpoint_format(&r.target, text), str_of(rows[i].target)))
            fail_msg("%s: %s", rows[i].dialled, text);
    }
    mesh_deinit(&m);
}

/* Every length at once, and a service beside them. */
static void all_lengths(void **state) {
    struct mesh m;
    mesh_init(&m);
    mesh_add(&m, "ns app\nexternal-entry app/own vip=2001:db8::1");
    for (unsigned bits = 0; bits < 128; bits++) {
        char block[CIDR_TEXT], text[CIDR_TEXT];
        struct cidr c;
        bool host_bits;
        snprintf(block, sizeof(block), "2001:db8::1/%u", bits);
        assert_true(cidr_parse(str_of(block), &c, &host_bits));
        cidr_format(&c, text);
        mesh_addf(&m, "external-entry app/b%u vip=%s", bits, text);
    }
    assert_int_equal(mesh_build(&m), 0);
    for (unsigned bits = 0; bits < 128; bits++) { /* differs from the rest in the bit behind the prefix */
        struct addr a = mesh_addr("2001:db8::1");
        char name[8];
        a.bytes[bits / 8] ^= (uint8_t)(0x80 >> bits % 8);
        snprintf(name, sizeof(name), "b%u", bits);
        const struct service *s = world_service_by_vip(m.world, STR(""), &a);
        assert_true(s && str_is(s->name, str_of(name)));
    }
    struct addr own = mesh_addr("2001:db8::1");
    assert_true(str_is(world_service_by_vip(m.world, STR(""), &own)->name, STR("own")));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(longest_prefix), cmocka_unit_test(where_a_block_leads),
                                       cmocka_unit_test(all_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
