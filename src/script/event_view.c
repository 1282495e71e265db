#include "script/event_view.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/time.h"
#include "script/fill.h"
#include "script/host_impl.h"
#include "script/json_codec.h"

#include <string.h>

enum { VIEW_MAGIC = 0x74675657, EVENT_ROOM = 16, MEMBER_ROOM = 12 };

/* Members that are tables of their own; the rest of an event is small. */
enum member { CONTEXT, PROPERTIES, TRAITS, INTEGRATIONS, MEMBERS };
static const char *const member_names[MEMBERS] = {"context", "properties", "traits", "integrations"};
static const char *const context_objects[] = {"traits", "page", "referrer", "app", "device", "os"};
enum { CONTEXT_OBJECTS = sizeof context_objects / sizeof *context_objects };

/* What is behind an empty table, in its metatable under `key`: */
enum lazy { LAZY_NONE, LAZY_EVENT, LAZY_SETTINGS, LAZY_MEMBER };

/* The addresses are registry keys, and `key` is also the hidden field of a lazy table: the view, or the
 * master. */
static const char key, metatables[LAZY_MEMBER + MEMBERS];

struct tg_view {
    unsigned magic;
    bool split;                    /* member[] has been looked up */
    const struct tg_event *ev;     /* NULL: gone */
    struct tg_str member[MEMBERS]; /* JSON object text; empty: none, or not an object */
};

