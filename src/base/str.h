/* A span of bytes that somebody else owns. Not NUL-terminated. {NULL, 0} and any span of length 0 are empty.
 */
#ifndef TG_BASE_STR_H
#define TG_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct tg_str {
    const char *p;
    size_t n;
};

/* For printf: "%.*s", TG_STR_ARG(s) */
#define TG_STR_ARG(s) (int)(s).n, (s).n ? (s).p : ""
#define TG_STR(lit)   ((struct tg_str){(lit), sizeof(lit) - 1})

static inline struct tg_str tg_str_of(const char *z) /* z may be NULL: empty */
{
    return (struct tg_str){z, z ? strlen(z) : 0};
}

static inline struct tg_str tg_str_n(const char *p, size_t n)
{
    return (struct tg_str){p, n};
}

static inline bool tg_str_eq(struct tg_str a, struct tg_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool tg_str_is(struct tg_str a, const char *z)
{
    return tg_str_eq(a, tg_str_of(z));
}

/* ASCII case-insensitive. */
static inline bool tg_str_ieq(struct tg_str a, const char *z)
{
    return a.n == strlen(z) && (a.n == 0 || strncasecmp(a.p, z, a.n) == 0);
}

static inline bool tg_str_starts(struct tg_str a, const char *z)
{
    size_t n = strlen(z);
    return a.n >= n && (n == 0 || memcmp(a.p, z, n) == 0);
}

/* Without leading and trailing space, tab, CR, LF. */
static inline struct tg_str tg_str_trim(struct tg_str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r' || s.p[0] == '\n'))
        s.p++, s.n--;
    while (s.n &&
           (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\n'))
        s.n--;
    return s;
}

#endif
