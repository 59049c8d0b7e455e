/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/session_text.c - words for the library's errors and for alerts (RFC 8446 section 6) */
#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include "session_private.h"

const char *alert_text(int code) {
    switch (code) {
    case 0:
        return "peer closed during the handshake";
    case 10:
        return "peer's alert: unexpected message";
    case 20:
        return "peer's alert: bad record";
    case 22:
        return "peer's alert: record overflow";
    case 40:
        return "peer's alert: handshake failure";
    case 42:
        return "peer's alert: bad certificate";
    case 43:
        return "peer's alert: unsupported certificate";
    case 44:
        return "peer's alert: certificate revoked";
    case 45:
        return "peer's alert: certificate expired or not yet valid";
    case 46:
        return "peer's alert: certificate unknown";
    case 47:
        return "peer's alert: illegal parameter";
    case 48:
        return "peer's alert: unknown CA";
    case 49:
        return "peer's alert: access denied";
    case 50:
        return "peer's alert: decode error";
    case 51:
        return "peer's alert: decrypt error";
    case 70:
        return "peer's alert: protocol version";
    case 71:
        return "peer's alert: insufficient security";
    case 80:
        return "peer's alert: internal error";
    case 86:
        return "peer's alert: inappropriate fallback";
    case 90:
        return "peer's alert: user cancelled";
    case 109:
        return "peer's alert: missing extension";
    case 112:
        return "peer's alert: unrecognised name";
    case 116:
        return "peer's alert: certificate required";
    case 120:
        return "peer's alert: no application protocol";
    default:
        return "peer's alert: another one";
    }
}

const char *library_error_text(int error) {
    switch (error) {
    case VERSION_ERROR:
        return "peer does not speak TLS 1.3";
    case UNKNOWN_ALPN_PROTOCOL_NAME_E:
        return "ALPN: no h2";
    case NO_PEER_CERT:
        return "no client certificate";
    case MATCH_SUITE_ERROR:
        return "no common cipher suite or group";
    case BAD_KEY_SHARE_DATA:
    case PEER_KEY_ERROR:
    case ECC_PEERKEY_ERROR:
        return "bad key share";
    case UNKNOWN_RECORD_TYPE:
    case UNKNOWN_HANDSHAKE_TYPE:
        return "not a TLS record";
    case VERIFY_MAC_ERROR:
    case DECRYPT_ERROR:
    case AES_GCM_AUTH_E:
        return "record does not decrypt";
    case LENGTH_ERROR:
    case BUFFER_ERROR:
    case BUFFER_E:
    case INCOMPLETE_DATA:
        return "malformed handshake message";
    case SIG_VERIFY_E:
    case VERIFY_SIGN_ERROR:
    case VERIFY_CERT_ERROR:
        return "peer's handshake signature is wrong";
    case VERIFY_FINISHED_ERROR:
        return "peer's Finished is wrong";
    case OUT_OF_ORDER_E:
    case SANITY_MSG_E:
    case DUPLICATE_MSG_E:
        return "handshake message out of order";
    case ALERT_COUNT_E:
        return "too many warning alerts";
    case MEMORY_E:
        return "TLS memory limit reached";
    case SOCKET_ERROR_E:
        return "no room for a reply to the peer";
    default:
        return "TLS protocol error";
    }
}