static void push_metatable(lua_State *L, int kind)
{
    lua_pushlightuserdata(L, (void *)&metatables[kind]);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Pushes an empty table of that kind, with room for that many members, whose hidden field is the value at
 * `hidden`. */
static void push_lazy(lua_State *L, int kind, int hidden, int room)
{
    lua_pushvalue(L, hidden);
    lua_createtable(L, 0, room);
    lua_pushlightuserdata(L, (void *)&key);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    push_metatable(L, kind);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static int lazy_kind(lua_State *L, int idx)
{
    if (!lua_getmetatable(L, idx))
        return LAZY_NONE;
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, -2);
    int kind = (int)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return kind;
}

/* The event behind the view at idx; raises when it is gone. */
static struct tg_view *to_view(lua_State *L, int idx)
{
    struct tg_view *v = lua_touserdata(L, idx);
    if (!v || v->magic != VIEW_MAGIC || !v->ev)
        luaL_error(L, "this event belongs to an earlier call and is gone: copy what you need while it runs");
    return v;
}

static struct tg_str object_or_nothing(struct tg_str value)
{
    return value.n && tg_json_type(value) == TG_JSON_OBJECT ? value : tg_str_n(NULL, 0);
}

static int member_of(struct tg_str json_key)
{
    for (int m = 0; m < MEMBERS; m++)
        if (tg_json_key_is(json_key, member_names[m]))
            return m;
    return -1;
}

/* --- filling --- */

static void set_text(lua_State *L, int at, const char *name, struct tg_str text)
{
    lua_pushstring(L, name);
    if (text.n)
        lua_pushlstring(L, text.p, text.n);
    else
        lua_pushnil(L);
    lua_rawset(L, at);
}

static void set_time(lua_State *L, int at, const char *name, int64_t ms)
{
    char text[TG_TIME_LEN + 1] = "";
    if (ms != TG_NO_TIME)
        tg_time_format(ms, text);
    set_text(L, at, name, tg_str_of(text));
}

/* Fields that ingest has normalised; the body's own are not read. */
static const char *const normalised[] = {"type",      "messageId",         "userId", "anonymousId",
                                         "timestamp", "originalTimestamp", "sentAt", "receivedAt",
                                         "writeKey",  "_metadata"};

static bool is_normalised(struct tg_str json_key)
{
    for (size_t i = 0; i < sizeof normalised / sizeof *normalised; i++)
        if (tg_json_key_is(json_key, normalised[i]))
            return true;
    return false;
}

static void set_normalised(lua_State *L, int at, const struct tg_event *ev)
{
    set_text(L, at, "type", tg_str_of(tg_event_type_name(ev->type)));
    set_text(L, at, "messageId", ev->message_id);
    set_text(L, at, "userId", ev->user_id);
    set_text(L, at, "anonymousId", ev->anonymous_id);
    set_time(L, at, "timestamp", ev->timestamp);
    set_time(L, at, "originalTimestamp", ev->original_timestamp);
    set_time(L, at, "sentAt", ev->sent_at);
    set_time(L, at, "receivedAt", ev->received_at);
}

/* t[key] = value, both JSON. */
static void set_json(lua_State *L, int at, struct tg_str json_key, struct tg_str value)
{
    tg_lua_push_json(L, json_key, TG_JSON_NULL_AS_NIL);
    tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    lua_rawset(L, at);
}

static void fill_event(lua_State *L, int at, int view_at)
{
    struct tg_view *v = to_view(L, view_at);
    struct tg_json_walk w = tg_json_walk(v->ev->body);
    while (tg_json_next(&w)) {
        int m = member_of(w.key);
        if (m >= 0)
            v->member[m] = object_or_nothing(w.value);
        else if (!is_normalised(w.key))
            set_json(L, at, w.key, w.value);
    }
    set_normalised(L, at, v->ev);
    if (v->ev->context.n)
        v->member[CONTEXT] = object_or_nothing(v->ev->context);
    if (v->ev->integrations.n)
        v->member[INTEGRATIONS] = object_or_nothing(v->ev->integrations);
    for (int m = 0; m < MEMBERS; m++) {
        lua_pushstring(L, member_names[m]);
        push_lazy(L, LAZY_MEMBER + m, view_at, v->member[m].n ? MEMBER_ROOM : 1);
        lua_rawset(L, at);
    }
}

/* Whether the value at the top is a table that came from a JSON object: arrays carry a metatable. */
static bool reads_as_object(lua_State *L)
{
    if (!lua_istable(L, -1))
        return false;
    if (!lua_getmetatable(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

static void fill_member(lua_State *L, int at, int view_at, int m)
{
    struct tg_view *v = to_view(L, view_at);
    if (v->member[m].n)
        tg_lua_fill_json(L, at, v->member[m], TG_JSON_NULL_AS_NIL);
    for (int i = 0; m == CONTEXT && i < CONTEXT_OBJECTS; i++) {
        lua_pushstring(L, context_objects[i]);
        lua_pushvalue(L, -1);
        lua_rawget(L, at);
        if (!reads_as_object(L)) {
            lua_pop(L, 1);
            lua_newtable(L);
        }
        lua_rawset(L, at);
    }
}

/* Pushes a copy of the table at `from`. */
static void push_copy(lua_State *L, int from)
{
    luaL_checkstack(L, 8, "settings nested too deeply");
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        if (lua_istable(L, -2)) {
            push_copy(L, lua_gettop(L) - 1);
            lua_replace(L, -3);
        }
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    if (lua_getmetatable(L, from))
        lua_setmetatable(L, -2);
}

static void fill_settings(lua_State *L, int at, int master)
{
    lua_pushnil(L);
    while (lua_next(L, master)) {
        lua_pushvalue(L, -2);
        if (lua_istable(L, -2))
            push_copy(L, lua_gettop(L) - 1);
        else
            lua_pushvalue(L, -2);
        lua_rawset(L, at);
        lua_pop(L, 1);
    }
}

void tg_lazy_build(lua_State *L, int idx)
{
    int kind = lazy_kind(L, idx);
    if (kind == LAZY_NONE)
        return;
    luaL_checkstack(L, 16, NULL);
    if (idx < 0)
        idx = lua_gettop(L) + 1 + idx;
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, idx);
    int hidden = lua_gettop(L);
    if (kind != LAZY_SETTINGS)
        to_view(L, hidden); /* before anything is changed */
    lua_pushnil(L);
    lua_setmetatable(L, idx);
    lua_pushlightuserdata(L, (void *)&key);
    lua_pushnil(L);
    lua_rawset(L, idx);
    if (kind == LAZY_EVENT)
        fill_event(L, idx, hidden);
    else if (kind == LAZY_SETTINGS)
        fill_settings(L, idx, hidden);
    else
        fill_member(L, idx, hidden, kind - LAZY_MEMBER);
    lua_settop(L, hidden - 1);
}

static void build_deep(lua_State *L, int idx, int depth)
{
    if (!lua_istable(L, idx) || depth > TG_JSON_MAX_DEPTH)
        return;
    luaL_checkstack(L, 4, NULL);
    tg_lazy_build(L, idx);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
        build_deep(L, lua_gettop(L), depth + 1);
}

void tg_lazy_build_deep(lua_State *L, int idx)
{
    build_deep(L, idx < 0 ? lua_gettop(L) + 1 + idx : idx, 0);
}

bool tg_lazy_object(lua_State *L, int idx, struct tg_str *object, bool *context)
{
    int m = lazy_kind(L, idx) - LAZY_MEMBER;
    if (m < 0)
        return false;
    if (idx < 0)
        idx = lua_gettop(L) + 1 + idx;
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, idx);
    *object = to_view(L, -1)->member[m];
    *context = m == CONTEXT;
    lua_pop(L, 1);
    return true;
}

bool tg_context_object(struct tg_str name)
{
    for (int i = 0; i < CONTEXT_OBJECTS; i++)
        if (tg_str_is(name, context_objects[i]))
            return true;
    return false;
}

static int lazy_index(lua_State *L)
{
    tg_lazy_build(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int lazy_newindex(lua_State *L)
{
    tg_lazy_build(L, 1);
    lua_rawset(L, 1);
    return 0;
}

void tg_event_view_open(lua_State *L)
{
    tg_lua_set_fill(tg_lazy_build);
    for (int kind = LAZY_EVENT; kind < LAZY_MEMBER + MEMBERS; kind++) {
        lua_pushlightuserdata(L, (void *)&metatables[kind]);
        lua_newtable(L);
        lua_pushcfunction(L, lazy_index);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, lazy_newindex);
        lua_setfield(L, -2, "__newindex");
        lua_pushliteral(L, "locked");
        lua_setfield(L, -2, "__metatable");
        lua_pushlightuserdata(L, (void *)&key);
        lua_pushinteger(L, kind);
        lua_rawset(L, -3);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
}

struct tg_view *tg_event_view_push(lua_State *L, const struct tg_event *ev)
{
    struct tg_view *v = lua_newuserdata(L, sizeof *v);
    memset(v, 0, sizeof *v);
    v->magic = VIEW_MAGIC;
    v->ev = ev;
    push_lazy(L, LAZY_EVENT, lua_gettop(L), EVENT_ROOM);
    return v;
}

void tg_event_view_close(struct tg_view *view)
{
    view->ev = NULL;
}

void tg_settings_view_push(lua_State *L, int master, int room)
{
    push_lazy(L, LAZY_SETTINGS, master < 0 ? lua_gettop(L) + 1 + master : master, room);
}
