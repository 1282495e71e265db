/* Brackets are counted 64 bytes at a time, one bit a byte. A block gives four masks: quotes, backslashes,
 * opening and closing brackets. Quotes behind a backslash go; from the rest a running exclusive or tells
 * which bytes are inside strings, and brackets there go too. What is left is counted; only a block in which
 * the depth could reach zero is looked at bit by bit. So the cost does not depend on how many members the
 * container has.
 *
 * Bit 5 is the only difference between [ and {, and between ] and }. */
#include "base/json_skip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
#include <emmintrin.h>
#endif

enum { BLOCK = 64 };

struct marks {
    uint64_t quotes, backslashes, opens, closes;
};

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
static inline uint64_t equal_16(__m128i x, char c)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(c)));
}

static inline struct marks look(const char *p)
{
    struct marks m = {0};
    for (int at = 0; at < BLOCK; at += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
        __m128i folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
        m.quotes |= equal_16(x, '"') << at;
        m.backslashes |= equal_16(x, '\\') << at;
        m.opens |= equal_16(folded, '{') << at;
        m.closes |= equal_16(folded, '}') << at;
    }
    return m;
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
    for (int at = 0; at < BLOCK; at += 8) {
        uint64_t x = load_8(p + at), folded = x | EACH_BYTE(0x20);
        m.quotes |= equal_8(x, '"') << at;
        m.backslashes |= equal_8(x, '\\') << at;
        m.opens |= equal_8(folded, '{') << at;
        m.closes |= equal_8(folded, '}') << at;
    }
    return m;
}
#endif

/* Bits of the bytes behind a backslash that is not escaped itself. *carry: the block before ended with one.
 */
static inline uint64_t escaped(uint64_t backslashes, uint64_t *carry)
{
    uint64_t found = *carry;
    backslashes &= ~found;
    *carry = 0;
    while (backslashes) {
        int at = __builtin_ctzll(backslashes);
        if (at == BLOCK - 1) {
            *carry = 1;
            break;
        }
        found |= 2ULL << at;
        backslashes &= ~(3ULL << at);
    }
    return found;
}

/* Bit n of the result: whether an odd number of bits up to n are set. */
static inline uint64_t running_xor(uint64_t x)
{
    for (int by = 1; by < BLOCK; by *= 2)
        x ^= x << by;
    return x;
}

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

/* The last bytes, filled up to a block. */
static const char *padded(char block[BLOCK], const char *p, const char *end)
{
    memset(block, ' ', BLOCK);
    memcpy(block, p, (size_t)(end - p));
    return block;
}

const char *tg_json_container_end(const char *p, const char *end)
{
    uint64_t carry = 0, in_string = 0;
    size_t depth = 0;
    char last[BLOCK];
    for (; p < end; p += BLOCK) {
        bool whole = end - p >= BLOCK;
        struct marks m = look(whole ? p : padded(last, p, end));
        if (m.backslashes | carry)
            m.quotes &= ~escaped(m.backslashes, &carry);
        uint64_t inside = running_xor(m.quotes) ^ in_string;
        in_string = 0 - (inside >> (BLOCK - 1));
        m.opens &= ~inside;
        m.closes &= ~inside;
        unsigned closes = count_bits(m.closes);
        if (depth <= closes) {
            int at = where_closed(m.opens, m.closes, depth);
            if (at >= 0)
                return p + at + 1;
        }
        depth += count_bits(m.opens);
        depth -= closes;
        if (!whole)
            break;
    }
    return end;
}
