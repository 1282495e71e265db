#include "script/event_view.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/time.h"
#include "script/fill.h"
#include "script/json_read.h"
#include "script/state.h"

#include <string.h>

enum { VIEW_MAGIC = 0x74675657, EVENT_ROOM = 16, MEMBER_ROOM = 12, OTHERS = 8 };

/* Members that are tables of their own; the rest of an event is small. */
enum member { CONTEXT, PROPERTIES, TRAITS, INTEGRATIONS, MEMBERS };
static const char *const member_names[MEMBERS] = {"context", "properties", "traits", "integrations"};
static const char *const context_objects[] = {"traits", "page", "referrer", "app", "device", "os"};
enum { CONTEXT_OBJECTS = sizeof context_objects / sizeof *context_objects };

/* What is behind a table that is not filled, in its metatable under `key`: */
enum lazy {
    LAZY_NONE,
    LAZY_EVENT,
    LAZY_SETTINGS,
    LAZY_CONTEXT, /* not empty and nothing behind it: a context that lacks some of context_objects */
    LAZY_MEMBER
};

/* The addresses are registry keys, and `key` is also the hidden field of a lazy table: the view, or the
 * master. */
static const char key, metatables[LAZY_MEMBER + MEMBERS];
/* The registry key of the names that every event has, in a table: they are not looked up anew as text. */
static const char names_key;

