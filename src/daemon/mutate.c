#include "daemon/mutate.h"

#include "base/json.h"

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
