#include "base/json_utf8.h"

#include "base/json_bytes.h"

unsigned tg_utf8_right(const unsigned char *p, size_t n, unsigned *whole)
{
    unsigned low = 0x80, high = 0xbf, right = 1;
    unsigned char c = p[0];
    *whole = between(c, 0xc2, 0xdf) ? 2 : between(c, 0xe0, 0xef) ? 3 : between(c, 0xf0, 0xf4) ? 4 : 0;
    if (c == 0xe0)
        low = 0xa0; /* below: overlong */
    else if (c == 0xed)
        high = 0x9f; /* above: surrogates */
    else if (c == 0xf0)
        low = 0x90; /* below: overlong */
    else if (c == 0xf4)
        high = 0x8f; /* above: past U+10FFFF */
    while (right < *whole && right < n && between(p[right], low, high)) {
        low = 0x80;
        high = 0xbf;
        right++;
    }
    return right;
}

static inline const char *skip_ascii(const char *p, const char *end)
{
    while (end - p >= 8 && !(load_8(p) & EACH_BYTE(0x80)))
        p += 8;
    while (p < end && !((unsigned char)*p & 0x80))
        p++;
    return p;
}

size_t tg_json_utf8(const char *p, size_t n)
{
    const char *at = p, *end = p + n;
    while ((at = skip_ascii(at, end)) < end) {
        unsigned whole, right = tg_utf8_right((const unsigned char *)at, (size_t)(end - at), &whole);
        if (right != whole)
            break;
        at += whole;
    }
    return (size_t)(at - p);
}

unsigned tg_utf8_put(char out[4], unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
