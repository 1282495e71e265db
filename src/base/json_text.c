#include "base/json_text.h"

#include "base/json_bytes.h"
#include "base/json_utf8.h"

static char control_of(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter; /* quote, backslash, slash */
    }
}

/* Reads the escape at *p into out; how many bytes it made. */
static unsigned unescape(const char **p, const char *end, char out[4])
{
    unsigned code, low;
    const char *at = *p + 1;
    if (at >= end) {
        *p = end;
        return 0;
    }
    if (*at != 'u' || !four_hex(at + 1, end, &code)) {
        *p = at + 1;
        out[0] = control_of(*at);
        return 1;
    }
    *p = at + 5;
    if (code < 0xd800 || code > 0xdfff)
        return tg_utf8_put(out, code);
    if (code < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' && four_hex(*p + 2, end, &low) &&
        low >= 0xdc00 && low <= 0xdfff) {
        *p += 6;
        return tg_utf8_put(out, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
    }
    return tg_utf8_put(out, 0xfffd);
}

static bool between_quotes(struct tg_str s, struct tg_str *inner)
{
    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return false;
    *inner = tg_str_n(s.p + 1, s.n - 2);
    return true;
}

/* Whether `raw` (with escapes) decodes to `name`. */
static bool decodes_to(struct tg_str raw, struct tg_str name)
{
    const char *p = raw.p, *end = p + raw.n, *want = name.p, *want_end = want + name.n;
    while (p < end) {
        char bytes[4];
        unsigned n = 1;
        if (*p == '\\')
            n = unescape(&p, end, bytes);
        else
            bytes[0] = *p++;
        if ((size_t)(want_end - want) < n || memcmp(want, bytes, n) != 0)
            return false;
        want += n;
    }
    return want == want_end;
}

bool tg_json_key_equals(struct tg_str key, struct tg_str name)
{
    struct tg_str raw;
    if (!between_quotes(key, &raw) || raw.n < name.n)
        return false;
    if (raw.n == 0)
        return true;
    /* An escape is always longer than what it stands for: of equal length means without any. */
    if (raw.n == name.n)
        return memcmp(raw.p, name.p, raw.n) == 0 && !memchr(raw.p, '\\', raw.n);
    return memchr(raw.p, '\\', raw.n) && decodes_to(raw, name);
}

bool tg_json_key_is(struct tg_str key, const char *name)
{
    return tg_json_key_equals(key, tg_str_of(name));
}

bool tg_json_plain(struct tg_str string, struct tg_str *out)
{
    struct tg_str raw;
    if (!between_quotes(string, &raw) || (raw.n && memchr(raw.p, '\\', raw.n)))
        return false;
    *out = raw;
    return true;
}

int tg_json_text(struct tg_str string, struct tg_buf *out)
{
    struct tg_str raw;
    if (!between_quotes(string, &raw))
        return TG_INVALID;
    int rc = tg_buf_reserve(out, raw.n); /* decoded text is never longer */
    if (rc)
        return rc;
    const char *p = raw.p, *end = p + raw.n;
    char *to = out->data + out->len;
    while (p < end) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        size_t n = (size_t)((escape ? escape : end) - p);
        memcpy(to, p, n);
        to += n;
        p += n;
        if (escape) {
            char bytes[4];
            unsigned made = unescape(&p, end, bytes);
            memcpy(to, bytes, made);
            to += made;
        }
    }
    out->len = (size_t)(to - out->data);
    return TG_OK;
}
