/* The JSON codec for Lua; the contract is in json_codec.h.
 *
 * Reading. Text is validated first (json.decode) or was when it came in (events); the reader then trusts the
 * grammar and looks at each byte once. Growing a Lua table step by step costs more than all the rest, so
 * tables are made with the right size: an array's first PENDING items wait on the Lua stack until their
 * number is known, and an object is taken to have as many members as the last one that began like it, which
 * is nearly always right for events.
 *
 * Writing. Members are encoded in the order in which the table gives them, each as a segment `,"name":value`
 * behind the others; then the segments are put in order, and the first comma becomes the bracket. Nothing is
 * looked up twice.
 *
 * A Lua error is a long jump, so this file holds no allocation of its own across calls that may raise: what
 * it needs lives in `struct codec`, a userdata in the registry, and is used again by the next call. */
#include "script/json_codec.h"

#include "base/mem.h"
#include "script/fill.h"

#include <endian.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PENDING = 24,  /* a stack of MAX_DEPTH * (PENDING + some) slots is well within Lua's limit of 8000 */
    SIZE_BITS = 6, /* 64 guesses of object sizes */
    MOST_GUESSED = 64,
    KEEP_BYTES = 256 << 10, /* scratch above this is given back after the call */
    KEEP_SEGMENTS = 4096,
    PATH_STEPS = 12, /* as many steps of a path are shown in messages */
    SMALL_SORT = 12,
};

/* One member of an object while it is written. The key belongs to the table. */
struct segment {
    struct tg_str key;
    uint64_t head; /* the key's first eight bytes, most significant first: settles nearly every comparison */
    size_t at, n;  /* where its text stands in the output */
};

struct codec {
    struct tg_buf out;  /* what json.encode returns */
    struct tg_buf text; /* decoded strings; reordered members */
    struct segment *segments;
    size_t n_segments, cap_segments;
    struct tg_err err;
    unsigned char sizes[1 << SIZE_BITS]; /* see size_guess */
};

/* Slots of the codec's environment table. */
enum { SLOT_ARRAY_MT = 1, SLOT_EMPTY_ARRAY_MT, SLOT_EXACT_MT, SLOT_EXACT_SET };

static char codec_key;   /* its address names the codec in the registry */
static char empty_array; /* its address is json.empty_array */

/* --- the codec of a state --- */

static int codec_gc(lua_State *L)
{
    struct codec *c = lua_touserdata(L, 1);
    tg_buf_fini(&c->out);
    tg_buf_fini(&c->text);
    tg_free(c->segments);
    c->segments = NULL;
    c->n_segments = c->cap_segments = 0;
    return 0;
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "this table is shared and cannot be changed");
}

