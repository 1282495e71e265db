/* Exact reading, shortest printing.
 *
 * The C library does the hard rounding, but sees and gives only digits and exponents, never a decimal point,
 * so that no locale has a say. Numbers as people write them, of at most 15 digits, take a short way of two
 * exact operations. */
#include "base/json_number.h"

#include "base/json_bytes.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MOST_DIGITS = 800, /* no double needs more than 767 to be told from its neighbours */
    EXACT_TEN = 22,    /* 10^22 is the greatest power of ten that a double holds exactly */
    PLAIN_EXPONENT =
        21, /* numbers from 1e21 on, and below 1e-7, are written with an exponent, as JavaScript does */
};
#define TWO_TO_53 9007199254740992.0

static const double ten_to[EXACT_TEN + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                             1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                             1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number's text as (-1)^negative * digits * 10^exponent, digits without leading and trailing zeros. */
struct decimal {
    bool negative;
    bool more;      /* digits behind MOST_DIGITS were cut, and they were not all zero */
    unsigned n;     /* how many digits; 0: the number is zero */
    uint64_t small; /* the digits as an integer while n <= 19 */
    int64_t exponent;
    char digits[MOST_DIGITS + 1];
};

static void add_digit(struct decimal *d, char c)
{
    d->small = d->small * 10 + (uint64_t)(c - '0');
    d->digits[d->n++] = c;
}

/* Adds digits up to the first other byte. `zeros` counts zeros that only matter if another digit follows. */
static const char *read_digits(struct decimal *d, const char *p, const char *end, int64_t *zeros,
                               bool fraction)
{
    for (; p < end && is_digit(*p); p++) {
        d->exponent -= fraction;
        if (*p == '0') {
            *zeros += d->n != 0;
            continue;
        }
        for (; *zeros && d->n < MOST_DIGITS; --*zeros)
            add_digit(d, '0');
        if (d->n == MOST_DIGITS) {
            /* Every digit behind the cut shifts the cut ones' weight by one, the zeros still counted
             * included. */
            d->exponent += *zeros + 1;
            *zeros = 0;
            d->more = true;
            continue;
        }
        add_digit(d, *p);
    }
    return p;
}

static int64_t read_exponent(const char *p, const char *end)
{
    int64_t e = 0;
    bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    for (; p < end && is_digit(*p); p++) {
        if (e < INT64_MAX / 100)
            e = e * 10 + (*p - '0');
    }
    return negative ? -e : e;
}

static bool read_decimal(struct tg_str text, struct decimal *d)
{
    const char *p = text.p, *end = p + text.n;
    int64_t zeros = 0;
    d->negative = false;
    d->more = false;
    d->n = 0;
    d->small = 0;
    d->exponent = 0;
    if (text.n == 0 || (*p != '-' && !is_digit(*p)))
        return false;
    d->negative = *p == '-';
    p = read_digits(d, p + d->negative, end, &zeros, false);
    if (p < end && *p == '.')
        p = read_digits(d, p + 1, end, &zeros, true);
    if (p < end && (*p == 'e' || *p == 'E'))
        d->exponent += read_exponent(p + 1, end);
    d->exponent += zeros;
    return true;
}

/* strtod reads digits and an exponent, but never a decimal point: the locale has no say. */
static double slow_double(struct decimal *d)
{
    char text[MOST_DIGITS + 32];
    int64_t e = d->exponent > 99999 ? 99999 : d->exponent < -99999 ? -99999 : d->exponent;
    memcpy(text, d->digits, d->n);
    unsigned n = d->n;
    if (d->more) {
        text[n++] = '1';
        e--;
    }
    (void)snprintf(text + n, sizeof text - n, "e%d", (int)e);
    return strtod(text, NULL);
}

/* What most numbers are: at most 15 digits in all, perhaps a point, no exponent. */
static bool quick_double(struct tg_str value, double *number)
{
    const char *p = value.p, *end = p + value.n;
    uint64_t m = 0;
    ptrdiff_t places = 0;
    bool negative = value.n && *p == '-';
    p += negative;
    if (end - p < 1 || end - p > 16 || !is_digit(*p))
        return false;
    for (; p < end && is_digit(*p); p++)
        m = m * 10 + (uint64_t)(*p - '0');
    if (p < end && *p == '.') {
        const char *point = p++;
        for (; p < end && is_digit(*p); p++)
            m = m * 10 + (uint64_t)(*p - '0');
        places = p - point - 1;
    }
    if (p != end || m >= 1000000000000000)
        return false;
    double x = (double)m / ten_to[places];
    *number = negative ? -x : x;
    return true;
}

static bool decimal_double(struct decimal *d, double *number)
{
    double x;
    if (d->n == 0)
        x = 0;
    else if (d->n <= 19 && d->small <= (uint64_t)TWO_TO_53 && d->exponent >= -EXACT_TEN &&
             d->exponent <= EXACT_TEN)
        x = d->exponent < 0 ? (double)d->small / ten_to[-d->exponent]
                            : (double)d->small * ten_to[d->exponent];
    else
        x = slow_double(d);
    *number = d->negative ? -x : x;
    return isfinite(x);
}

bool tg_json_double(struct tg_str value, double *number)
{
    struct decimal d;
    double x;
    if (quick_double(value, number))
        return true;
    if (!read_decimal(value, &d) || !decimal_double(&d, &x))
        return false;
    *number = x;
    return true;
}

/* Whether x, printed with as many digits as d has, is d. */
static bool prints_as(double x, const struct decimal *d)
{
    char text[MOST_DIGITS + 32];
    unsigned i = 0;
    (void)snprintf(text, sizeof text, "%.*e", (int)d->n - 1, fabs(x));
    const char *p = text;
    for (; *p && *p != 'e'; p++) {
        if (is_digit(*p) && (i == d->n || d->digits[i++] != *p))
            return false;
    }
    return *p == 'e' && strtol(p + 1, NULL, 10) == d->exponent + d->n - 1;
}

bool tg_json_exact(struct tg_str value, double *number)
{
    struct decimal d;
    double x;
    if (quick_double(value, number))
        return true;
    if (!read_decimal(value, &d) || !decimal_double(&d, &x))
        return false;
    /* Every decimal of 15 digits is told apart by a normal double; beyond that it must be tried. */
    if (d.more || ((d.n > 15 || (d.n && fabs(x) < DBL_MIN)) && !prints_as(x, &d)))
        return false;
    *number = x;
    return true;
}

bool tg_json_int(struct tg_str value, int64_t *number)
{
    struct decimal d;
    if (!read_decimal(value, &d) || (d.n && (d.n > 19 || d.exponent < 0 || d.exponent > 18)))
        return false;
    uint64_t x = d.n ? d.small : 0, most = (uint64_t)INT64_MAX + d.negative;
    for (int64_t e = x ? d.exponent : 0; e > 0; e--) {
        if (x > most / 10)
            return false;
        x *= 10;
    }
    if (x > most)
        return false;
    *number = d.negative ? (int64_t)(0 - x) : (int64_t)x;
    return true;
}

/* The digits of x, shortest that read back, and where the decimal point stands: 0.d1d2… * 10^point. Normal
 * numbers hold any 15 digits, subnormal ones fewer. (Next to a power of two a form of 16 digits may exist
 * that is not the nearest one, and 17 digits are written instead; they read back all the same.) */
static unsigned shortest_digits(double x, char digits[20], int *point)
{
    char text[40];
    unsigned n = 0;
    for (int precision = x < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, x);
        if (strtod(text, NULL) == x)
            break;
    }
    const char *p = text;
    for (; *p != 'e'; p++) { /* whatever the locale puts between the digits is passed over */
        if (is_digit(*p))
            digits[n++] = *p;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *point = (int)strtol(p + 1, NULL, 10) + 1;
    return n;
}

/* Tries x as a decimal of at most 15 digits and few places, which is what people write: m / 10^k is then
 * correctly rounded, so that m with k places reads back as x, and no other decimal as short does. */
static unsigned short_digits(double x, char digits[20], int *point)
{
    for (int k = 0; k <= 9; k++) {
        double scaled = x * ten_to[k];
        if (scaled >= 1e15)
            return 0;
        double m = (double)(int64_t)(scaled + 0.5);
        if (m < 1 || m / ten_to[k] != x)
            continue;
        char text[20];
        unsigned n = 0, total;
        for (uint64_t u = (uint64_t)m; u; u /= 10)
            text[n++] = (char)('0' + u % 10);
        total = n;
        for (unsigned i = 0; i < total; i++)
            digits[i] = text[total - 1 - i];
        *point = (int)total - k;
        while (n > 1 && digits[n - 1] == '0')
            n--;
        return n;
    }
    return 0;
}

static unsigned put(char *out, unsigned at, const char *p, unsigned n)
{
    memcpy(out + at, p, n);
    return at + n;
}

static unsigned put_zeros(char *out, unsigned at, int n)
{
    while (n-- > 0)
        out[at++] = '0';
    return at;
}

/* Lays the digits out as JavaScript's Number to String does. */
static unsigned layout(char *out, unsigned at, const char *digits, unsigned n, int point)
{
    if (point > PLAIN_EXPONENT || point <= -6) {
        at = put(out, at, digits, 1);
        if (n > 1) {
            out[at++] = '.';
            at = put(out, at, digits + 1, n - 1);
        }
        return at + (unsigned)snprintf(out + at, sizeof "e-2147483648", "e%d", point - 1);
    }
    if (point <= 0) {
        at = put(out, at, "0.", 2);
        at = put_zeros(out, at, -point);
        return put(out, at, digits, n);
    }
    if ((int)n <= point) {
        at = put(out, at, digits, n);
        return put_zeros(out, at, point - (int)n);
    }
    at = put(out, at, digits, (unsigned)point);
    out[at++] = '.';
    return put(out, at, digits + point, n - (unsigned)point);
}

size_t tg_json_format(char out[TG_JSON_NUMBER_MAX], double x)
{
    char digits[20];
    int point = 1;
    unsigned at = 0, n;
    if (!isfinite(x))
        return 0;
    if (signbit(x)) {
        out[at++] = '-';
        x = -x;
    }
    if (x == 0) {
        out[at++] = '0';
        return at;
    }
    n = short_digits(x, digits, &point);
    if (!n)
        n = shortest_digits(x, digits, &point);
    return layout(out, at, digits, n, point);
}

int tg_json_number(struct tg_buf *out, double number)
{
    char text[TG_JSON_NUMBER_MAX];
    size_t n = tg_json_format(text, number);
    return n ? tg_buf_add(out, text, n) : TG_INVALID;
}
