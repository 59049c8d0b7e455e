/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/workload_claims.h - JSON claims as a google.protobuf.Struct to be packed */
#pragma once

#include <ringwall/base/arena.h>

#include "workload_api.pb-c.h"

/* 0 with a message in `a`; 1: the text is no JSON object; -ENOMEM. */
int workload_claims_create(struct str claims, struct arena *a, Ringwall__Workload__Struct **ret) must_check;