struct tg_view {
    unsigned magic;
    const struct tg_event *ev; /* NULL: gone */
    /* The body's members, found in one walk when one of them is first wanted. */
    bool split;
    unsigned given;                /* bit m: that member's table was given out, and is in the event's since */
    struct tg_str member[MEMBERS]; /* JSON object text; empty: none, or not an object */
    struct {
        struct tg_str key, value;
    } others[OTHERS]; /* those that are neither such members nor normalised, in their order */
    unsigned n_others;
    bool crowded;                   /* the body has more of them */
    char times[4][TG_TIME_LEN + 1]; /* as text, of those that were wanted */
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

/* --- the event's bytes --- */

/* Members that ingest has normalised; the body's own are not read. */
enum normalised {
    TYPE,
    MESSAGE_ID,
    USER_ID,
    ANONYMOUS_ID,
    TIMESTAMP,
    ORIGINAL_TIMESTAMP,
    SENT_AT,
    RECEIVED_AT
};
enum { SHOWN = RECEIVED_AT + 1 };
static const char *const normalised[] = {"type",      "messageId",         "userId", "anonymousId",
                                         "timestamp", "originalTimestamp", "sentAt", "receivedAt",
                                         "writeKey",  "_metadata"}; /* these two are not shown */

/* Which of n names; -1: none. */
static int name_among(struct tg_str name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (name.n && names[i][0] == name.p[0] && tg_str_is(name, names[i]))
            return i;
    return -1;
}

static int member_named(struct tg_str name)
{
    return name_among(name, member_names, MEMBERS);
}

static int normalised_named(struct tg_str name)
{
    return name_among(name, normalised, sizeof normalised / sizeof *normalised);
}

/* The name behind a key; one with escapes is decoded into room, where the names that are known have place. */
static struct tg_str name_of(struct tg_str json_key, char *room, size_t size)
{
    struct tg_str name = {NULL, 0};
    struct tg_buf out = {.data = room, .cap = size, .max = size - 1};
    if (tg_json_plain(json_key, &name) || json_key.n >= size)
        return name;
    return tg_json_text(json_key, &out) ? name : tg_buf_str(&out);
}

static void split(struct tg_view *v)
{
    if (v->split)
        return;
    char room[128]; /* the longest name, all of it escaped */
    struct tg_json_walk w = tg_json_walk(v->ev->body);
    v->split = true;
    while (tg_json_next(&w)) {
        struct tg_str name = name_of(w.key, room, sizeof room);
        int m = member_named(name);
        if (m >= 0)
            v->member[m] = object_or_nothing(w.value);
        else if (normalised_named(name) >= 0)
            continue;
        else if (v->n_others == OTHERS)
            v->crowded = true;
        else {
            v->others[v->n_others].key = w.key;
            v->others[v->n_others++].value = w.value;
        }
    }
    if (v->ev->context.n)
        v->member[CONTEXT] = object_or_nothing(v->ev->context);
    if (v->ev->integrations.n)
        v->member[INTEGRATIONS] = object_or_nothing(v->ev->integrations);
}

static struct tg_str time_text(char text[TG_TIME_LEN + 1], int64_t ms)
{
    if (ms == TG_NO_TIME)
        return (struct tg_str){NULL, 0};
    if (!text[0])
        tg_time_format(ms, text);
    return tg_str_n(text, TG_TIME_LEN);
}

/* A normalised member's text; empty: not there. */
static struct tg_str normalised_text(struct tg_view *v, int which)
{
    const struct tg_event *ev = v->ev;
    switch (which) {
    case TYPE:
        return tg_str_of(tg_event_type_name(ev->type));
    case MESSAGE_ID:
        return ev->message_id;
    case USER_ID:
        return ev->user_id;
    case ANONYMOUS_ID:
        return ev->anonymous_id;
    case TIMESTAMP:
        return time_text(v->times[0], ev->timestamp);
    case ORIGINAL_TIMESTAMP:
        return time_text(v->times[1], ev->original_timestamp);
    case SENT_AT:
        return time_text(v->times[2], ev->sent_at);
    case RECEIVED_AT:
        return time_text(v->times[3], ev->received_at);
    default:
        return (struct tg_str){NULL, 0};
    }
}

static bool key_says(struct tg_str json_key, struct tg_str name)
{
    if (json_key.n == name.n + 2 && memcmp(json_key.p + 1, name.p, name.n) == 0)
        return true;
    return memchr(json_key.p, '\\', json_key.n) && !memchr(name.p, '\0', name.n) &&
           tg_json_key_is(json_key, name.p);
}

/* The last member of that name among the others. */
static struct tg_str other(struct tg_view *v, struct tg_str name)
{
    struct tg_str value = {NULL, 0};
    for (unsigned i = 0; i < v->n_others; i++)
        if (key_says(v->others[i].key, name))
            value = v->others[i].value;
    if (!v->crowded)
        return value;
    struct tg_json_walk w = tg_json_walk(v->ev->body);
    while (tg_json_next(&w))
        if (key_says(w.key, name))
            value = w.value;
    return value;
}

void tg_view_member(struct tg_view *view, struct tg_str name, struct tg_view_value *out)
{
    /* A path, which map asks for as a whole name too: none of the known ones. */
    bool dotted = name.n && memchr(name.p, '.', name.n);
    int m = dotted ? -1 : member_named(name), which = dotted || m >= 0 ? -1 : normalised_named(name);
    *out = (struct tg_view_value){.kind = TG_VIEW_TEXT, .member = m >= 0, .context = m == CONTEXT};
    if (which >= 0) {
        out->text = normalised_text(view, which);
    } else {
        split(view);
        out->kind = TG_VIEW_JSON;
        out->text = m >= 0 ? view->member[m] : other(view, name);
    }
    if (!out->text.n || (out->kind == TG_VIEW_JSON && tg_json_type(out->text) == TG_JSON_NULL))
        out->kind = TG_VIEW_NOTHING;
}

/* --- filling --- */

/* t[name number i] = text, unless it is empty. */
static void set_text(lua_State *L, int at, int names, int i, struct tg_str text)
{
    if (!text.n)
        return;
    lua_rawgeti(L, names, i);
    lua_pushlstring(L, text.p, text.n);
    lua_rawset(L, at);
}

/* t[key] = value, both JSON. */
static void set_json(lua_State *L, int at, struct tg_str json_key, struct tg_str value)
{
    tg_lua_push_json(L, json_key, TG_JSON_NULL_AS_NIL);
    tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    lua_rawset(L, at);
}

/* A body of many members is walked once more: the view holds only the first. */
static void set_others(lua_State *L, int at, const struct tg_view *v)
{
    if (!v->crowded) {
        for (unsigned i = 0; i < v->n_others; i++)
            set_json(L, at, v->others[i].key, v->others[i].value);
        return;
    }
    char room[128]; /* the longest name, all of it escaped */
    struct tg_json_walk w = tg_json_walk(v->ev->body);
    while (tg_json_next(&w)) {
        struct tg_str name = name_of(w.key, room, sizeof room);
        if (member_named(name) < 0 && normalised_named(name) < 0)
            set_json(L, at, w.key, w.value);
    }
}

static void fill_event(lua_State *L, int at, int view_at)
{
    struct tg_view *v = to_view(L, view_at);
    split(v);
    set_others(L, at, v);
    lua_pushlightuserdata(L, (void *)&names_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    int names = lua_gettop(L);
    for (int i = 0; i < SHOWN; i++)
        set_text(L, at, names, i, normalised_text(v, i));
    for (int m = 0; m < MEMBERS; m++) {
        if (v->given & 1u << m)
            continue;
        lua_rawgeti(L, names, SHOWN + m);
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

/* What is no object among context_objects becomes an empty table; what is missing only when `missing` is set.
 * Whether something still is. */
static bool fill_context_objects(lua_State *L, int at, bool missing)
{
    bool lacks = false;
    lua_pushlightuserdata(L, (void *)&names_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    int names = lua_gettop(L);
    for (int i = 0; i < CONTEXT_OBJECTS; i++) {
        lua_rawgeti(L, names, SHOWN + MEMBERS + i);
        lua_pushvalue(L, -1);
        lua_rawget(L, at);
        if (lua_isnil(L, -1) && !missing) {
            lacks = true;
        } else if (!reads_as_object(L)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_rawset(L, at);
        }
        lua_settop(L, names);
    }
    lua_settop(L, names - 1);
    return lacks;
}

static void fill_member(lua_State *L, int at, int view_at, int m)
{
    struct tg_view *v = to_view(L, view_at);
    if (v->member[m].n)
        tg_lua_fill_json(L, at, v->member[m], TG_JSON_NULL_AS_NIL);
    if (m == CONTEXT)
        (void)fill_context_objects(L, at, true);
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
    if (kind == LAZY_CONTEXT) {
        lua_pushnil(L);
        lua_setmetatable(L, idx);
        (void)fill_context_objects(L, idx, true);
        return;
    }
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

void tg_lazy_unread(lua_State *L, int idx, struct tg_unread *out)
{
    int kind = lazy_kind(L, idx);
    *out = (struct tg_unread){.kind = TG_UNREAD_NONE};
    if (kind != LAZY_EVENT && kind < LAZY_MEMBER)
        return;
    if (idx < 0)
        idx = lua_gettop(L) + 1 + idx;
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, idx);
    out->view = to_view(L, -1);
    lua_pop(L, 1);
    if (kind == LAZY_EVENT && out->view->given) { /* the script may have changed what it was given */
        tg_lazy_build(L, idx);
        return;
    }
    out->kind = TG_UNREAD_EVENT;
    if (kind == LAZY_EVENT)
        return;
    out->kind = TG_UNREAD_OBJECT;
    out->object = out->view->member[kind - LAZY_MEMBER];
    out->context = kind - LAZY_MEMBER == CONTEXT;
}

bool tg_context_object(struct tg_str name)
{
    for (int i = 0; i < CONTEXT_OBJECTS; i++)
        if (tg_str_is(name, context_objects[i]))
            return true;
    return false;
}

/* --- looking at one member --- */

/* Pushes a member's table, which is the event's from now on; nil when the script has taken it out. */
static void give_member(lua_State *L, struct tg_view *v, enum member m)
{
    if (v->given & 1u << m) {
        lua_pushnil(L);
        return;
    }
    if (v->member[m].n)
        tg_lua_push_json(L, v->member[m], TG_JSON_NULL_AS_NIL);
    else
        lua_newtable(L);
    int table = lua_gettop(L);
    if (m == CONTEXT && fill_context_objects(L, table, false)) {
        push_metatable(L, LAZY_CONTEXT);
        lua_setmetatable(L, table);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, table);
    lua_rawset(L, 1);
    v->given |= 1u << m;
}

/* Pushes what the event at 1 has under the name at 2, while its table stays empty; false when it must be
 * filled for that: it is a table, which must be the same one the next time. */
static bool event_member(lua_State *L)
{
    struct tg_str name;
    struct tg_view_value value;
    name.p = lua_tolstring(L, 2, &name.n);
    struct tg_view *v = to_view(L, 3);
    tg_view_member(v, name, &value);
    if (value.member) {
        give_member(L, v, (enum member)member_named(name));
        return true;
    }
    if (value.kind == TG_VIEW_NOTHING)
        lua_pushnil(L);
    else if (value.kind == TG_VIEW_TEXT)
        lua_pushlstring(L, value.text.p, value.text.n);
    else if (tg_json_type(value.text) == TG_JSON_OBJECT || tg_json_type(value.text) == TG_JSON_ARRAY)
        return false;
    else
        tg_lua_push_json(L, value.text, TG_JSON_NULL_AS_NIL);
    return true;
}

/* Pushes what the context at 1 has under the name at 2, where nothing is yet: nil, or one of context_objects.
 */
static int context_object(lua_State *L)
{
    struct tg_str name = {NULL, 0};
    if (lua_type(L, 2) == LUA_TSTRING)
        name.p = lua_tolstring(L, 2, &name.n);
    if (!name.n || !tg_context_object(name)) {
        lua_pushnil(L);
        return 1;
    }
    lua_newtable(L);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

/* The same of settings. */
static bool setting(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    return !lua_istable(L, -1);
}

/* Upvalues: the kind of the table, and the key of its hidden field. */
static int lazy_index(lua_State *L)
{
    int kind = (int)lua_tointeger(L, lua_upvalueindex(1));
    if (kind == LAZY_CONTEXT)
        return context_object(L);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_rawget(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING &&
        ((kind == LAZY_EVENT && event_member(L)) || (kind == LAZY_SETTINGS && setting(L))))
        return 1;
    lua_settop(L, 2);
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

/* Number i of it: the normalised names, the members, the objects of context. */
static void make_names(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&names_key);
    lua_createtable(L, SHOWN + MEMBERS + CONTEXT_OBJECTS, 0);
    for (int i = 0; i < SHOWN + MEMBERS + CONTEXT_OBJECTS; i++) {
        lua_pushstring(L, i < SHOWN             ? normalised[i]
                          : i < SHOWN + MEMBERS ? member_names[i - SHOWN]
                                                : context_objects[i - SHOWN - MEMBERS]);
        lua_rawseti(L, -2, i);
    }
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_event_view_open(lua_State *L)
{
    make_names(L);
    tg_lua_set_fill(tg_lazy_build);
    for (int kind = LAZY_EVENT; kind < LAZY_MEMBER + MEMBERS; kind++) {
        lua_pushlightuserdata(L, (void *)&metatables[kind]);
        lua_newtable(L);
        lua_pushinteger(L, kind);
        lua_pushlightuserdata(L, (void *)&key);
        lua_pushcclosure(L, lazy_index, 2);
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
    *v = (struct tg_view){.magic = VIEW_MAGIC, .ev = ev};
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
