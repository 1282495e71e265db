/* What json_quick.c does not let pass comes here. The scan_* functions judge bytes from outside: they look at
 * every byte once, keep the kinds of open containers in a bit set instead of recursing, and name the offset
 * of the first fault. They stay inside their span whatever it holds. */
#include "base/json_validate.h"

#include "base/json_bytes.h"
#include "base/json_quick.h"
#include "base/json_utf8.h"

struct scan {
    const char *begin, *at, *end;
    unsigned depth, max_depth;
    uint64_t objects[TG_JSON_DEPTH_CEILING / 64]; /* bit d: the container at depth d is an object */
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
    unsigned whole, right = tg_utf8_right((const unsigned char *)s->at, (size_t)(s->end - s->at), &whole);
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
    const char *behind = number_end(s->at, s->end);
    if (!behind)
        return fault_at(s, s->at, "malformed number");
    s->at = behind;
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

/* The portable build is the one that json_quick.c is tested against. */
static inline bool is_right(struct tg_str text, unsigned max_depth)
{
#if defined(TG_JSON_PORTABLE)
    (void)text;
    (void)max_depth;
    return false;
#else
    return tg_json_quick(text, max_depth);
#endif
}

int tg_json_validate(struct tg_str text, unsigned max_depth, struct tg_str *value, struct tg_err *err)
{
    struct scan s = {.err = err};
    s.max_depth = max_depth < TG_JSON_DEPTH_CEILING ? max_depth : TG_JSON_DEPTH_CEILING - 1;
    if (is_right(text, s.max_depth)) {
        if (value)
            *value = tg_str_trim(text);
        return TG_OK;
    }
    s.begin = text.n ? text.p : "";
    s.end = s.begin + text.n;
    s.at = skip_space(s.begin, s.end);
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
