/* SPDX-License-Identifier: GPL-3.0-or-later
 * version.c - `ringwall version`: what this program is made of. Each room names its own library */
#include <stdio.h>

#include <ringwall/admin/admin.h>
#include <ringwall/capture/capture.h>
#include <ringwall/ring/ring.h>
#include <ringwall/tls/session.h>
#include <ringwall/wire/h2.h>

#include "app.h"
#include "version_data.h"

int version_command(void) {
    char text[256];
    printf("ringwall %s (commit %s)\n", RINGWALL_VERSION, RINGWALL_COMMIT);
    printf("  tls      %s\n", tls_library_text(text, sizeof(text)));
    printf("  ring     %s\n", ring_library_text(text, sizeof(text)));
    printf("  http/2   %s\n", h2_library_text(text, sizeof(text)));
    printf("  capture  %s\n", capture_library_text(text, sizeof(text)));
    printf("  admin    %s\n", admin_library_text(text, sizeof(text)));
    return 0;
}
