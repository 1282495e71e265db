/* Everything here is arithmetic on the proleptic Gregorian calendar: neither the C library's time zones nor
 * its locale have a say. Days are counted from 1 March of year 0, so that a leap day is the last day of its
 * year (the well-known "days from civil" method). */
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };

static const int64_t first_ms = INT64_C(-62167219200000); /* 0000-01-01T00:00:00.000Z */
static const int64_t last_ms = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z */

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_names[7] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday"};

struct civil {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second, ms;
    int yearday; /* from 1 */
    int weekday; /* 0: Sunday */
};

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const signed char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01 of a date of the years 0000 to 9999. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static bool to_ms(const struct civil *c, int64_t *ms)
{
    if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in_month(c->year, c->month))
        return false;
    /* A leap second (":60") is the first moment of the next minute, as everywhere in POSIX. */
    if (c->hour > 23 || c->minute > 59 || c->second > 60)
        return false;
    *ms = days_of(c->year, c->month, c->day) * DAY_MS + (int64_t)c->hour * HOUR_MS +
          (int64_t)c->minute * MINUTE_MS + (int64_t)c->second * 1000 + c->ms;
    return true;
}

static bool in_range(int64_t ms)
{
    return ms >= first_ms && ms <= last_ms;
}

static struct civil from_ms(int64_t ms)
{
    if (!in_range(ms))
        ms = ms < first_ms ? first_ms : last_ms;
    int64_t days = (ms - first_ms) / DAY_MS + first_ms / DAY_MS;
    int64_t rest = (ms - first_ms) % DAY_MS;
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    struct civil c = {0};
    c.day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    c.month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    c.year = (int)(year_of_era + era * 400 + (c.month <= 2));
    c.hour = (int)(rest / HOUR_MS);
    c.minute = (int)(rest / MINUTE_MS % 60);
    c.second = (int)(rest / 1000 % 60);
    c.ms = (int)(rest % 1000);
    c.yearday = (int)(days - days_of(c.year, 1, 1)) + 1;
    c.weekday = (int)((days % 7 + 7 + 4) % 7); /* 1970-01-01 was a Thursday */
    return c;
}

/* --- reading --- */

static bool take(struct tg_str *s, char c)
{
    if (s->n == 0 || *s->p != c)
        return false;
    s->p++, s->n--;
    return true;
}

static bool is_digit(struct tg_str s)
{
    return s.n && *s.p >= '0' && *s.p <= '9';
}

static bool take_digits(struct tg_str *s, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit(*s))
            return false;
        *value = *value * 10 + (*s->p - '0');
        s->p++, s->n--;
    }
    return true;
}

static bool take_text(struct tg_str *s, const char *text, size_t n)
{
    if (s->n < n || memcmp(s->p, text, n) != 0)
        return false;
    s->p += n, s->n -= n;
    return true;
}

static bool take_fraction(struct tg_str *s, int *ms)
{
    if (!take(s, '.') && !take(s, ','))
        return true;
    if (!is_digit(*s))
        return false;
    for (int weight = 100; is_digit(*s); weight /= 10, s->p++, s->n--)
        *ms += (*s->p - '0') * weight;
    return true;
}

/* Z, z, +hh, +hhmm, +hh:mm or nothing (UTC). */
static bool take_offset(struct tg_str *s, int64_t *offset_ms)
{
    *offset_ms = 0;
    if (s->n == 0 || take(s, 'Z') || take(s, 'z'))
        return true;
    bool west = take(s, '-');
    if (!west && !take(s, '+'))
        return false;
    int hours, minutes = 0;
    if (!take_digits(s, 2, &hours))
        return false;
    if (take(s, ':') || s->n) {
        if (!take_digits(s, 2, &minutes))
            return false;
    }
    if (hours > 23 || minutes > 59)
        return false;
    *offset_ms = ((int64_t)hours * 60 + minutes) * (west ? -MINUTE_MS : MINUTE_MS);
    return true;
}

/* hh:mm, and :ss with a fraction where they are written. */
static bool take_clock(struct tg_str *s, struct civil *c)
{
    if (!take_digits(s, 2, &c->hour) || !take(s, ':') || !take_digits(s, 2, &c->minute))
        return false;
    if (!take(s, ':'))
        return true;
    return take_digits(s, 2, &c->second) && take_fraction(s, &c->ms);
}

bool tg_time_parse(struct tg_str s, int64_t *ms)
{
    struct civil c = {0};
    int64_t offset = 0, local;
    if (!take_digits(&s, 4, &c.year) || !take(&s, '-') || !take_digits(&s, 2, &c.month) || !take(&s, '-') ||
        !take_digits(&s, 2, &c.day))
        return false;
    if (s.n) {
        if (!take(&s, 'T') && !take(&s, 't') && !take(&s, ' '))
            return false;
        if (!take_clock(&s, &c) || !take_offset(&s, &offset) || s.n)
            return false;
    }
    if (!to_ms(&c, &local) || !in_range(local - offset))
        return false;
    *ms = local - offset;
    return true;
}

/* --- HTTP dates (RFC 9110 section 5.6.7) --- */

static bool take_weekday(struct tg_str *s, bool whole)
{
    for (int i = 0; i < 7; i++) {
        if (take_text(s, day_names[i], whole ? strlen(day_names[i]) : 3))
            return true;
    }
    return false;
}

