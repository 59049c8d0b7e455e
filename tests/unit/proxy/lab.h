/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/proxy/lab.h - two real proxies in one process, with real rings, sockets and TLS over loopback
 *
 * A network namespace of the test's own holds two workloads' addresses on lo. "client" sends through proxy A (outbound
 * listeners), "server" is reached through proxy B (HBONE listener). Where a connection was going is told by a table
 * instead of capture: lab_dial writes it before it connects. Without privileges lab_init returns false: skip. */
#pragma once

#include <ringwall/mail/ask.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/stats.h>
#include <ringwall/proxy/proxy.h>

#include "../model/mesh.h"
#include "pki.h"

enum { LAB_A, LAB_B, _LAB_NODES };
enum { LAB_CLIENT_ID = 1, LAB_SERVER_ID = 2, LAB_WAIT_S = 20 };
#define LAB_CLIENT4 "10.9.0.1"
#define LAB_SERVER4 "10.9.0.2"
#define LAB_CLIENT6 "fd09::1"
#define LAB_SERVER6 "fd09::2"
#define LAB_MESH \
    "node node-1\ndomain cluster.local\nroot istio-system\nns default ambient\n" \
    "pod default/client ip=" LAB_CLIENT4 "," LAB_CLIENT6 " sa=client node=node-1 uid=client\n" \
    "pod default/server ip=" LAB_SERVER4 "," LAB_SERVER6 " sa=server node=node-2 uid=server labels=app:server\n"

struct lab_node {
    struct proxy *proxy;
    struct mailbox *mailbox; /* answers and credential requests */
    struct worker_stats stats[4];
    struct tls_peer self; /* of its newest credential */
    unsigned n_workers;
};
struct lab {
    struct pki pki;
    struct mesh mesh;
    struct publish_slot worlds[_LAB_NODES];
    struct lab_node nodes[_LAB_NODES];
    struct endpoint dialled[65536]; /* by the client's source port */
    unsigned n_worlds;
    _Atomic uint32_t dialler; /* id of the workload that dials; 0: the client */
};
extern unsigned lab_connections_max; /* of a proxy, for the next lab_init */

bool lab_enter(void);                                              /* a namespace of our own; false: no privilege */
void lab_init(struct lab *l, unsigned n_workers);                  /* proxies, pods, credentials, world LAB_MESH */
void lab_deinit(struct lab *l);                                    /* asserts that everything came back */
void lab_world(struct lab *l, const char *more);                   /* LAB_MESH and these lines */
void lab_world_at(struct lab *l, unsigned node, const char *text); /* these lines only, and for one node alone */
void lab_credential(struct lab *l, unsigned node, const char *sa, const struct identity *holder, uint64_t generation);
void lab_trust(struct lab *l, unsigned node, struct tls_trust *trust); /* waits until all its workers adopted it */
void lab_pod(struct lab *l, unsigned node, uint32_t id, const char *name, const char *ip4, const char *ip6, bool outbound);
void lab_drain(struct lab *l, unsigned node, uint64_t in_ns);          /* waits for all workers' answers */
uint64_t lab_count(const struct lab *l, unsigned node, size_t offset); /* a counter summed over workers */
#define LAB_COUNT(l, node, field) lab_count((l), (node), offsetof(struct worker_stats, field))
#define lab_wait_for(cond) \
    do { \
        uint64_t give_up_ns_ = clock_mono_ns() + LAB_WAIT_S * NS_PER_S; \
        while (!(cond)) { \
            if (clock_mono_ns() > give_up_ns_) \
                fail_msg("waited in vain for %s", #cond); \
            lab_pause(); \
        } \
    } while (0)
void lab_pause(void); /* one millisecond between two looks at a counter */

int lab_listen(const char *ip, uint16_t port, uint16_t *ret_port); /* an application's listening socket */
int lab_accept(int fd);
int lab_dial(struct lab *l, bool v6, const char *to, uint16_t port);     /* through A's outbound listener */
int lab_try_dial(struct lab *l, bool v6, const char *to, uint16_t port); /* not failing the test: -errno */
void lab_send(int fd, const void *bytes, size_t n);
size_t lab_read(int fd, void *to, size_t n); /* until n, end of stream; a reset fails the test */
int lab_read_error(int fd);                  /* reads to the end: 0 for FIN, else errno */
void lab_abort(int fd);                      /* closes with a reset */
