/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/model/mesh.h - a mesh in a few lines of text, so that tests are tables
 *
 * One object a line; the file of every origin is "mesh", its line is counted from 1 over all text added. Lists are
 * comma-separated, an empty string in a list is written ''. Words are separated by blanks.
 *
 *   node NAME | domain TD | alias TD | root NS | network NET
 *   ns NAME [ambient|none] [waypoint=X] [prefer=close|node]
 *   pod NS/NAME [ip=A,B] [sa=X] [node=N] [labels=k:v,k:v] [ports=name:80,...] [ambient|none|host|unready|dying]
 *               [uid=X] [network=N] [weight=3] [waypoint=X] [at=REGION/ZONE/SUBZONE]          entry ...: the same, a WorkloadEntry
 *   policy ACTION NS/NAME [selector=k:v,...] [dry] [refs]
 *   rule [from f=a,b g=c | to ports=80 | when key=a,b key2!=c]       belongs to the policy before it; {} is "rule"
 *   auth NS/NAME [MODE] [selector=k:v] [created=5] [port=80:DISABLE]...
 *   service NS/NAME [vip=A,B/24] [ports=name:80:8080 or name:80:=http] [selector=k:v] [external] [notready] [waypoint=X]
 *           [names=SPIFFE,...] [prefer=close|node|any] [local] [nohints]
 *   slice [pod=NAME] [ip=A] [ports=name:8080,...] [unready] [node=N] [at=R/Z/S] [network=N] [weight=3] [zones=z1,z2]       belongs
 * to the service before it */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/model/authz.h>
#include <ringwall/model/world.h>

struct mesh {
    struct arena arena;
    struct world_input input;
    struct diag_list diags;
    struct world *world; /* NULL: not built, or not valid */
    uint32_t line;
    struct policy_spec *policy; /* the last of each */
    struct service_spec *service;
    char file[8];
};

void mesh_init(struct mesh *m);
void mesh_add(struct mesh *m, const char *text);
void mesh_addf(struct mesh *m, const char *fmt, ...) printf_like(2, 3);
int mesh_build(struct mesh *m) must_check; /* world_build's result; a former world is freed */
void mesh_deinit(struct mesh *m);
/* init, add, build, and a failed test when that is not clean of errors */
void mesh_make(struct mesh *m, const char *text);

/* "to=ns/name [port=80] [from=td/ns/x/sa/y] [ip=A] [dst=A]" */
void mesh_query(struct mesh *m, const char *text, struct authz_query *ret, struct identity *ret_source);
struct verdict mesh_ask(struct mesh *m, const char *text);
const struct workload *mesh_workload(struct mesh *m, const char *ns, const char *name);
struct addr mesh_addr(const char *text);
/* A diagnostic on this line (0: any) with this text in it. */
bool mesh_says(const struct mesh *m, enum diag_severity severity, uint32_t line, const char *part);
