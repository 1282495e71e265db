/* JSON text taken 64 bytes at a time, one bit a byte: which bytes stand inside strings. Shared by json_skip.c
 * and json_quick.c. */
#ifndef TG_BASE_JSON_BLOCK_H
#define TG_BASE_JSON_BLOCK_H

#include <stdint.h>
#include <string.h>

enum { TG_JSON_BLOCK = 64 };

/* Bits of the bytes behind a backslash that is not escaped itself. *carry: the block before ended with one.
 */
static inline uint64_t tg_json_escaped(uint64_t backslashes, uint64_t *carry)
{
    uint64_t found = *carry;
    backslashes &= ~found;
    *carry = 0;
    while (backslashes) {
        int at = __builtin_ctzll(backslashes);
        if (at == TG_JSON_BLOCK - 1) {
            *carry = 1;
            break;
        }
        found |= 2ULL << at;
        backslashes &= ~(3ULL << at);
    }
    return found;
}

/* Bit n of the result: whether an odd number of bits up to n are set. Of quotes it tells what is inside
 * strings, their opening quote included. */
static inline uint64_t tg_json_running_xor(uint64_t x)
{
    x ^= x << 1;
    x ^= x << 2;
    x ^= x << 4;
    x ^= x << 8;
    x ^= x << 16;
    return x ^ x << 32;
}

/* The last bytes of a text, filled up to a block with spaces. */
static inline const char *tg_json_padded(char block[TG_JSON_BLOCK], const char *p, const char *end)
{
    memset(block, ' ', TG_JSON_BLOCK);
    memcpy(block, p, (size_t)(end - p));
    return block;
}

#endif