/* Pushes a table that is empty and stays so. */
static void push_frozen(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static void push_exact_mt(lua_State *L);

/* Exact numbers by their digits; what nobody holds is collected. */
static void push_exact_set(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

static void make_codec(lua_State *L)
{
    struct codec *c = lua_newuserdata(L, sizeof *c);
    *c =
        (struct codec){.out = TG_BUF_INIT(TG_LUA_JSON_MAX_BYTES), .text = TG_BUF_INIT(TG_LUA_JSON_MAX_BYTES)};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, codec_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_createtable(L, 4, 0);
    push_frozen(L);
    lua_rawseti(L, -2, SLOT_ARRAY_MT);
    push_frozen(L);
    lua_rawseti(L, -2, SLOT_EMPTY_ARRAY_MT);
    push_exact_mt(L);
    lua_rawseti(L, -2, SLOT_EXACT_MT);
    push_exact_set(L);
    lua_rawseti(L, -2, SLOT_EXACT_SET);
    lua_setfenv(L, -2);
    lua_pushlightuserdata(L, &codec_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* The state's codec, made at first use. Pushes its environment, which holds it alive. */
static struct codec *push_codec(lua_State *L)
{
    luaL_checkstack(L, 8, "JSON");
    lua_pushlightuserdata(L, &codec_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        make_codec(L);
    }
    struct codec *c = lua_touserdata(L, -1);
    lua_getfenv(L, -1);
    lua_remove(L, -2);
    return c;
}

static void trim_codec(struct codec *c)
{
    if (c->out.cap > KEEP_BYTES)
        tg_buf_fini(&c->out);
    if (c->text.cap > KEEP_BYTES)
        tg_buf_fini(&c->text);
    if (c->cap_segments > KEEP_SEGMENTS) {
        tg_free(c->segments);
        c->segments = NULL;
        c->cap_segments = 0;
    }
}

/* --- exact numbers --- */

struct exact {
    size_t n;
    char digits[];
};

/* The exact number at idx, or NULL. `env` is the codec's environment. */
static const struct exact *to_exact(lua_State *L, int idx, int env)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return NULL;
    lua_rawgeti(L, env, SLOT_EXACT_MT);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? lua_touserdata(L, idx) : NULL;
}

/* Pushes the exact number of these digits: the one that there is, or a new one. */
static void push_exact(lua_State *L, int env, struct tg_str digits)
{
    luaL_checkstack(L, 6, "JSON");
    lua_rawgeti(L, env, SLOT_EXACT_SET);
    lua_pushlstring(L, digits.p, digits.n);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        struct exact *x = lua_newuserdata(L, sizeof *x + digits.n);
        x->n = digits.n;
        memcpy(x->digits, digits.p, digits.n);
        lua_rawgeti(L, env, SLOT_EXACT_MT);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static double exact_double(const struct exact *x)
{
    double d;
    if (tg_json_double(tg_str_n(x->digits, x->n), &d))
        return d;
    return x->digits[0] == '-' ? -HUGE_VAL : HUGE_VAL;
}

/* An operand: an exact number, a number, or a string that Lua would take as one. Raises on others. */
static double operand(lua_State *L, int idx)
{
    const struct exact *x;
    push_codec(L);
    x = to_exact(L, idx, lua_gettop(L));
    lua_pop(L, 1);
    if (x)
        return exact_double(x);
    if (!lua_isnumber(L, idx))
        luaL_error(L, "arithmetic on an exact number and a %s value", luaL_typename(L, idx));
    return lua_tonumber(L, idx);
}

static int exact_arith(lua_State *L)
{
    double a = operand(L, 1), b = operand(L, 2), result = 0;
    switch (lua_tointeger(L, lua_upvalueindex(1))) {
    case '+':
        result = a + b;
        break;
    case '-':
        result = a - b;
        break;
    case '*':
        result = a * b;
        break;
    case '/':
        result = a / b;
        break;
    case '%':
        result = a - floor(a / b) * b;
        break;
    case '^':
        result = pow(a, b);
        break;
    default:
        result = -a;
    }
    lua_pushnumber(L, result);
    return 1;
}

static int exact_lt(lua_State *L)
{
    lua_pushboolean(L, operand(L, 1) < operand(L, 2));
    return 1;
}

static int exact_le(lua_State *L)
{
    lua_pushboolean(L, operand(L, 1) <= operand(L, 2));
    return 1;
}

static void push_text(lua_State *L, int idx)
{
    const struct exact *x;
    push_codec(L);
    x = to_exact(L, idx, lua_gettop(L));
    lua_pop(L, 1);
    if (x)
        lua_pushlstring(L, x->digits, x->n);
    else if (lua_isstring(L, idx))
        lua_pushvalue(L, idx);
    else
        luaL_error(L, "attempt to concatenate a %s value", luaL_typename(L, idx));
}

static int exact_tostring(lua_State *L)
{
    push_text(L, 1);
    return 1;
}

static int exact_concat(lua_State *L)
{
    push_text(L, 1);
    push_text(L, 2);
    lua_concat(L, 2);
    return 1;
}

static void push_exact_mt(lua_State *L)
{
    static const struct {
        const char *name;
        char op;
    } arith[] = {{"__add", '+'}, {"__sub", '-'}, {"__mul", '*'}, {"__div", '/'},
                 {"__mod", '%'}, {"__pow", '^'}, {"__unm", 'n'}};
    static const luaL_Reg functions[] = {{"__lt", exact_lt},
                                         {"__le", exact_le},
                                         {"__tostring", exact_tostring},
                                         {"__concat", exact_concat},
                                         {NULL, NULL}};
    lua_createtable(L, 0, 12);
    for (size_t i = 0; i < sizeof arith / sizeof arith[0]; i++) {
        lua_pushinteger(L, arith[i].op);
        lua_pushcclosure(L, exact_arith, 1);
        lua_setfield(L, -2, arith[i].name);
    }
    luaL_register(L, NULL, functions);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* --- reading --- */

struct reader {
    lua_State *L;
    struct codec *codec;
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
    tg_buf_clear(&r->codec->text);
    if (tg_json_text(tg_str_n(open, n), &r->codec->text))
        luaL_error(r->L, "JSON: no memory for a string of %d bytes", (int)n);
    lua_pushlstring(r->L, r->codec->text.data, r->codec->text.len);
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
        push_exact(r->L, r->env, text);
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

/* How many members the last object had that began with the same eight bytes (behind its bracket). A wrong
 * guess costs a little memory or a rehash; it is put right at the end of each object, so that no text can
 * make many wrong ones. */
static unsigned char *size_guess(struct reader *r)
{
    uint64_t head = 0;
    if (r->end - r->at >= (ptrdiff_t)sizeof head)
        memcpy(&head, r->at, sizeof head);
    return &r->codec->sizes[head * 0x9e3779b97f4a7c15ULL >> (64 - SIZE_BITS)];
}

static inline void read_member(struct reader *r)
{
    read_string(r);
    if (peek(r) == ':')
        r->at++;
    if (peek(r) == 'n' && r->null_as_nil) {
        r->at += 4;
        lua_pushnil(r->L);
    } else {
        read_value(r);
    }
}

/* The members of an object, into the table at `slot`; how many there were. */
static unsigned read_members(struct reader *r, int slot)
{
    unsigned n = 0;
    char c;
    while ((c = peek(r)) == '"') {
        read_member(r);
        lua_rawset(r->L, slot);
        n++;
        if (peek(r) == ',')
            r->at++;
    }
    r->at += c == '}';
    return n;
}

static void read_object(struct reader *r)
{
    lua_State *L = r->L;
    enter(r);
    unsigned char *guess = size_guess(r);
    lua_createtable(L, 0, *guess);
    unsigned n = read_members(r, lua_gettop(L));
    *guess = (unsigned char)(n < MOST_GUESSED ? n : MOST_GUESSED);
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
    r.codec = push_codec(L);
    r.env = lua_gettop(L);
    lua_rawgeti(L, r.env, SLOT_ARRAY_MT);
    r.array_mt = r.env + 1;
    return r;
}

int tg_lua_push_json(lua_State *L, struct tg_str validated, unsigned flags)
{
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

/* --- writing --- */

struct step {
    struct tg_str name; /* of a member; p is NULL for an item */
    int index;
};

struct writer {
    lua_State *L;
    struct codec *codec;
    struct tg_buf *out;
    int env, array_mt; /* stack indices */
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
    const struct exact *x = to_exact(w->L, idx, w->env);
    if (!x)
        return refuse(w, TG_INVALID, "a userdata value cannot be JSON");
    return added(w, tg_buf_add(w->out, x->digits, x->n));
}

static int write_light(struct writer *w, int idx)
{
    const void *p = lua_touserdata(w->L, idx);
    if (p && p != &empty_array)
        return refuse(w, TG_INVALID, "a userdata value cannot be JSON");
    return added(w, tg_buf_adds(w->out, p ? "[]" : "null"));
}

/* Whether the table at idx has the marking metatable of that slot. */
static bool is_marked(lua_State *L, int idx, int env, int slot)
{
    if (!lua_getmetatable(L, idx))
        return false;
    lua_rawgeti(L, env, slot);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
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

static uint64_t head_of(const char *p, size_t n)
{
    uint64_t head = 0;
    if (n >= sizeof head) {
        memcpy(&head, p, sizeof head);
        return be64toh(head);
    }
    if (n >= 4) { /* two halves, which may overlap */
        uint32_t first, last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + n - 4, sizeof last);
        return (uint64_t)be32toh(first) << 32 | (uint64_t)be32toh(last) << (64 - 8 * n);
    }
    for (size_t i = 0; i < 4; i++)
        head = head << 8 | (i < n ? (unsigned char)p[i] : 0);
    return head << 32;
}

static inline int compare(const struct segment *a, const struct segment *b)
{
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    size_t n = a->key.n < b->key.n ? a->key.n : b->key.n;
    int c = memcmp(a->key.p, b->key.p, n);
    return c ? c : (a->key.n > b->key.n) - (a->key.n < b->key.n);
}

static int compare_segments(const void *a, const void *b)
{
    return compare(a, b);
}

static void sort_segments(struct segment *s, size_t n)
{
    if (n > SMALL_SORT) {
        qsort(s, n, sizeof *s, compare_segments);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct segment one = s[i];
        size_t j = i;
        for (; j > 0 && compare(&one, &s[j - 1]) < 0; j--)
            s[j] = s[j - 1];
        s[j] = one;
    }
}

static int more_segments(struct codec *c)
{
    size_t cap = c->cap_segments ? 2 * c->cap_segments : 64;
    struct segment *more = tg_realloc(c->segments, cap * sizeof *more);
    if (!more)
        return TG_NOMEM;
    c->segments = more;
    c->cap_segments = cap;
    return TG_OK;
}

/* Puts the members written since `first` in order. */
static int order_members(struct writer *w, size_t first)
{
    struct codec *c = w->codec;
    struct segment *s = c->segments + first;
    size_t n = c->n_segments - first, begin = s[0].at, size = w->out->len - begin, sorted = 1;
    while (sorted < n && compare(&s[sorted - 1], &s[sorted]) < 0)
        sorted++;
    if (sorted >= n)
        return TG_OK;
    tg_buf_clear(&c->text);
    int rc = tg_buf_reserve(&c->text, size);
    if (rc)
        return rc;
    memcpy(c->text.data, w->out->data + begin, size);
    sort_segments(s, n);
    char *to = w->out->data + begin;
    for (size_t i = 0; i < n; i++) {
        memcpy(to, c->text.data + (s[i].at - begin), s[i].n);
        to += s[i].n;
    }
    return TG_OK;
}

/* Key and value are on top of the stack. */
static inline int write_member(struct writer *w)
{
    lua_State *L = w->L;
    struct codec *c = w->codec;
    struct step *step = &w->path[w->depth - 1];
    size_t n, number = c->n_segments, at = w->out->len;
    if (lua_type(L, -2) != LUA_TSTRING) {
        w->depth--;
        return refuse(w, TG_INVALID, "an object with a key that is a %s", luaL_typename(L, -2));
    }
    const char *p = lua_tolstring(L, -2, &n);
    step->name.p = p;
    step->name.n = n;
    if (number == c->cap_segments && more_segments(c))
        return added(w, TG_NOMEM);
    c->n_segments++;
    int rc = write_text(w, ',', p, n, ':');
    if (!rc)
        rc = write_value(w, -1);
    struct segment *s = &c->segments[number];
    s->key.p = p;
    s->key.n = n;
    s->head = head_of(p, n);
    s->at = at;
    s->n = w->out->len - at;
    return rc;
}

/* The first key of the table is on top of the stack, its value above it. */
static int write_members(struct writer *w, int idx)
{
    size_t begin = w->out->len, first = w->codec->n_segments;
    do {
        int rc = write_member(w);
        if (rc)
            return rc;
        lua_pop(w->L, 1);
    } while (lua_next(w->L, idx));
    int rc = added(w, order_members(w, first));
    if (rc)
        return rc;
    w->codec->n_segments = first;
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
    bool array = is_marked(L, idx, w->env, SLOT_ARRAY_MT);
    if (!array)
        tg_lua_fill(L, idx);
    w->path[w->depth++] = (struct step){0};
    lua_pushnil(L);
    if (array || !lua_next(L, idx)) {
        if (array)
            lua_pop(L, 1);
        else
            array = is_marked(L, idx, w->env, SLOT_EMPTY_ARRAY_MT);
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

static int encode(lua_State *L, struct codec *c, int env, int idx, struct tg_buf *out, char *why,
                  size_t why_size)
{
    struct writer w;
    size_t before = out->len;
    int top = lua_gettop(L);
    w.L = L;
    w.codec = c;
    w.out = out;
    w.env = env;
    w.depth = 0;
    w.why = why;
    w.why_size = why_size;
    c->n_segments = 0; /* an earlier call may have been left by a Lua error */
    int rc = write_value(&w, idx);
    lua_settop(L, top);
    if (rc)
        out->len = before;
    return rc;
}

int tg_lua_encode_json(lua_State *L, int index, struct tg_buf *out, char *why, size_t why_size)
{
    int idx = index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
    struct codec *c = push_codec(L);
    int rc = encode(L, c, lua_gettop(L), idx, out, why, why_size);
    lua_pop(L, 1);
    trim_codec(c);
    return rc;
}

/* --- what scripts call --- */

/* Pushes the value, or returns false with the message in the codec's err. */
static bool decode(lua_State *L, struct codec *c)
{
    struct tg_str text, value;
    text.p = luaL_checklstring(L, 1, &text.n);
    if (text.n > TG_LUA_JSON_MAX_BYTES) {
        tg_fail(&c->err, TG_TOOBIG, "JSON: %zu bytes are more than %d", text.n, (int)TG_LUA_JSON_MAX_BYTES);
        return false;
    }
    if (tg_json_validate(text, TG_JSON_MAX_DEPTH, &value, &c->err))
        return false;
    tg_lua_push_json(L, value, 0);
    trim_codec(c);
    return true;
}

static int json_decode(lua_State *L)
{
    struct codec *c = push_codec(L);
    return decode(L, c) ? 1 : luaL_error(L, "%s", c->err.msg);
}

static int json_try_decode(lua_State *L)
{
    struct codec *c = push_codec(L);
    if (decode(L, c))
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, c->err.msg);
    return 2;
}

/* Pushes the text, or returns false with the message in the codec's err. */
static bool encode_argument(lua_State *L, struct codec *c)
{
    tg_buf_clear(&c->out);
    if (encode(L, c, lua_gettop(L), 1, &c->out, c->err.msg, sizeof c->err.msg))
        return false;
    lua_pushlstring(L, c->out.data, c->out.len);
    trim_codec(c);
    return true;
}

static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct codec *c = push_codec(L);
    return encode_argument(L, c) ? 1 : luaL_error(L, "JSON: %s", c->err.msg);
}

static int json_try_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct codec *c = push_codec(L);
    if (encode_argument(L, c))
        return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "JSON: %s", c->err.msg);
    return 2;
}

static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "this table's metatable is protected");
    push_codec(L);
    lua_rawgeti(L, -1, SLOT_ARRAY_MT);
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int json_is_array(lua_State *L)
{
    bool is = lua_type(L, 1) == LUA_TLIGHTUSERDATA && lua_touserdata(L, 1) == &empty_array;
    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        push_codec(L);
        is = is_marked(L, 1, 2, SLOT_ARRAY_MT);
        lua_pushnil(L);
        if (!is)
            is = lua_next(L, 1) ? lua_type(L, -2) == LUA_TNUMBER : is_marked(L, 1, 2, SLOT_EMPTY_ARRAY_MT);
    }
    lua_pushboolean(L, is);
    return 1;
}

/* Numbers as they are; of texts those that are JSON numbers. */
static int json_number(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    push_codec(L);
    if (lua_type(L, 1) == LUA_TNUMBER || to_exact(L, 1, 2)) {
        lua_settop(L, 1);
        return 1;
    }
    struct tg_str text, value;
    double x;
    text.p = lua_tolstring(L, 1, &text.n);
    if (!text.p || tg_json_validate(text, 0, &value, NULL) || tg_json_type(value) != TG_JSON_NUMBER)
        lua_pushnil(L);
    else if (tg_json_exact(value, &x))
        lua_pushnumber(L, x);
    else
        push_exact(L, 2, value);
    return 1;
}

static int json_tonumber(lua_State *L)
{
    luaL_checkany(L, 1);
    push_codec(L);
    const struct exact *x = to_exact(L, 1, lua_gettop(L));
    lua_pop(L, 1);
    if (x) {
        lua_pushnumber(L, exact_double(x));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* The nearest that a state without a base library has. */
static int plain_tonumber(lua_State *L)
{
    if (lua_isnumber(L, 1))
        lua_pushnumber(L, lua_tonumber(L, 1));
    else
        lua_pushnil(L);
    return 1;
}

int tg_lua_open_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", json_decode}, {"try_decode", json_try_decode},
        {"encode", json_encode}, {"try_encode", json_try_encode},
        {"array", json_array},   {"is_array", json_is_array},
        {"number", json_number}, {NULL, NULL},
    };
    luaL_checkstack(L, 8, "JSON");
    lua_createtable(L, 0, 12);
    luaL_register(L, NULL, functions);
    lua_getglobal(L, "tonumber");
    if (!lua_iscfunction(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, plain_tonumber);
    }
    lua_pushcclosure(L, json_tonumber, 1);
    lua_setfield(L, -2, "tonumber");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, &empty_array);
    lua_setfield(L, -2, "empty_array");
    push_codec(L);
    lua_rawgeti(L, -1, SLOT_ARRAY_MT);
    lua_setfield(L, -3, "array_mt");
    lua_rawgeti(L, -1, SLOT_EMPTY_ARRAY_MT);
    lua_setfield(L, -3, "empty_array_mt");
    lua_pop(L, 1);
    return 1;
}
