/* Members are encoded in the order in which the table gives them, each as a text `,"name":value` behind the
 * others; then these are put in order, and the first comma becomes the bracket. Nothing is looked up twice.
 */
#include "script/json_write.h"

#include "base/json.h"
#include "script/fill.h"
#include "script/json_exact.h"
#include "script/json_state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATH_STEPS = 12 }; /* as many steps of a path are shown in messages */

struct step {
    struct tg_str name; /* of a member; p is NULL for an item */
    int index;
};

struct writer {
    lua_State *L;
    struct tg_json_state *state;
    struct tg_buf *out;
    int env; /* of the codec, on the stack */
    unsigned depth;
    struct step path[TG_JSON_MAX_DEPTH];
    char *why;
    size_t why_size;
};

static int write_value(struct writer *w, int idx); /* idx: absolute, or -1 */

/* Writes "properties.products[3].price: " for the person; how many bytes it took. */
static size_t describe_path(const struct writer *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->depth && n < w->why_size; i++) {
        const struct step *s = &w->path[i];
        int made;
        if (i == PATH_STEPS)
            made = snprintf(w->why + n, w->why_size - n, "…");
        else if (!s->name.p && !s->index)
            break; /* the table itself, before its first key */
        else if (s->name.p)
            made = snprintf(w->why + n, w->why_size - n, "%s%.*s", i ? "." : "",
                            (int)(s->name.n < 64 ? s->name.n : 64), s->name.p);
        else
            made = snprintf(w->why + n, w->why_size - n, "[%d]", s->index);
        n += made > 0 ? (size_t)made : 0;
        if (i == PATH_STEPS)
            break;
    }
    if (n && n < w->why_size)
        n += (size_t)snprintf(w->why + n, w->why_size - n, ": ");
    return n;
}

static int TG_PRINTF(3, 4) refuse(struct writer *w, int code, const char *fmt, ...)
{
    if (w->why_size == 0)
        return code;
    size_t n = describe_path(w);
    if (n < w->why_size) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(w->why + n, w->why_size - n, fmt, ap);
        va_end(ap);
    }
    return code;
}

/* Passes a result of the output on, with words when it is a failure. */
static int added(struct writer *w, int rc)
{
    if (rc == TG_TOOBIG)
        return refuse(w, rc, "the text would be longer than %zu bytes", w->out->max);
    return rc ? refuse(w, rc, "out of memory") : TG_OK;
}

static int write_number(struct writer *w, double x)
{
    char text[TG_JSON_NUMBER_MAX];
    size_t n = tg_json_format(text, x);
    if (n == 0)
        return refuse(w, TG_INVALID, "%s is not a JSON number", isnan(x) ? "NaN" : x < 0 ? "-inf" : "inf");
    return added(w, tg_buf_add(w->out, text, n));
}

/* Room for n more bytes, which are nearly always there. */
static inline int room(struct writer *w, size_t n)
{
    const struct tg_buf *out = w->out;
    size_t most = out->cap < out->max ? out->cap : out->max;
    if (out->data && most - out->len >= n)
        return TG_OK;
    return added(w, tg_buf_reserve(w->out, n));
}

static int write_char(struct writer *w, char c)
{
    int rc = room(w, 1);
    if (!rc)
        w->out->data[w->out->len++] = c;
    return rc;
}

static int write_odd_string(struct writer *w, const char *p, size_t n)
{
    int rc = tg_json_quote_exact(w->out, tg_str_n(p, n));
    if (rc == TG_INVALID)
        return refuse(w, rc, "invalid UTF-8 at byte %zu of a string", tg_json_utf8(p, n) + 1);
    return added(w, rc);
}

/* A string, between `before` and `after` where these are not 0. */
static inline int write_text(struct writer *w, char before, const char *p, size_t n, char after)
{
    int rc = room(w, n + 2 + (before != 0) + (after != 0));
    if (rc)
        return rc;
    char *to = w->out->data + w->out->len;
    if (before)
        *to++ = before;
    if (tg_json_is_plain(tg_str_n(p, n))) {
        *to++ = '"';
        memcpy(to, p, n);
        to += n;
        *to++ = '"';
    } else {
        w->out->len = (size_t)(to - w->out->data);
        rc = write_odd_string(w, p, n);
        if (!rc && after)
            rc = room(w, 1);
        if (rc)
            return rc;
        to = w->out->data + w->out->len;
    }
    if (after)
        *to++ = after;
    w->out->len = (size_t)(to - w->out->data);
    return TG_OK;
}

static int write_string(struct writer *w, int idx)
{
    size_t n;
    const char *p = lua_tolstring(w->L, idx, &n);
    return write_text(w, 0, p, n, 0);
}

static int write_userdata(struct writer *w, int idx)
{
    struct tg_str digits;
    if (!tg_exact_at(w->L, idx, &digits))
        return refuse(w, TG_INVALID, "a userdata value cannot be JSON");
    return added(w, tg_buf_addstr(w->out, digits));
}

static int write_light(struct writer *w, int idx)
{
    const void *p = lua_touserdata(w->L, idx);
    if (p && p != &tg_json_empty_array)
        return refuse(w, TG_INVALID, "a userdata value cannot be JSON");
    return added(w, tg_buf_adds(w->out, p ? "[]" : "null"));
}

/* Whether the table at idx, which has n items, has other keys too. */
static bool has_other_keys(lua_State *L, int idx, int n)
{
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        if (n-- == 0) {
            lua_pop(L, 1);
            return true;
        }
    }
    return false;
}

