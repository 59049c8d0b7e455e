/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/explain.h - the answers of `authz check` and `authn tls-check` as JSON (DESIGN 7)
 *
 * The daemon and ringwallctl without a daemon answer with the same text, because both write it here. */
#pragma once

#include <ringwall/model/authz.h>
#include <ringwall/wire/json.h>

/* "namespace/name", or an address of the workload (then *ret_addr is it, else none). NULL: not found. */
const struct workload *explain_find(const struct world *w, struct str to, struct addr *ret_addr);
/* The name nearest to `to`, for "did you mean"; false: nothing is near. */
bool explain_nearest(const struct world *w, struct str to, struct text *ret);

/* {"verdict","reason","code","kind","policy","rule","at","mtls","enrolled","source","sourceIp","to","port","walk":[...]}; a step of
 * the walk is
 * {"kind","policy","action","rule","matched","parts","missed","decides","at","why"}, in the order of decision; at most one
 * decides; "missed" of a rule's "parts" do not hold, both are left out for a rule without any or that can never match */
void explain_authz(struct json_writer *to, const struct world *w, const struct authz_query *q, struct verdict *ret);
/* {"mode","policy","at","to","enrolled","port"}; port 0: the mode of the workload without its ports', which follow in
 * "ports":[{"port","mode","at"}] instead of "port" */
void explain_tls(struct json_writer *to, const struct world *w, const struct workload *workload, uint16_t port);
