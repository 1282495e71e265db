/* JSON text: validation, walking and strings. The contract is in json.h; numbers are in json_number.c.
 *
 * Two families of functions share this file. The scan_* functions judge bytes from outside: they look at
 * every byte once, keep the kinds of open containers in a bit set instead of recursing, and name the offset
 * of the first fault. The skip_* functions step over text that has passed: they only look for quotes;
 * json_skip.c counts brackets. Both stay inside their span whatever it holds.
 *
 * Most bytes of an event stand inside strings, so the loops over string bytes take 16 bytes at a time with
 * SSE2, and 8 with plain 64-bit arithmetic elsewhere (TG_JSON_PORTABLE asks for the latter, for its tests).
 */
#include "base/json.h"

#include "base/json_skip.h"

#if defined(__SSE2__) && !defined(TG_JSON_PORTABLE)
#include <emmintrin.h>
#define USE_SSE2 1
#else
#define USE_SSE2 0
#endif

enum { DEPTH_CEILING = 1024 };

/* --- bytes --- */

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

/* --- UTF-8 --- */

static inline bool between(unsigned char c, unsigned low, unsigned high)
{
    return c >= low && c <= high;
}

/* How many bytes of a sequence of two or more bytes are right (Unicode table 3-7); *whole is how many it
 * wants: the sequence is valid when both are equal. *whole is 0 for a byte that begins nothing. */
static unsigned utf8_right(const unsigned char *p, size_t n, unsigned *whole)
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

size_t tg_json_utf8(const char *p, size_t n)
{
    const char *at = p, *end = p + n;
    while (at < end) {
        at = skip_plain(at, end);
        if (at == end)
            break;
        if (!((unsigned char)*at & 0x80)) {
            at++;
            continue;
        }
        unsigned whole, right = utf8_right((const unsigned char *)at, (size_t)(end - at), &whole);
        if (right != whole)
            break;
        at += whole;
    }
    return (size_t)(at - p);
}

static unsigned utf8_put(char *out, unsigned code)
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

/* --- validation --- */

struct scan {
    const char *begin, *at, *end;
    unsigned depth, max_depth;
    uint64_t objects[DEPTH_CEILING / 64]; /* bit d: the container at depth d is an object */
    struct tg_err *err;
};

static int fault_at(struct scan *s, const char *where, const char *what)
{
    return tg_fail(s->err, TG_INVALID, "JSON, byte %zu: %s", (size_t)(where - s->begin), what);
}

static inline bool in_object(const struct scan *s)
{
    return s->objects[s->depth / 64] >> (s->depth % 64) & 1;
}

static bool four_hex(const char *p, const char *end, unsigned *code)
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

/* At a backslash. */
static int scan_escape(struct scan *s)
{
    const char *p = s->at + 1;
    unsigned code;
    if (p == s->end)
        return fault_at(s, s->at, "the text ends inside a string");
    if (*p == 'u') {
        if (!four_hex(p + 1, s->end, &code))
            return fault_at(s, s->at, "\\u must be followed by four hexadecimal digits");
        s->at = p + 5;
        return TG_OK;
    }
    if (!*p || !strchr("\"\\/bfnrt", *p))
        return fault_at(s, s->at, "unknown escape in a string");
    s->at = p + 1;
    return TG_OK;
}

/* At a byte of 0x80 or above. */
static inline int scan_utf8(struct scan *s)
{
    unsigned whole, right = utf8_right((const unsigned char *)s->at, (size_t)(s->end - s->at), &whole);
    if (right != whole)
        return fault_at(s, s->at, "invalid UTF-8 in a string");
    s->at += whole;
    return TG_OK;
}

/* In a string, at a byte that does not stand for itself. */
static __attribute__((noinline)) int scan_rest(struct scan *s, const char *open)
{
    for (; s->at < s->end; s->at = skip_plain(s->at, s->end)) {
        if (*s->at == '"') {
            s->at++;
            return TG_OK;
        }
        if ((unsigned char)*s->at < 0x20)
            return fault_at(s, s->at, "a control character in a string must be escaped");
        int rc = *s->at == '\\' ? scan_escape(s) : scan_utf8(s);
        if (rc)
            return rc;
    }
    return fault_at(s, open, "this string is not closed");
}

/* At a quote. */
static inline int scan_string(struct scan *s)
{
    const char *open = s->at, *p = skip_plain(open + 1, s->end);
    if (p < s->end && *p == '"') { /* nearly always */
        s->at = p + 1;
        return TG_OK;
    }
    s->at = p;
    return scan_rest(s, open);
}