/* The table at idx, whose step has been taken, is no array: only its first n items are in place. */
static int refuse_items(struct writer *w, int n)
{
    w->depth--; /* the fault is the table's, not an item's */
    return refuse(w, TG_INVALID, "an array with keys that are not 1 to %d without holes", n);
}

static int write_items(struct writer *w, int idx)
{
    size_t begin = w->out->len;
    int n = (int)lua_objlen(w->L, idx), rc = TG_OK;
    for (int i = 1; i <= n && !rc; i++) {
        w->path[w->depth - 1].index = i;
        lua_rawgeti(w->L, idx, i);
        if (lua_isnil(w->L, -1))
            return refuse_items(w, i - 1);
        rc = write_char(w, ',');
        if (!rc)
            rc = write_value(w, -1);
        lua_pop(w->L, 1);
    }
    if (rc)
        return rc;
    if (has_other_keys(w->L, idx, n))
        return refuse_items(w, n);
    if (n == 0)
        return added(w, tg_buf_adds(w->out, "[]"));
    w->out->data[begin] = '[';
    return write_char(w, ']');
}

/* Key and value are on top of the stack. */
static inline int write_member(struct writer *w)
{
    lua_State *L = w->L;
    struct tg_members *members = &w->state->members;
    struct tg_str *name = &w->path[w->depth - 1].name;
    size_t number;
    if (lua_type(L, -2) != LUA_TSTRING) {
        w->depth--;
        return refuse(w, TG_INVALID, "an object with a key that is a %s", luaL_typename(L, -2));
    }
    name->p = lua_tolstring(L, -2, &name->n);
    if (tg_members_open(members, *name, w->out->len, &number))
        return added(w, TG_NOMEM);
    int rc = write_text(w, ',', name->p, name->n, ':');
    if (!rc)
        rc = write_value(w, -1);
    tg_members_close(members, number, w->out->len);
    return rc;
}

/* The first key of the table is on top of the stack, its value above it. */
static int write_members(struct writer *w, int idx)
{
    size_t begin = w->out->len, first = w->state->members.n;
    do {
        int rc = write_member(w);
        if (rc)
            return rc;
        lua_pop(w->L, 1);
    } while (lua_next(w->L, idx));
    int rc = added(w, tg_members_order(&w->state->members, first, w->out));
    if (rc)
        return rc;
    w->out->data[begin] = '{';
    return write_char(w, '}');
}

static int write_table(struct writer *w, int idx)
{
    lua_State *L = w->L;
    int rc;
    if (w->depth == TG_JSON_MAX_DEPTH)
        return refuse(w, TG_TOOBIG, "nested deeper than %d levels; does a table contain itself?",
                      (int)TG_JSON_MAX_DEPTH);
    if (!lua_checkstack(L, 8))
        return refuse(w, TG_NOMEM, "out of Lua stack");
    if (idx < 0)
        idx = lua_gettop(L) + 1 + idx;
    bool array = tg_json_is_marked(L, idx, w->env, TG_JSON_ARRAY_MT);
    if (!array)
        tg_lua_fill(L, idx);
    w->path[w->depth++] = (struct step){0};
    lua_pushnil(L);
    if (array || !lua_next(L, idx)) {
        if (array)
            lua_pop(L, 1);
        else
            array = tg_json_is_marked(L, idx, w->env, TG_JSON_EMPTY_ARRAY_MT);
        rc = array ? write_items(w, idx) : added(w, tg_buf_adds(w->out, "{}"));
    } else if (lua_type(L, -2) == LUA_TNUMBER) {
        lua_pop(L, 2);
        rc = write_items(w, idx);
    } else {
        rc = write_members(w, idx);
    }
    if (!rc)
        w->depth--;
    return rc;
}

static int write_value(struct writer *w, int idx)
{
    switch (lua_type(w->L, idx)) {
    case LUA_TSTRING:
        return write_string(w, idx);
    case LUA_TNUMBER:
        return write_number(w, lua_tonumber(w->L, idx));
    case LUA_TTABLE:
        return write_table(w, idx);
    case LUA_TBOOLEAN:
        return added(w, tg_buf_adds(w->out, lua_toboolean(w->L, idx) ? "true" : "false"));
    case LUA_TNIL:
        return added(w, tg_buf_adds(w->out, "null"));
    case LUA_TLIGHTUSERDATA:
        return write_light(w, idx);
    case LUA_TUSERDATA:
        return write_userdata(w, idx);
    default:
        return refuse(w, TG_INVALID, "a %s value cannot be JSON", luaL_typename(w->L, idx));
    }
}

int tg_lua_encode_json(lua_State *L, int index, struct tg_buf *out, char *why, size_t why_size)
{
    struct writer w;
    size_t before = out->len;
    int top = lua_gettop(L), idx = index > 0 || index <= LUA_REGISTRYINDEX ? index : top + index + 1;
    w.L = L;
    w.state = tg_json_state_push(L);
    w.out = out;
    w.env = top + 1;
    w.depth = 0;
    w.why = why;
    w.why_size = why_size;
    w.state->members.n = 0; /* an earlier call may have been left by a Lua error */
    int rc = write_value(&w, idx);
    lua_settop(L, top);
    if (rc)
        out->len = before;
    if (out != &w.state->out) /* that would be given back with what was just written */
        tg_json_state_trim(w.state);
    return rc;
}
