/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/peer_authentication.c - PeerAuthentication: is plaintext welcome, for whom and on which ports */
#include "../kinds.h"

static const char *const modes[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"}; /* as enum mtls_mode */

static bool decode_mode(struct decode *d, const struct yaml_node *n, const char *name, enum mtls_mode *ret, struct origin *ret_at) {
    static const char *const keys[] = {"mode"};
    const struct yaml_node *mode;
    unsigned word = MTLS_UNSET;
    if (!decode_mapping(d, n, name))
        return false;
    decode_keys(d, n, name, keys, array_size(keys));
    mode = yaml_get(n, "mode");
    if (mode && !decode_enum(d, mode, "mode", modes, array_size(modes), &word))
        return false;
    *ret = (enum mtls_mode)word;
    if (mode)
        *ret_at = decode_at(d, mode);
    return true;
}

static bool decode_port_modes(struct decode *d, const struct yaml_node *n, struct peer_auth_spec *p) {
    bool good = true;
    if (!decode_mapping(d, n, "portLevelMtls"))
        return false;
    if (p->selector.n == 0) {
        decode_key_errorf(d, n, "portLevelMtls needs a selector: ports belong to workloads, write selector.matchLabels");
        good = false;
    }
    if (n->n_children == 0) {
        decode_key_errorf(d, n, "portLevelMtls is empty: write a port and its mode, or remove the key");
        good = false;
    }
    p->ports = decode_array(d, struct port_mode_spec, n->n_children);
    yaml_for_each(it, n) {
        struct port_mode_spec port = {.at = decode_key_at(d, it)};
        struct origin mode_at;
        uint64_t number;
        if (d->failed)
            return false;
        if (!str_u64(it->key, 65535, &number) || number == 0) {
            decode_key_errorf(d, it, "portLevelMtls has \"%.*s\": write a port number from 1 to 65535",
                              (int)min_of(it->key.n, (size_t)32), it->key.at);
            good = false;
            continue;
        }
        port.port = (uint16_t)number;
        for (size_t i = 0; i < p->n_ports; i++)
            if (p->ports[i].port == port.port) { /* "80" and "080" */
                decode_key_errorf(d, it, "portLevelMtls has port %u twice: keep one", (unsigned)port.port);
                good = false;
            }
        if (decode_mode(d, it, "an entry of portLevelMtls", &port.mode, &mode_at))
            p->ports[p->n_ports++] = port;
        else
            good = false;
    }
    return good;
}

const void *decode_peer_authentication(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    static const char *const keys[] = {"selector", "mtls", "portLevelMtls"};
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *mtls = yaml_get(spec, "mtls"), *ports = yaml_get(spec, "portLevelMtls");
    struct peer_auth_spec *p = decode_array(d, struct peer_auth_spec, 1);
    if (!spec || !p)
        return NULL;
    *p = (struct peer_auth_spec){
        .ns = m->ns, .name = m->name, .at = m->at, .has_created = m->has_created, .created_s = m->created_s};
    decode_keys(d, spec, "spec", keys, array_size(keys));
    bool good = decode_selector(d, spec, "selector", "matchLabels", &p->selector);
    good &= !mtls || decode_mode(d, mtls, "mtls", &p->mode, &p->mode_at);
    good &= !ports || decode_port_modes(d, ports, p);
    return good ? p : NULL;
}