static inline int scan_number(struct scan *s)
{
    const char *begin = s->at, *p = begin + (*begin == '-');
    const char *digits = p;
    p = skip_digits(p, s->end);
    bool good = p > digits && (*digits != '0' || p == digits + 1);
    if (good && p < s->end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, s->end);
        good = p > digits;
    }
    if (good && p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < s->end && (*p == '+' || *p == '-');
        digits = p;
        p = skip_digits(p, s->end);
        good = p > digits;
    }
    if (!good)
        return fault_at(s, begin, "malformed number");
    s->at = p;
    return TG_OK;
}

static int scan_word(struct scan *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return fault_at(s, s->at, "expected a value");
    s->at += n;
    return TG_OK;
}

static inline int scan_scalar(struct scan *s)
{
    switch (*s->at) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true", 4);
    case 'f':
        return scan_word(s, "false", 5);
    case 'n':
        return scan_word(s, "null", 4);
    default:
        if (*s->at != '-' && !is_digit(*s->at))
            return fault_at(s, s->at, "expected a value");
        return scan_number(s);
    }
}

/* A member's name and its colon. */
static inline int scan_key(struct scan *s)
{
    s->at = skip_space(s->at, s->end);
    if (s->at == s->end || *s->at != '"')
        return fault_at(s, s->at, "expected a member name in quotes");
    int rc = scan_string(s);
    if (rc)
        return rc;
    s->at = skip_space(s->at, s->end);
    if (s->at == s->end || *s->at != ':')
        return fault_at(s, s->at, "expected ':' after a member name");
    s->at++;
    return TG_OK;
}

/* Behind a value: closes what ends here, up to the next value (or the end, with depth 0). */
static inline int scan_after(struct scan *s)
{
    while (s->depth) {
        s->at = skip_space(s->at, s->end);
        bool object = in_object(s);
        if (s->at == s->end)
            return fault_at(s, s->at,
                            object ? "the text ends inside an object" : "the text ends inside an array");
        if (*s->at == ',') {
            s->at++;
            return object ? scan_key(s) : TG_OK;
        }
        if (*s->at != (object ? '}' : ']'))
            return fault_at(s, s->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
        s->at++;
        s->depth--;
    }
    return TG_OK;
}

/* At a bracket. */
static inline int scan_open(struct scan *s, bool object)
{
    if (s->depth == s->max_depth)
        return tg_fail(s->err, TG_TOOBIG, "JSON, byte %zu: nested deeper than %u levels",
                       (size_t)(s->at - s->begin), s->max_depth);
    s->depth++;
    uint64_t bit = 1ULL << (s->depth % 64), *word = &s->objects[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->at = skip_space(s->at + 1, s->end);
    if (s->at < s->end && *s->at == (object ? '}' : ']'))
        return scan_after(s);
    return object ? scan_key(s) : TG_OK;
}

static int scan_document(struct scan *s)
{
    do {
        s->at = skip_space(s->at, s->end);
        if (s->at == s->end)
            return fault_at(s, s->at, s->depth ? "the text ends where a value is expected" : "no value");
        int rc;
        if (*s->at == '{' || *s->at == '[')
            rc = scan_open(s, *s->at == '{');
        else if (!(rc = scan_scalar(s)))
            rc = scan_after(s);
        if (rc)
            return rc;
    } while (s->depth);
    return TG_OK;
}

int tg_json_validate(struct tg_str text, unsigned max_depth, struct tg_str *value, struct tg_err *err)
{
    struct scan s = {.err = err};
    s.begin = text.n ? text.p : "";
    s.end = s.begin + text.n;
    s.at = skip_space(s.begin, s.end);
    s.max_depth = max_depth < DEPTH_CEILING ? max_depth : DEPTH_CEILING - 1;
    const char *first = s.at;
    int rc = scan_document(&s);
    if (rc)
        return rc;
    const char *last = s.at;
    s.at = skip_space(s.at, s.end);
    if (s.at != s.end)
        return fault_at(&s, s.at, "something follows the value");
    if (value)
        *value = tg_str_n(first, (size_t)(last - first));
    return TG_OK;
}

/* --- walking --- */

/* Behind the string that opens at p. */
static inline const char *skip_string(const char *p, const char *end)
{
    p++;
    for (;;) {
        p = skip_to_quote(p, end);
        if (p == end)
            return end;
        if (*p == '"')
            return p + 1;
        if (end - p < 2)
            return end;
        p += 2;
    }
}

const char *tg_json_string_end(const char *p, const char *end, bool *escaped)
{
    const char *q = skip_to_quote(p + 1, end);
    *escaped = q < end && *q == '\\';
    return *escaped ? skip_string(q - 1, end) : q < end ? q + 1 : end;
}

static inline const char *skip_value(const char *p, const char *end)
{
    if (*p == '"')
        return skip_string(p, end);
    if (*p == '{' || *p == '[')
        return tg_json_container_end(p, end);
    while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ':' && !is_space(*p))
        p++;
    return p;
}

const char *tg_json_value_end(const char *p, const char *end)
{
    return skip_value(p, end);
}

enum tg_json_type tg_json_type(struct tg_str value)
{
    switch (value.n ? value.p[0] : 'n') {
    case 'n':
        return TG_JSON_NULL;
    case 't':
    case 'f':
        return TG_JSON_BOOL;
    case '"':
        return TG_JSON_STRING;
    case '[':
        return TG_JSON_ARRAY;
    case '{':
        return TG_JSON_OBJECT;
    default:
        return TG_JSON_NUMBER;
    }
}

struct tg_json_walk tg_json_walk(struct tg_str v)
{
    struct tg_json_walk w = {0};
    if (v.n >= 2 && (v.p[0] == '{' || v.p[0] == '[')) {
        w.at = v.p + 1;
        w.end = v.p + v.n - 1; /* the closing bracket */
    }
    return w;
}

bool tg_json_next(struct tg_json_walk *w)
{
    const char *p = w->at;
    while (p < w->end && (*p == ',' || is_space(*p)))
        p++;
    if (p == w->end)
        return false;
    const char *first = p;
    w->key = (struct tg_str){0};
    if (*w->end == '}') {
        p = skip_value(p, w->end);
        w->key = tg_str_n(first, (size_t)(p - first));
        while (p < w->end && (*p == ':' || is_space(*p)))
            p++;
    }
    const char *value = p;
    if (p < w->end)
        p = skip_value(p, w->end);
    w->value = tg_str_n(value, (size_t)(p - value));
    w->whole = tg_str_n(first, (size_t)(p - first));
    w->at = p;
    return p > first; /* a stray bracket would not move: only text that was never validated has one */
}

/* --- strings --- */

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
        return utf8_put(out, code);
    if (code < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' && four_hex(*p + 2, end, &low) &&
        low >= 0xdc00 && low <= 0xdfff) {
        *p += 6;
        return utf8_put(out, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
    }
    return utf8_put(out, 0xfffd);
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

static bool key_equals(struct tg_str key, struct tg_str name)
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
    return key_equals(key, tg_str_of(name));
}

static bool is_object(struct tg_str v)
{
    return v.n && v.p[0] == '{';
}

bool tg_json_may_have(struct tg_str text, struct tg_str quoted)
{
    if (text.n == 0)
        return false;
    /* An escape could hide the name. */
    return memmem(text.p, text.n, quoted.p, quoted.n) ||
           (memchr(text.p, '\\', text.n) && memmem(text.p, text.n, "\\u", 2));
}

struct tg_str tg_json_get(struct tg_str object, const char *name)
{
    struct tg_str found = {0}, wanted = tg_str_of(name);
    if (!is_object(object))
        return found;
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w)) {
        if (key_equals(w.key, wanted))
            found = w.value;
    }
    return found;
}

