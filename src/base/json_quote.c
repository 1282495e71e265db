#include "base/json_quote.h"

#include "base/json_bytes.h"
#include "base/json_utf8.h"

/* The escape of a quote, a backslash or a control character; its length. */
static unsigned escape(char c, char out[6])
{
    static const char letters[] = "btn\0fr"; /* from 8: \b \t \n, none for 11, \f \r */
    out[0] = '\\';
    if (c == '"' || c == '\\') {
        out[1] = c;
        return 2;
    }
    if (c >= 8 && c <= 13 && letters[c - 8]) {
        out[1] = letters[c - 8];
        return 2;
    }
    out[1] = 'u';
    out[2] = out[3] = '0';
    out[4] = "0123456789abcdef"[c >> 4 & 15];
    out[5] = "0123456789abcdef"[c & 15];
    return 6;
}

/* At a byte that is not plain. Writes what stands for it, or for the sequence that begins there, and steps
 * over it. */
static unsigned quote_one(const char **p, const char *end, char out[6])
{
    unsigned whole, right, n;
    if (!((unsigned char)**p & 0x80))
        return escape(*(*p)++, out);
    right = tg_utf8_right((const unsigned char *)*p, (size_t)(end - *p), &whole);
    if (right == whole)
        memcpy(out, *p, n = whole);
    else
        n = tg_utf8_put(out, 0xfffd);
    *p += right;
    return n;
}

static inline bool plain_short(const char *p, size_t n)
{
    if (n >= 8)
        return !(not_plain_8(p) | not_plain_8(p + n - 8));
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + n - 4, sizeof last);
        return !not_plain_in((uint64_t)last << 32 | first);
    }
    while (n && is_plain(p[n - 1]))
        n--;
    return n == 0;
}

/* Blocks, then the last block again, which may overlap the one before it. */
bool tg_json_is_plain(struct tg_str text)
{
    const char *p = text.p, *end = p + text.n;
    if (text.n < 16)
        return plain_short(p, text.n);
#if USE_SSE2
    for (; end - p > 16; p += 16) {
        if (not_plain_16(p))
            return false;
    }
    return !not_plain_16(end - 16);
#else
    for (; end - p > 8; p += 8) {
        if (not_plain_8(p))
            return false;
    }
    return !not_plain_8(end - 8);
#endif
}

static int quote_rest(struct tg_buf *out, const char *p, const char *end, bool strict)
{
    int rc = TG_OK;
    while (!rc && p < end) {
        char bytes[6];
        const char *stop = skip_plain(p, end), *next = stop;
        rc = tg_buf_add(out, p, (size_t)(stop - p));
        if (!rc && stop < end) {
            unsigned n = quote_one(&next, end, bytes);
            if (strict && (unsigned char)*stop & 0x80 && memcmp(bytes, stop, (size_t)(next - stop)) != 0)
                return TG_INVALID;
            rc = tg_buf_add(out, bytes, n);
        }
        p = next;
    }
    return rc ? rc : tg_buf_addc(out, '"');
}

static int quote(struct tg_buf *out, struct tg_str text, bool strict)
{
    size_t before = out->len;
    int rc = tg_buf_reserve(out, text.n + 2);
    if (rc)
        return rc;
    char *to = out->data + before;
    *to++ = '"';
    out->len++;
    if (tg_json_is_plain(text)) {
        if (text.n)
            memcpy(to, text.p, text.n);
        to[text.n] = '"';
        out->len += text.n + 1;
        return TG_OK;
    }
    rc = quote_rest(out, text.p, text.p + text.n, strict);
    if (rc)
        out->len = before;
    return rc;
}

int tg_json_quote(struct tg_buf *out, struct tg_str text)
{
    return quote(out, text, false);
}

int tg_json_quote_exact(struct tg_buf *out, struct tg_str text)
{
    return quote(out, text, true);
}
