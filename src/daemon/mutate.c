#include "daemon/mutate.h"

#include "base/json.h"

#include <limits.h>

static const char *const values[] = {"null",
                                     "true",
                                     "false",
                                     "0",
                                     "-1",
                                     "1e999",
                                     "12345678901234567890",
                                     "0.1",
                                     "\"\"",
                                     "\" \"",
                                     "[]",
                                     "{}",
                                     "[null]",
                                     "[[]]",
                                     "{\"a\":{\"b\":[1,null]}}",
                                     "\"a\\r\\nX-Evil: 1\"",
                                     "\"\\u0000\"",
                                     "\"\\ud800\"",
                                     "\"%00&=?#/..\"",
                                     "\"https://user@[::1]:99999/?#\"",
                                     "\"1970-01-01T00:00:00Z\"",
                                     "\"NaN\"",
                                     "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                     "[{},[],0,\"\"]"};
enum { VALUES = sizeof values / sizeof *values };

struct mutation {
    struct tg_buf *out;
    unsigned state;
    int rc;
};

static unsigned draw(struct mutation *m, unsigned below)
{
    m->state = m->state * 1664525 + 1013904223;
    return (m->state >> 8) % below;
}

static void put(struct mutation *m, struct tg_str text)
{
    if (!m->rc)
        m->rc = tg_buf_addstr(m->out, text);
}

static void value(struct mutation *m, struct tg_str v, bool top);

static void members(struct mutation *m, struct tg_str v, bool top)
{
    bool object = tg_json_type(v) == TG_JSON_OBJECT, first = true;
    struct tg_json_walk w = tg_json_walk(v);
    put(m, object ? TG_STR("{") : TG_STR("["));
    while (tg_json_next(&w)) {
        bool keep = top && tg_json_key_is(w.key, "type");
        if (!keep && draw(m, 12) == 0)
            continue;
        put(m, first ? TG_STR("") : TG_STR(","));
        first = false;
        if (object) {
            put(m, w.key);
            put(m, TG_STR(":"));
        }
        if (keep)
            put(m, w.value);
        else
            value(m, w.value, false);
    }
    put(m, object ? TG_STR("}") : TG_STR("]"));
}

static void value(struct mutation *m, struct tg_str v, bool top)
{
    enum tg_json_type type = tg_json_type(v);
    if (!top && draw(m, 6) == 0)
        put(m, tg_str_of(values[draw(m, VALUES)]));
    else if (type == TG_JSON_OBJECT || type == TG_JSON_ARRAY)
        members(m, v, top);
    else
        put(m, v);
}

/* --- long texts --- */

enum { LONG_BYTES = 300 * 1000 };

static const char *const shapes[] = {"a", " ", "1", "a ", "a@", "1.", "%2F", "?a=b&", "\xc3\xa9"};

struct lengthening {
    struct tg_buf *out;
    const char *shape;
    unsigned left; /* texts before the one that becomes long */
    unsigned texts;
    int rc;
};

static void add(struct lengthening *l, struct tg_str text)
{
    if (!l->rc && l->out)
        l->rc = tg_buf_addstr(l->out, text);
}

static void long_text(struct lengthening *l)
{
    struct tg_str shape = tg_str_of(l->shape);
    add(l, TG_STR("\""));
    for (size_t n = 0; n < LONG_BYTES; n += shape.n)
        add(l, shape);
    add(l, TG_STR("\""));
}

/* Copies v; with no `out`, counts its texts. */
static void lengthen(struct lengthening *l, struct tg_str v, bool top)
{
    enum tg_json_type type = tg_json_type(v);
    if (type == TG_JSON_STRING && l->texts++ == l->left) {
        long_text(l);
        return;
    }
    if (type != TG_JSON_OBJECT && type != TG_JSON_ARRAY) {
        add(l, v);
        return;
    }
    struct tg_json_walk w = tg_json_walk(v);
    struct tg_str before = TG_STR("");
    add(l, type == TG_JSON_OBJECT ? TG_STR("{") : TG_STR("["));
    while (tg_json_next(&w)) {
        bool keep = top && (tg_json_key_is(w.key, "type") || tg_json_key_is(w.key, "messageId"));
        add(l, before);
        before = TG_STR(",");
        if (type == TG_JSON_OBJECT) {
            add(l, w.key);
            add(l, TG_STR(":"));
        }
        if (keep)
            add(l, w.value);
        else
            lengthen(l, w.value, false);
    }
    add(l, type == TG_JSON_OBJECT ? TG_STR("}") : TG_STR("]"));
}

int tg_mutate_long(struct tg_str json, unsigned seed, struct tg_buf *out)
{
    struct tg_str v;
    int rc = tg_json_validate(json, TG_JSON_MAX_DEPTH, &v, NULL);
    if (rc)
        return rc;
    struct lengthening count = {.left = UINT_MAX};
    lengthen(&count, v, true);
    struct lengthening l = {.out = out,
                            .shape = shapes[seed % (sizeof shapes / sizeof *shapes)],
                            .left = count.texts ? seed * 2654435761u % count.texts : 0};
    lengthen(&l, v, true);
    return l.rc;
}

int tg_mutate_json(struct tg_str json, unsigned seed, struct tg_buf *out)
{
    struct mutation m = {out, seed * 2654435761u, TG_OK};
    struct tg_str v;
    int rc = tg_json_validate(json, TG_JSON_MAX_DEPTH, &v, NULL);
    if (rc)
        return rc;
    value(&m, v, true);
    return m.rc;
}