static struct tg_str item_at(struct tg_str array, struct tg_str step)
{
    size_t index = 0;
    if (step.n == 0 || step.n > 9 || (step.p[0] == '0' && step.n > 1))
        return (struct tg_str){0};
    for (size_t i = 0; i < step.n; i++) {
        if (!is_digit(step.p[i]))
            return (struct tg_str){0};
        index = index * 10 + (size_t)(step.p[i] - '0');
    }
    struct tg_json_walk w = tg_json_walk(array);
    while (tg_json_next(&w)) {
        if (index-- == 0)
            return w.value;
    }
    return (struct tg_str){0};
}

/* One step down. *whole is set when the member found is named by all that is left of the path. */
static struct tg_str step_down(struct tg_str value, struct tg_str step, struct tg_str rest, bool *whole)
{
    struct tg_str found = {0};
    *whole = false;
    if (!is_object(value))
        return item_at(value, step);
    struct tg_json_walk w = tg_json_walk(value);
    while (tg_json_next(&w)) {
        if (key_equals(w.key, rest)) {
            found = w.value;
            *whole = true;
        } else if (!*whole && key_equals(w.key, step)) {
            found = w.value;
        }
    }
    return found;
}

struct tg_str tg_json_path(struct tg_str value, struct tg_str path)
{
    if (!path.p)
        path.p = "";
    for (;;) {
        const char *dot = path.n ? memchr(path.p, '.', path.n) : NULL;
        struct tg_str step = dot ? tg_str_n(path.p, (size_t)(dot - path.p)) : path;
        bool whole;
        value = step_down(value, step, path, &whole);
        if (whole || !dot || value.n == 0)
            return value;
        path = tg_str_n(dot + 1, path.n - step.n - 1);
    }
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
    right = utf8_right((const unsigned char *)*p, (size_t)(end - *p), &whole);
    if (right == whole)
        memcpy(out, *p, n = whole);
    else
        n = utf8_put(out, 0xfffd);
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
