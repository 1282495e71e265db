/* Brackets are counted 64 bytes at a time, one bit a byte. A block gives four masks: quotes, backslashes,
 * opening and closing brackets. Quotes behind a backslash go; from the rest a running exclusive or tells
 * which bytes are inside strings, and brackets there go too. What is left is counted; only a block in which
 * the depth could reach zero is looked at bit by bit. So the cost does not depend on how many members the
 * container has. On x86 a machine with AVX2 gets its own copy of the loop, half as long.
 * TG_JSON_PORTABLE and TG_JSON_NARROW leave out all that is of x86, and AVX2, for their tests.
 *
 * Bit 5 is the only difference between [ and {, and between ] and }. */
#include "base/json_skip.h"

#include "base/json_block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
#include <immintrin.h>
#endif

struct marks {
    uint64_t quotes, backslashes, opens, closes;
};

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
static inline uint64_t equal_16(__m128i x, char c)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(c)));
}

static inline uint64_t equal_64(const __m128i x[4], char c)
{
    return equal_16(x[0], c) | equal_16(x[1], c) << 16 | equal_16(x[2], c) << 32 | equal_16(x[3], c) << 48;
}

static inline struct marks look(const char *p)
{
    const __m128i *from = (const __m128i *)(const void *)p, bit = _mm_set1_epi8(0x20);
    const __m128i x[4] = {_mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2),
                          _mm_loadu_si128(from + 3)};
    const __m128i folded[4] = {_mm_or_si128(x[0], bit), _mm_or_si128(x[1], bit), _mm_or_si128(x[2], bit),
                               _mm_or_si128(x[3], bit)};
    return (struct marks){equal_64(x, '"'), equal_64(x, '\\'), equal_64(folded, '{'), equal_64(folded, '}')};
}
#else
#define EACH_BYTE(c) (0x0101010101010101ULL * (unsigned char)(c))

/* One bit for each of the eight bytes that is c, the first byte lowest. */
static inline uint64_t equal_8(uint64_t x, char c)
{
    x ^= EACH_BYTE(c);
    uint64_t zero = ~(((x & EACH_BYTE(0x7f)) + EACH_BYTE(0x7f)) | x | EACH_BYTE(0x7f));
    return (zero >> 7) * 0x0102040810204080ULL >> 56;
}

static inline uint64_t load_8(const char *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) /* in this order on every machine; compilers make one load of it */
        x = x << 8 | (unsigned char)p[i];
    return x;
}

static inline struct marks look(const char *p)
{
    struct marks m = {0};
    for (int at = 0; at < TG_JSON_BLOCK; at += 8) {
        uint64_t x = load_8(p + at), folded = x | EACH_BYTE(0x20);
        m.quotes |= equal_8(x, '"') << at;
        m.backslashes |= equal_8(x, '\\') << at;
        m.opens |= equal_8(folded, '{') << at;
        m.closes |= equal_8(folded, '}') << at;
    }
    return m;
}
#endif

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE) && !defined(TG_JSON_NARROW)
#define WIDE __attribute__((target("avx2,popcnt")))

WIDE static inline uint64_t equal_32(__m256i x, char c)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_set1_epi8(c)));
}

WIDE static inline uint64_t equal_2x32(__m256i x, __m256i y, char c)
{
    return equal_32(x, c) | equal_32(y, c) << 32;
}

WIDE static inline struct marks look_wide(const char *p)
{
    const __m256i *from = (const __m256i *)(const void *)p, bit = _mm256_set1_epi8(0x20);
    __m256i x = _mm256_loadu_si256(from), y = _mm256_loadu_si256(from + 1);
    __m256i folded_x = _mm256_or_si256(x, bit), folded_y = _mm256_or_si256(y, bit);
    return (struct marks){equal_2x32(x, y, '"'), equal_2x32(x, y, '\\'), equal_2x32(folded_x, folded_y, '{'),
                          equal_2x32(folded_x, folded_y, '}')};
}
#else
#define look_wide look
#endif

static inline unsigned count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555ULL;
    x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return (unsigned)(x * 0x0101010101010101ULL >> 56);
}

/* Where in the block the depth gets to zero; -1 when it does not. */
static int where_closed(uint64_t opens, uint64_t closes, size_t depth)
{
    while (closes) {
        uint64_t bit = closes & -closes;
        depth += count_bits(opens & (bit - 1));
        opens &= -bit;
        if (--depth == 0)
            return __builtin_ctzll(bit);
        closes &= closes - 1;
    }
    return -1;
}

/* wide: for a machine with AVX2 and an instruction that counts bits. */
static inline __attribute__((always_inline)) const char *container_end(const char *p, const char *end,
                                                                       bool wide)
{
    uint64_t carry = 0, in_string = 0;
    size_t depth = 0;
    char last[TG_JSON_BLOCK];
    for (; p < end; p += TG_JSON_BLOCK) {
        bool whole = end - p >= TG_JSON_BLOCK;
        const char *block = whole ? p : tg_json_padded(last, p, end);
        struct marks m = wide ? look_wide(block) : look(block);
        if (m.backslashes | carry)
            m.quotes &= ~tg_json_escaped(m.backslashes, &carry);
        uint64_t inside = tg_json_running_xor(m.quotes) ^ in_string;
        in_string = 0 - (inside >> (TG_JSON_BLOCK - 1));
        m.opens &= ~inside;
        m.closes &= ~inside;
        unsigned closes = wide ? (unsigned)__builtin_popcountll(m.closes) : count_bits(m.closes);
        if (depth <= closes) {
            int at = where_closed(m.opens, m.closes, depth);
            if (at >= 0)
                return p + at + 1;
        }
        depth += wide ? (unsigned)__builtin_popcountll(m.opens) : count_bits(m.opens);
        depth -= closes;
        if (!whole)
            break;
    }
    return end;
}

#ifdef WIDE
WIDE static const char *container_end_wide(const char *p, const char *end)
{
    return container_end(p, end, true);
}
#endif

const char *tg_json_container_end(const char *p, const char *end)
{
#ifdef WIDE
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
        return container_end_wide(p, end);
#endif
    return container_end(p, end, false);
}
