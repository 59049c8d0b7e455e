/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/clock.c - see clock.h
 *
 * Calendar arithmetic is our own: gmtime takes a lock of libc, and its inverse is no standard function. Days are
 * counted in years that begin on 1 March, so the leap day is the last of its year. */
#include <stdio.h>
#include <time.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

static _Thread_local const struct clock_source *source_override;

void clock_override(const struct clock_source *source) { source_override = source; }

uint64_t clock_mono_ns(void) {
    if (unlikely(source_override != NULL))
        return source_override->mono_ns(source_override->context);
    struct timespec t;
    check(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int64_t clock_wall_ns(void) {
    if (unlikely(source_override != NULL))
        return source_override->wall_ns(source_override->context);
    struct timespec t;
    check(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

enum { DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 }; /* an era is 400 years; days from 0000-03-01 to 1970-01-01 */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

static int64_t days_of(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    return era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
    days += DAYS_TO_1970;
    int64_t era = floor_div(days, DAYS_PER_ERA);
    unsigned day_of_era = (unsigned)(days - era * DAYS_PER_ERA);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153; /* 0: March */
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

void clock_rfc3339(int64_t wall_ns, char out[RFC3339_BYTES], bool micros) {
    int64_t wall_s = floor_div(wall_ns, (int64_t)NS_PER_S), year;
    int64_t days = floor_div(wall_s, 86400);
    unsigned second = (unsigned)(wall_s - days * 86400), month, day;
    unsigned us = (unsigned)((wall_ns - wall_s * (int64_t)NS_PER_S) / 1000);
    date_of(days, &year, &month, &day); /* 64 bit of nanoseconds end in 2262: four digits are enough */
    int n = snprintf(out, RFC3339_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned)year % 10000, month % 100, day % 100,
                     second / 3600 % 100, second / 60 % 60, second % 60);
    if (micros)
        snprintf(out + n, (size_t)(RFC3339_BYTES - n), ".%06uZ", us % 1000000);
    else
        snprintf(out + n, (size_t)(RFC3339_BYTES - n), "Z");
}

/* Exactly n_digits at *at, then `then` (0: nothing). */
static bool parse_number(const char **at, const char *end, unsigned n_digits, char then, unsigned *ret) {
    if (end - *at < (ptrdiff_t)n_digits + (then ? 1 : 0))
        return false;
    unsigned value = 0;
    for (unsigned i = 0; i < n_digits; i++) {
        char c = *(*at)++;
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (unsigned)(c - '0');
    }
    if (then) {
        char c = *(*at)++;
        if (c != then && !(then == 'T' && c == 't'))
            return false;
    }
    *ret = value;
    return true;
}

static bool parse_zone(const char *at, const char *end, int64_t *ret_offset_s) {
    if (at == end)
        return false;
    char sign = *at++;
    if (sign == 'Z' || sign == 'z') {
        *ret_offset_s = 0;
        return at == end;
    }
    unsigned hours, minutes;
    if ((sign != '+' && sign != '-') || !parse_number(&at, end, 2, ':', &hours) || !parse_number(&at, end, 2, 0, &minutes))
        return false;
    if (at != end || hours > 23 || minutes > 59)
        return false;
    *ret_offset_s = (int64_t)(hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    return true;
}

bool clock_parse_rfc3339(const char *text, size_t n, int64_t *ret_wall_s) {
    if (n == 0)
        return false;
    static const unsigned char month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at = text, *end = text + n;
    unsigned year, month, day, hour, minute, second;
    if (!parse_number(&at, end, 4, '-', &year) || !parse_number(&at, end, 2, '-', &month) ||
        !parse_number(&at, end, 2, 'T', &day) || !parse_number(&at, end, 2, ':', &hour) ||
        !parse_number(&at, end, 2, ':', &minute) || !parse_number(&at, end, 2, 0, &second))
        return false;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at == fraction)
            return false;
    }
    int64_t offset_s;
    if (!parse_zone(at, end, &offset_s))
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] + (unsigned)(month == 2 && leap))
        return false;
    if (hour > 23 || minute > 59 || second > 60) /* 60: a leap second, the same moment as the next minute's 0 */
        return false;
    *ret_wall_s = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    return true;
}
