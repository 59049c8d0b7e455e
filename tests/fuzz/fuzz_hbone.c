/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: header lines of a request and of a response, one a line, name and value parted by a blank. */
#include <ringwall/base/check.h>
#include <ringwall/wire/hbone.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct h2_header lines[32];
    struct str rest = {(const char *)bytes, n}, line, name;
    struct hbone_request request;
    struct hbone_response response;
    struct hbone_headers out;
    size_t count = 0;

    while (count < array_size(lines) && n && str_split(&rest, '\n', &line)) {
        if (!str_split(&line, ' ', &name))
            name = STR_NULL;
        lines[count++] = (struct h2_header){name, line.at ? line : STR_NULL};
    }
    if (hbone_consume_request(lines, count, &request) == HBONE_REQUEST_OK) {
        check(request.port > 0 && request.has_address == !request.host[0]);
        check(str_is_utf8(str_of(request.service_hint)) && str_is_utf8(str_of(request.source.name)));
        hbone_create_connect(&(struct hbone_connect){.address = request.address,
                                                     .service = str_of(request.service_hint),
                                                     .canonical = str_of(request.source.service),
                                                     .workload = rest},
                             &out);
        check(out.n >= 3);
    }
    hbone_consume_response(lines, count, &response);
    hbone_create_response(HBONE_DENIED, response.reason, &out);
    return 0;
}
