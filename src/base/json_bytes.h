/* Looking at the bytes of JSON text: for the modules json_*.c, nobody else includes it.
 *
 * Most bytes of an event stand inside strings, so the loops over string bytes take 16 bytes at a time with
 * SSE2, and 8 with plain 64-bit arithmetic elsewhere (TG_JSON_PORTABLE asks for the latter, for its tests).
 */
#ifndef TG_BASE_JSON_BYTES_H
#define TG_BASE_JSON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
#include <emmintrin.h>
#define USE_SSE2 1
#else
#define USE_SSE2 0
#endif

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static inline const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Behind the number that begins at p (p < end); NULL when it is malformed. */
static inline const char *number_end(const char *p, const char *end)
{
    p += *p == '-';
    const char *digits = p;
    p = skip_digits(p, end);
    if (p == digits || (*digits == '0' && p > digits + 1))
        return NULL;
    if (p < end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

/* A byte that stands for itself in a string: ASCII but control characters, quote and backslash. */
static inline bool is_plain(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

#define EACH_BYTE(c) (0x0101010101010101ULL * (unsigned char)(c))

/* Non-zero when one of the eight bytes is zero. */
static inline uint64_t zero_byte(uint64_t x)
{
    return (x - EACH_BYTE(0x01)) & ~x & EACH_BYTE(0x80);
}

static inline uint64_t load_8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t quotes_in(uint64_t x)
{
    return zero_byte(x ^ EACH_BYTE('"')) | zero_byte(x ^ EACH_BYTE('\\'));
}

static inline uint64_t not_plain_in(uint64_t x)
{
    return quotes_in(x) | (((x - EACH_BYTE(0x20)) | x) & EACH_BYTE(0x80));
}

static inline uint64_t not_plain_8(const char *p)
{
    return not_plain_in(load_8(p));
}

#if USE_SSE2
static inline unsigned not_plain_16(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* As signed bytes, 0x80 and above are negative: one comparison finds them and the control characters. */
    __m128i found = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));
    found = _mm_or_si128(found, _mm_cmpeq_epi8(x, _mm_set1_epi8('"')));
    found = _mm_or_si128(found, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(found);
}

static inline unsigned quotes_16(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i found = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    found = _mm_or_si128(found, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(found);
}

#define SKIP_BLOCKS(p, end, find)                                                                            \
    while ((size_t)((end) - (p)) >= 16) {                                                                    \
        unsigned found_ = find##_16(p);                                                                      \
        if (found_)                                                                                          \
            return (p) + __builtin_ctz(found_);                                                              \
        (p) += 16;                                                                                           \
    }
#else
static inline uint64_t quotes_8(const char *p)
{
    return quotes_in(load_8(p));
}

/* Stops before the block with a find; the byte loop behind it looks where exactly. */
#define SKIP_BLOCKS(p, end, find)                                                                            \
    while ((size_t)((end) - (p)) >= 8 && !find##_8(p))                                                       \
        (p) += 8;
#endif

static inline const char *skip_plain(const char *p, const char *end)
{
    SKIP_BLOCKS(p, end, not_plain)
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static inline const char *skip_to_quote(const char *p, const char *end)
{
    SKIP_BLOCKS(p, end, quotes)
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

static inline bool between(unsigned char c, unsigned low, unsigned high)
{
    return c >= low && c <= high;
}

/* At the four digits of \\u. */
static inline bool four_hex(const char *p, const char *end, unsigned *code)
{
    if (end - p < 4)
        return false;
    *code = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i], low = c | 0x20;
        if (!is_digit((char)c) && !between(low, 'a', 'f'))
            return false;
        *code = *code << 4 | (is_digit((char)c) ? c - 0x30u : low - 'a' + 10u);
    }
    return true;
}

#endif
