/* Reading validated JSON in one pass: unlike tg_json_walk, which must know where a container ends, a cursor
 * goes into it and finds the end when it gets there, so that a batch is not scanned once to find its end,
 * once to find its items and once to find their members. Every function takes text that tg_json_validate has
 * seen; on other text it stays inside the text and stops somewhere. */
#ifndef TG_BASE_JSON_CURSOR_H
#define TG_BASE_JSON_CURSOR_H

#include "base/json.h"

struct tg_cursor {
    const char *at, *end;
};

static inline void tg_cursor_skip_space(struct tg_cursor *c, char also)
{
    while (c->at < c->end &&
           (*c->at == also || *c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

/* Goes in: behind the opening bracket on which the cursor stands. */
static inline void tg_cursor_enter(struct tg_cursor *c)
{
    c->at++;
}

/* To the next item of the array that it is in; false, and behind the closing bracket, when there is none. */
static inline bool tg_cursor_item(struct tg_cursor *c)
{
    tg_cursor_skip_space(c, ',');
    if (c->at < c->end && *c->at != ']')
        return true;
    c->at += c->at < c->end;
    return false;
}

/* To the value of the next member of the object that it is in, and whether escapes stand in its name; false,
 * and behind the closing bracket, when there is none. */
static inline bool tg_cursor_member(struct tg_cursor *c, struct tg_str *key, bool *escaped)
{
    tg_cursor_skip_space(c, ',');
    if (c->at == c->end || *c->at != '"') {
        c->at += c->at < c->end;
        return false;
    }
    const char *behind = tg_json_string_end(c->at, c->end, escaped);
    *key = tg_str_n(c->at, (size_t)(behind - c->at));
    c->at = behind;
    tg_cursor_skip_space(c, ':');
    return true;
}

/* Over the value on which it stands, and that value. */
static inline struct tg_str tg_cursor_value(struct tg_cursor *c)
{
    const char *first = c->at;
    if (first < c->end)
        c->at = tg_json_value_end(first, c->end);
    return tg_str_n(first, (size_t)(c->at - first));
}

#endif
