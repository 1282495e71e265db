/* Text is validated before it comes here (json.decode) or was when it came in (events): the reader trusts the
 * grammar and looks at each byte once. Growing a Lua table step by step costs more than all the rest, so
 * tables are made with the right size: an array's first PENDING items wait on the Lua stack until their
 * number is known; an object is made by the constructor of its shape (json_shape.h), or is taken to have as
 * many members as the last one that began like it, which is nearly always right for events. A wrong guess
 * costs a little memory or a rehash; it is put right at the end of each object. */
#include "script/json_read.h"

#include "base/json.h"
#include "script/json_exact.h"
#include "script/json_state.h"

#include <lauxlib.h>
#include <string.h>

enum {
    PENDING = 24, /* a stack of MAX_DEPTH * (PENDING + some) slots is well within Lua's limit of 8000 */
    MOST_GUESSED = 64,
};

struct reader {
    lua_State *L;
    struct tg_json_state *state;
    const char *at, *end;
    int env, array_mt; /* stack indices */
    unsigned depth;
    bool null_as_nil;
};

static void read_value(struct reader *r);

/* The next byte that is not white space; 0 at the end. */
static inline char peek(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
    return r->at < r->end ? *r->at : '\0';
}

static inline void read_string(struct reader *r)
{
    bool escaped;
    const char *open = r->at;
    r->at = tg_json_string_end(open, r->end, &escaped);
    size_t n = (size_t)(r->at - open);
    if (!escaped) {
        lua_pushlstring(r->L, open + 1, n >= 2 ? n - 2 : 0);
        return;
    }
    tg_buf_clear(&r->state->text);
    if (tg_json_text(tg_str_n(open, n), &r->state->text))
        luaL_error(r->L, "JSON: no memory for a string of %d bytes", (int)n);
    lua_pushlstring(r->L, r->state->text.data, r->state->text.len);
}

