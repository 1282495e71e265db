#include "script/rows.h"

#include "script/args.h"
#include "script/names.h"
#include "script/nearest.h"

#include <lauxlib.h>
#include <stddef.h>

/* How much room a list needs; counted while it is checked. */
struct size {
    size_t rows, as, steps;
};

static const char *const row_keys[] = {"to", "from", "as", "required", "default", NULL};

/* --- checking --- */

/* Pushes a field of the row. No metamethod is asked: the list is read twice, first to see how much room it
 * needs, and a function of the script's could say something else the second time. */
static void push_field(lua_State *L, int row, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, row);
}

static int row_error(lua_State *L, int i, const char *what)
{
    return luaL_error(L, "map: row %d: %s", i, what);
}

static void check_as(lua_State *L, int i, struct size *size)
{
    size->as++;
    if (lua_type(L, -1) == LUA_TSTRING) {
        (void)tg_converter_find(L, lua_tostring(L, -1));
        return;
    }
    if (!lua_istable(L, -1)) {
        if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
            row_error(L, i, "'as' is a conversion's name, a list of them, or a function");
        return;
    }
    size->as += lua_objlen(L, -1);
    for (int j = 1; j <= (int)lua_objlen(L, -1); j++) {
        lua_rawgeti(L, -1, j);
        if (lua_type(L, -1) == LUA_TSTRING)
            (void)tg_converter_find(L, lua_tostring(L, -1));
        else if (!lua_isfunction(L, -1))
            row_error(L, i, "'as' lists conversions' names and functions");
        lua_pop(L, 1);
    }
}

static void check_path(lua_State *L, struct size *size)
{
    struct tg_str path = tg_arg_path(L, -1);
    size->steps++;
    for (size_t i = 0; i < path.n; i++)
        size->steps += path.p[i] == '.';
}

static void check_from(lua_State *L, int i, struct size *size)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        check_path(L, size);
        return;
    }
    if (!lua_istable(L, -1))
        row_error(L, i, "'from' is a path or a list of paths");
    for (int j = 1; j <= (int)lua_objlen(L, -1); j++) {
        lua_rawgeti(L, -1, j);
        check_path(L, size);
        lua_pop(L, 1);
    }
}

static int unknown_key(lua_State *L, int i)
{
    struct tg_str name = {"?", 1};
    if (lua_type(L, -2) == LUA_TSTRING)
        name.p = lua_tolstring(L, -2, &name.n);
    const char *near = tg_nearest_of(name, row_keys);
    return luaL_error(L, "map: row %d: unknown key '%s'%s%s%s", i, name.p, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

static void check_row(lua_State *L, int row, int i, struct size *size)
{
    for (lua_pushnil(L); lua_next(L, row); lua_pop(L, 1)) {
        struct tg_str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        if (!tg_name_in(name, row_keys))
            unknown_key(L, i);
    }
    push_field(L, row, "to");
    if (lua_type(L, -1) != LUA_TSTRING)
        row_error(L, i, "'to' is the name of the field to fill");
    push_field(L, row, "from");
    check_from(L, i, size);
    push_field(L, row, "as");
    check_as(L, i, size);
    push_field(L, row, "required");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        row_error(L, i, "'required' is true, or the word to skip with");
    lua_pop(L, 4);
}

static struct size check_rows(lua_State *L, int idx)
{
    struct size size = {.rows = lua_objlen(L, idx)};
    for (int i = 1; i <= (int)size.rows; i++) {
        lua_rawgeti(L, idx, i);
        if (!lua_istable(L, -1))
            row_error(L, i, "a row is a table { to, from, as, required, default }");
        check_row(L, lua_gettop(L), i, &size);
        lua_pop(L, 1);
    }
    return size;
}

/* --- the tree --- */

/* Any function of all bytes would do; these are cheap and tell names apart that begin or end alike. */
static size_t hash_of(int parent, struct tg_str key)
{
    uint64_t head = 0, tail = 0;
    if (key.n >= sizeof head) {
        memcpy(&head, key.p, sizeof head);
        memcpy(&tail, key.p + key.n - sizeof tail, sizeof tail);
    } else if (key.n) {
        memcpy(&head, key.p, key.n);
    }
    uint64_t mixed = (head ^ (uint64_t)key.n << 32 ^ (uint64_t)parent) * 0x9e3779b97f4a7c15ULL + tail;
    return (size_t)(mixed * 0xff51afd7ed558ccdULL >> 32);
}

/* Where the node of that key is in the hash, or would be. */
static int *place_of(const struct tg_rows *r, int parent, struct tg_str key)
{
    size_t at = hash_of(parent, key) & r->hash_mask;
    for (;; at = (at + 1) & r->hash_mask) {
        const struct tg_row_node *node = &r->nodes[r->hash[at]];
        if (!r->hash[at] || (node->parent == parent && node->key.n == key.n &&
                             (key.n == 0 || memcmp(node->key.p, key.p, key.n) == 0)))
            return &r->hash[at];
    }
}

int tg_rows_find(const struct tg_rows *rows, int parent, struct tg_str key)
{
    return *place_of(rows, parent, key);
}

bool tg_row_index(struct tg_str step, int *index)
{
    *index = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (step.p[i] < '0' || step.p[i] > '9' || i > 6)
            return false;
        *index = *index * 10 + (step.p[i] - '0');
    }
    return step.n > 0;
}

/* Keeps the text at the top, which it pops, in the table of texts. */
static int keep_text(lua_State *L, struct tg_rows *r, int texts)
{
    lua_rawseti(L, texts, ++r->n_texts);
    return r->n_texts;
}

static int child_of(lua_State *L, struct tg_rows *r, int texts, int parent, struct tg_str key)
{
    int *place = place_of(r, parent, key);
    int known = *place;
    if (known)
        return known;
    struct tg_row_node *node = &r->nodes[r->n_nodes];
    *node = (struct tg_row_node){.parent = parent, .slot = -1};
    if (!tg_row_index(key, &node->index))
        node->index = -1;
    lua_pushlstring(L, key.p, key.n);
    node->key.p = lua_tolstring(L, -1, &node->key.n);
    node->text = keep_text(L, r, texts);
    if (r->nodes[parent].slot < 0)
        r->nodes[parent].slot = r->n_slots++;
    return *place = r->n_nodes++;
}

/* The path at the top of the stack, which it pops. */
static void add_path(lua_State *L, struct tg_rows *r, int texts, struct tg_row *row)
{
    struct tg_str rest = tg_arg_path(L, -1);
    int path = keep_text(L, r, texts), node = 0;
    for (;;) {
        const char *dot = rest.n ? memchr(rest.p, '.', rest.n) : NULL;
        r->ways[r->n_ways++] = (struct tg_row_way){child_of(L, r, texts, node, rest), path};
        row->n_ways++;
        if (!dot)
            return;
        struct tg_str step = tg_str_n(rest.p, (size_t)(dot - rest.p));
        node = child_of(L, r, texts, node, step);
        rest = tg_str_n(dot + 1, rest.n - step.n - 1);
    }
}

/* A conversion's name or a function at the top of the stack, which it pops. */
static void add_as(lua_State *L, struct tg_rows *r, struct tg_row *row, int at)
{
    bool named = lua_type(L, -1) == LUA_TSTRING;
    r->as[r->n_as++] = (struct tg_row_as){named ? tg_converter_find(L, lua_tostring(L, -1)) : NULL, at};
    row->n_as++;
    lua_pop(L, 1);
}

static bool has_field(lua_State *L, int table, const char *name)
{
    push_field(L, table, name);
    bool has = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has;
}

static void add_row(lua_State *L, struct tg_rows *r, int texts, int table)
{
    struct tg_row *row = &r->rows[r->n++];
    *row = (struct tg_row){.ways = r->n_ways, .as = r->n_as};
    push_field(L, table, "to");
    row->to = keep_text(L, r, texts);
    push_field(L, table, "from");
    if (lua_istable(L, -1)) {
        int n = (int)lua_objlen(L, -1);
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            add_path(L, r, texts, row);
        }
        lua_pop(L, 1);
    } else {
        add_path(L, r, texts, row);
    }
    push_field(L, table, "as");
    if (lua_istable(L, -1)) {
        int n = (int)lua_objlen(L, -1);
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            add_as(L, r, row, i);
        }
        lua_pop(L, 1);
    } else if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
    } else {
        add_as(L, r, row, 0);
    }
    row->otherwise = has_field(L, table, "default") || has_field(L, table, "required");
}

