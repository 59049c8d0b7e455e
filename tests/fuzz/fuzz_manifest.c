/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: a manifest of the mesh directory, to the objects in it and, when it has no error, to a world. */
#include <ringwall/base/check.h>

#include "../../src/config/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const struct world_settings settings = {.node = STR("node-1"),
                                                   .trust_domain = STR("cluster.local"),
                                                   .root_namespace = STR("istio-system"),
                                                   .cluster_domain = STR("cluster.local")};
    const struct mesh_options options = {.dir = "d", .settings = &settings, .enrol = n ? bytes[n - 1] % 3 : 0};
    struct manifest m = MANIFEST_NULL;
    const struct manifest *all = &m;
    struct diag_list diags = DIAG_LIST_NULL;
    struct world *w = NULL;
    int r = manifest_parse(&m, STR("d/x.yaml"), (struct str){(const char *)bytes, n}, settings.cluster_domain);

    check(r == 0);
    for (size_t i = 0; i < m.diags.n; i++) /* each says where and what */
        check(m.diags.items[i].text[0] && m.diags.items[i].file[0]);
    if (m.diags.n_errors == 0)
        r = join_build(&all, 1, &options, 1, &diags, &w);
    check((r == 0 || r == 1) && (r == 1) == (diags.n_errors > 0) && (!w || r == 0));
    world_free(w);
    diag_list_deinit(&diags);
    manifest_deinit(&m);
    return 0;
}
