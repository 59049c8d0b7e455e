/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit_line.c - what a line of the record carries for the chain, and the record of the last one */
#include <stdio.h>
#include <string.h>

#include "audit.h"

static bool hex_take(struct str *s, char ret[65]) {
    if (s->n < 64)
        return false;
    for (size_t i = 0; i < 64; i++) {
        char c = s->at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        ret[i] = c;
    }
    ret[64] = '\0';
    *s = (struct str){s->at + 64, s->n - 64};
    return true;
}

static bool prefix_take(struct str *s, struct str p) {
    if (!str_has_prefix(*s, p))
        return false;
    *s = (struct str){s->at + p.n, s->n - p.n};
    return true;
}

/* {"seq":N,"prev":"hex", ... : always written in this order, so no parser of JSON stands between the bytes and the chain. */
int audit_line_read(struct str line, uint64_t *ret_seq, char ret_prev[65]) {
    struct str rest = line, number;
    if (!prefix_take(&rest, STR("{\"seq\":")) || !str_split(&rest, ',', &number) || !rest.at ||
        !str_u64(number, INT64_MAX, ret_seq) || !prefix_take(&rest, STR("\"prev\":\"")) || !hex_take(&rest, ret_prev) ||
        !prefix_take(&rest, STR("\",")) || !str_has_suffix(rest, STR("}")))
        return 1;
    return 0;
}

void audit_last_format(const struct audit_link *l, char ret[AUDIT_LAST_BYTES + 1]) {
    int n = snprintf(ret, AUDIT_LAST_BYTES + 1, "%020llu %s", (unsigned long long)l->seq, l->hash);
    memset(ret + n, ' ', (size_t)(AUDIT_LAST_BYTES - n)); /* always as long: written over in place */
    ret[AUDIT_LAST_BYTES - 1] = '\n';
    ret[AUDIT_LAST_BYTES] = '\0';
}

bool audit_last_parse(struct str text, struct audit_link *ret) {
    struct audit_link l;
    struct str rest = {text.at + min_of(text.n, (size_t)21), text.n - min_of(text.n, (size_t)21)};
    if (text.n != AUDIT_LAST_BYTES || text.at[20] != ' ' || !str_u64((struct str){text.at, 20}, INT64_MAX, &l.seq) ||
        !hex_take(&rest, l.hash))
        return false;
    *ret = l;
    return true;
}