static bool take_month(struct tg_str *s, int *month)
{
    for (int i = 0; i < 12; i++) {
        if (take_text(s, month_names[i], 3)) {
            *month = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_seconds_clock(struct tg_str *s, struct civil *c)
{
    return take_digits(s, 2, &c->hour) && take(s, ':') && take_digits(s, 2, &c->minute) && take(s, ':') &&
           take_digits(s, 2, &c->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool imf_fixdate(struct tg_str s, struct civil *c)
{
    return take_weekday(&s, false) && take_text(&s, ", ", 2) && take_digits(&s, 2, &c->day) &&
           take(&s, ' ') && take_month(&s, &c->month) && take(&s, ' ') && take_digits(&s, 4, &c->year) &&
           take(&s, ' ') && take_seconds_clock(&s, c) && take_text(&s, " GMT", 4) && s.n == 0;
}

/* Sunday, 06-Nov-94 08:49:37 GMT. The century is chosen as POSIX does, not from the clock: nobody makes such
 * dates any more, and a reader with a fixed answer can be tested. */
static bool rfc850_date(struct tg_str s, struct civil *c)
{
    if (!(take_weekday(&s, true) && take_text(&s, ", ", 2) && take_digits(&s, 2, &c->day) && take(&s, '-') &&
          take_month(&s, &c->month) && take(&s, '-') && take_digits(&s, 2, &c->year) && take(&s, ' ') &&
          take_seconds_clock(&s, c) && take_text(&s, " GMT", 4) && s.n == 0))
        return false;
    c->year += c->year < 69 ? 2000 : 1900;
    return true;
}

/* Sun Nov  6 08:49:37 1994 */
static bool asctime_date(struct tg_str s, struct civil *c)
{
    return take_weekday(&s, false) && take(&s, ' ') && take_month(&s, &c->month) && take(&s, ' ') &&
           (take(&s, ' ') ? take_digits(&s, 1, &c->day) : take_digits(&s, 2, &c->day)) && take(&s, ' ') &&
           take_seconds_clock(&s, c) && take(&s, ' ') && take_digits(&s, 4, &c->year) && s.n == 0;
}

bool tg_time_parse_http(struct tg_str text, int64_t *ms)
{
    static bool (*const forms[])(struct tg_str, struct civil *) = {imf_fixdate, rfc850_date, asctime_date};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct civil c = {0};
        int64_t at;
        if (forms[i](text, &c) && to_ms(&c, &at) && in_range(at)) {
            *ms = at;
            return true;
        }
    }
    return false;
}

/* --- writing --- */

static char *put(char *p, int value, int width)
{
    for (int i = width; i > 0; i--, value /= 10)
        p[i - 1] = (char)('0' + value % 10);
    return p + width;
}

void tg_time_format(int64_t ms, char out[TG_TIME_LEN + 1])
{
    struct civil c = from_ms(ms);
    char *p = put(out, c.year, 4);
    *p++ = '-';
    p = put(p, c.month, 2);
    *p++ = '-';
    p = put(p, c.day, 2);
    *p++ = 'T';
    p = put(p, c.hour, 2);
    *p++ = ':';
    p = put(p, c.minute, 2);
    *p++ = ':';
    p = put(p, c.second, 2);
    *p++ = '.';
    p = put(p, c.ms, 3);
    *p++ = 'Z';
    *p = '\0';
}

static int add_digits(struct tg_buf *out, int value, int width)
{
    char digits[8];
    (void)put(digits, value, width);
    return tg_buf_add(out, digits, (size_t)width);
}

/* Rounded down, also before 1970. */
static int add_epoch(struct tg_buf *out, int64_t ms)
{
    return tg_buf_printf(out, "%" PRId64, ms / 1000 - (ms % 1000 < 0));
}

static int add_conversion(struct tg_buf *out, char letter, const struct civil *c, int64_t ms)
{
    switch (letter) {
    case 'Y':
        return add_digits(out, c->year, 4);
    case 'y':
        return add_digits(out, c->year % 100, 2);
    case 'm':
        return add_digits(out, c->month, 2);
    case 'd':
        return add_digits(out, c->day, 2);
    case 'e':
        return tg_buf_printf(out, "%2d", c->day);
    case 'H':
        return add_digits(out, c->hour, 2);
    case 'M':
        return add_digits(out, c->minute, 2);
    case 'S':
        return add_digits(out, c->second, 2);
    case 'L':
        return add_digits(out, c->ms, 3);
    case 'j':
        return add_digits(out, c->yearday, 3);
    case 's':
        return add_epoch(out, ms);
    case 'a':
        return tg_buf_add(out, day_names[c->weekday], 3);
    case 'b':
        return tg_buf_add(out, month_names[c->month - 1], 3);
    case '%':
        return tg_buf_addc(out, '%');
    default: /* also the end of the format */
        return TG_INVALID;
    }
}

int tg_time_strftime(struct tg_buf *out, const char *format, int64_t ms)
{
    size_t before = out->len;
    struct civil c = from_ms(ms);
    int rc = TG_OK;
    for (const char *p = format; !rc && *p; p++) {
        if (*p != '%')
            rc = tg_buf_addc(out, *p);
        else
            rc = add_conversion(out, *++p, &c, ms);
        if (*p == '\0')
            break;
    }
    if (rc)
        out->len = before;
    return rc;
}