static inline bool ends_number(char c)
{
    return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void read_number(struct reader *r)
{
    const char *begin = r->at;
    double x;
    while (r->at < r->end && !ends_number(*r->at))
        r->at++;
    struct tg_str text = tg_str_n(begin, (size_t)(r->at - begin));
    if (tg_json_exact(text, &x))
        lua_pushnumber(r->L, x);
    else if (text.n)
        tg_exact_push(r->L, text);
    else
        luaL_error(r->L, "JSON: expected a value");
}

/* Steps into a container. */
static void enter(struct reader *r)
{
    if (++r->depth > TG_JSON_MAX_DEPTH)
        luaL_error(r->L, "JSON: nested deeper than %d levels", (int)TG_JSON_MAX_DEPTH);
    luaL_checkstack(r->L, PENDING + 8, "JSON");
    r->at++;
}

/* Moves the n items above slot into a new array there, with room for `room` of them. */
static void place_items(lua_State *L, int slot, int n, int room)
{
    lua_createtable(L, room, 0);
    lua_replace(L, slot);
    for (int i = n; i >= 1; i--)
        lua_rawseti(L, slot, i);
}

static void read_array(struct reader *r)
{
    lua_State *L = r->L;
    int slot, n = 0;
    char c;
    enter(r);
    lua_pushnil(L); /* the table's place */
    slot = lua_gettop(L);
    while ((c = peek(r)) != ']' && c) {
        read_value(r);
        n++;
        if (n == PENDING)
            place_items(L, slot, n, 2 * PENDING);
        else if (n > PENDING)
            lua_rawseti(L, slot, n);
        if (peek(r) == ',')
            r->at++;
    }
    r->at += c == ']';
    if (n < PENDING)
        place_items(L, slot, n, n);
    lua_pushvalue(L, r->array_mt);
    lua_setmetatable(L, slot);
    r->depth--;
}

static inline void read_member_value(struct reader *r)
{
    if (peek(r) == 'n' && r->null_as_nil) {
        r->at += 4;
        lua_pushnil(r->L);
    } else {
        read_value(r);
    }
}

/* The members of an object from here on, into the table at `slot`; how many there were. */
static unsigned read_members(struct reader *r, int slot)
{
    unsigned n = 0;
    char c;
    while ((c = peek(r)) == '"') {
        read_string(r);
        if (peek(r) == ':')
            r->at++;
        read_member_value(r);
        lua_rawset(r->L, slot);
        n++;
        if (peek(r) == ',')
            r->at++;
    }
    r->at += c == '}';
    return n;
}

/* Pushes what members the object has of the shape, in its order, nil for those that are missing; how many
 * values that were. The reader is then where the first one stands that it does not have, or the bracket. */
static unsigned read_by_shape(struct reader *r, const struct tg_shape *shape)
{
    unsigned n = 0, pushed = 0, all = shape->n, learnt = shape->learnt;
    while (n < all && peek(r) == '"') {
        const char *value = tg_shape_name(shape, n++, r->at, r->end);
        if (!value)
            continue;
        for (; pushed + 1 < n; pushed++)
            lua_pushnil(r->L);
        r->at = value;
        read_member_value(r);
        pushed++;
        if (peek(r) == ',')
            r->at++;
        if (learnt != shape->learnt) /* a value has taught its own shape in this place */
            break;
    }
    return pushed;
}

static void read_object(struct reader *r)
{
    lua_State *L = r->L;
    enter(r);
    struct tg_shapes *shapes = &r->state->shapes;
    struct tg_shape *shape = tg_shape_at(shapes, r->at, r->end);
    const char *open = r->at - 1;
    unsigned known = 0;
    if (shape->n) {
        tg_shape_push(L, r->env, shapes, shape);
        known = read_by_shape(r, shape);
        lua_call(L, (int)known, 1);
    } else {
        lua_createtable(L, 0, shape->room);
    }
    unsigned other = read_members(r, lua_gettop(L)), n = known + other;
    if (!other) {
        tg_shape_hit(shape);
    } else {
        shape->room = (unsigned char)(n < MOST_GUESSED ? n : MOST_GUESSED);
        tg_shape_missed(L, r->env, shapes, shape, n, tg_str_n(open, (size_t)(r->at - open)), &r->state->text);
    }
    r->depth--;
}

static void read_value(struct reader *r)
{
    switch (peek(r)) {
    case '"':
        read_string(r);
        break;
    case '{':
        read_object(r);
        break;
    case '[':
        read_array(r);
        break;
    case 't':
        lua_pushboolean(r->L, 1);
        r->at += 4;
        break;
    case 'f':
        lua_pushboolean(r->L, 0);
        r->at += 5;
        break;
    case 'n':
        lua_pushlightuserdata(r->L, NULL);
        r->at += 4;
        break;
    default:
        read_number(r);
    }
}

static struct reader reader_of(lua_State *L, struct tg_str validated, unsigned flags)
{
    struct reader r = {.L = L,
                       .at = validated.p,
                       .end = validated.p + validated.n,
                       .null_as_nil = flags & TG_JSON_NULL_AS_NIL};
    r.state = tg_json_state_push(L);
    r.env = lua_gettop(L);
    lua_rawgeti(L, r.env, TG_JSON_ARRAY_MT);
    r.array_mt = r.env + 1;
    return r;
}

int tg_lua_push_json(lua_State *L, struct tg_str validated, unsigned flags)
{
    struct tg_str text;
    if (tg_json_plain(validated, &text)) { /* needs nothing of the codec */
        lua_pushlstring(L, text.n ? text.p : "", text.n);
        return 1;
    }
    struct reader r = reader_of(L, validated, flags);
    if (r.null_as_nil && peek(&r) == 'n')
        lua_pushnil(L);
    else
        read_value(&r);
    lua_replace(L, r.env);
    lua_settop(L, r.env);
    return 1;
}

void tg_lua_fill_json(lua_State *L, int table, struct tg_str object, unsigned flags)
{
    struct reader r = reader_of(L, object, flags);
    enter(&r);
    read_members(&r, table);
    lua_settop(L, r.env - 1);
}