/* Pushes an empty list with room for so much. */
static struct tg_rows *push_room(lua_State *L, struct size size)
{
    size_t nodes = 1 + 2 * size.steps, hash = 4; /* a step is a node, and so is what begins there */
    while (hash < 2 * nodes)
        hash *= 2;
    struct tg_rows *r =
        lua_newuserdata(L, sizeof *r + size.rows * sizeof *r->rows + size.steps * sizeof *r->ways +
                               size.as * sizeof *r->as + nodes * sizeof *r->nodes + hash * sizeof *r->hash);
    *r = (struct tg_rows){.n_nodes = 1, .hash_mask = hash - 1};
    r->nodes = (struct tg_row_node *)(r + 1); /* what must be aligned most comes first */
    r->as = (struct tg_row_as *)(r->nodes + nodes);
    r->rows = (struct tg_row *)(r->as + size.as);
    r->ways = (struct tg_row_way *)(r->rows + size.rows);
    r->hash = (int *)(r->ways + size.steps);
    r->nodes[0] = (struct tg_row_node){.parent = -1, .slot = -1, .index = -1};
    memset(r->hash, 0, hash * sizeof *r->hash);
    return r;
}

static struct tg_rows *read_rows(lua_State *L, int idx)
{
    struct size size = check_rows(L, idx);
    struct tg_rows *r = push_room(L, size);
    int at = lua_gettop(L), texts = at + 1;
    lua_newtable(L);
    for (int i = 1; i <= (int)size.rows; i++) {
        lua_rawgeti(L, idx, i);
        if (!lua_istable(L, -1)) /* the list was weak, and making room has collected garbage */
            row_error(L, i, "it is gone; a list of rows must hold its rows");
        add_row(L, r, texts, texts + 1);
        lua_pop(L, 1);
    }
    lua_setfenv(L, at);
    return r;
}

struct tg_rows *tg_rows_push(lua_State *L, int idx, int known)
{
    lua_pushvalue(L, idx);
    lua_rawget(L, known);
    struct tg_rows *r = lua_touserdata(L, -1);
    if (r && (size_t)r->n == lua_objlen(L, idx)) /* a list may still grow */
        return r;
    lua_pop(L, 1);
    luaL_checkstack(L, 12, "map");
    r = read_rows(L, idx);
    lua_pushvalue(L, idx);
    lua_pushvalue(L, -2);
    lua_rawset(L, known);
    return r;
}
