/* The skip_* functions step over text that has passed validation: they only look for quotes; json_skip.c
 * counts brackets. They stay inside their span whatever it holds. */
#include "base/json_walk.h"

#include "base/json_bytes.h"
#include "base/json_skip.h"

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
