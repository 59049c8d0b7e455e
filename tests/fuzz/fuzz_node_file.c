/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: the node file. What is accepted is in bounds; what is refused has an error. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/config/node_config.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    cleanup_fd int fd = memfd_create("node", MFD_CLOEXEC);
    cleanup(node_config_freep) struct node_config *c = NULL;
    struct diag_list diags = DIAG_LIST_NULL;
    char path[64];

    check(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int r = node_config_load(path, &diags, &c);
    check((r == 0 || r == 1) && (r == 1) == (diags.n_errors > 0) && !c == (r == 1));
    if (c)
        check(c->port_hbone && c->ca.ttl_s && c->world.trust_domain.n && c->world.node.n && c->limits.mesh_bytes && c->mesh_dir.n);
    diag_list_deinit(&diags);
    return 0;
}
