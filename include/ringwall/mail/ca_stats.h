/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/ca_stats.h - what the CA thread counts; written by it alone, read by admin at any time. Allocated by app
 *
 * The first names are those of Istio's CA, which people already alert on (facts/identity.md 1.11). */
#pragma once

#include <ringwall/base/counter.h>

/* X(field, Prometheus name, help) */
#define CA_COUNTERS(X) \
    X(csr, "citadel_server_csr_count", "certificate requests received") \
    X(authentication_failed, "citadel_server_authentication_failure_count", "requests whose caller was not believed") \
    X(csr_malformed, "citadel_server_csr_parsing_err_count", "requests with a CSR that cannot be read") \
    X(identity_refused, "citadel_server_id_extraction_err_count", "requests for an identity that the caller may not have") \
    X(sign_failed, "citadel_server_csr_sign_err_count", "authorised requests that could not be signed") \
    X(issued, "citadel_server_success_cert_issuance_count", "certificates issued") \
    X(jwt_issued, "ringwall_ca_jwt_issued_total", "JWT-SVIDs issued") \
    X(reloads, "ringwall_ca_reloads_total", "changed files that were taken") \
    X(reloads_refused, "ringwall_ca_reloads_refused_total", "changed files that were refused; the last good stay in force") \
    X(audit_failed, "ringwall_ca_audit_failed_total", "requests refused because the audit log could not be written")
/* Seconds since 1970. 0: unknown. */
#define CA_GAUGES(X) \
    X(root_not_after, "citadel_server_root_cert_expiry_timestamp", "when the first root ends, in seconds since 1970") \
    X(cert_not_after, "citadel_server_cert_chain_expiry_timestamp", "when the signing certificate ends, in seconds since 1970") \
    X(bundle_generation, "ringwall_ca_bundle_generation", "number of the trust bundles published last") \
    X(bundle_acknowledged, "ringwall_ca_bundle_acknowledged", "number of the trust bundles that all readers have adopted")

struct ca_stats {
#define CA_STATS_FIELD(name, metric, help) struct counter name;
    CA_COUNTERS(CA_STATS_FIELD)
    CA_GAUGES(CA_STATS_FIELD)
#undef CA_STATS_FIELD
};
