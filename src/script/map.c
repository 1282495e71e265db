/* map(event, rows): a table filled by rows { to, from, as, required, default }.
 *
 * The rows come as a tree of paths (rows.h). While a member of the event was not made a table, it is not made
 * one for map either: its bytes are walked once, each of its members that the tree knows is noted, and only
 * what a row takes becomes a Lua value. Members that a script has read (and may have changed) are tables and
 * are read as such. */
#include "script/map.h"

#include "base/json.h"
#include "script/args.h"
#include "script/coverage.h"
#include "script/event_view.h"
#include "script/json_read.h"
#include "script/names.h"
#include "script/paths.h"
#include "script/rows.h"
#include "script/state.h"
#include "script/unwind.h"

enum { CELLS_ON_STACK = 192 };
enum { EVENT = 1, ROWS, OUT, COMPILED, TEXTS, SLOTS }; /* stack slots; tables of inner nodes from SLOTS on */

/* What is known of a node for this event. */
struct cell {
    enum {
        UNKNOWN, /* not looked for; or, once the parent was walked, not there */
        ABSENT,
        BYTES, /* text is its JSON */
        TEXT,  /* text is its text */
        TABLE, /* at SLOTS + the node's slot; only of nodes with others below */
        UNREAD_EVENT
    } state;
    bool walked, context; /* BYTES: members have been noted; it is the event's context */
    struct tg_str text;
};

struct mapping {
    lua_State *L;
    struct tg_rows *rows;
    struct cell *cells;
    struct tg_view *view; /* UNREAD_EVENT */
};

/* --- nodes --- */

static void note(struct mapping *m, int parent, int node, struct tg_str key, struct tg_str value)
{
    enum tg_json_type type = tg_json_type(value);
    struct cell *c = &m->cells[node];
    /* What reads as an empty table when it is missing does so too when it is something else. */
    bool emptied = m->cells[parent].context && type != TG_JSON_OBJECT && tg_context_object(key);
    c->state = emptied || type == TG_JSON_NULL ? ABSENT : BYTES;
    c->text = value;
}

/* A key with escapes: rare, so it is compared with all. */
static void note_escaped(struct mapping *m, int parent, struct tg_str key, struct tg_str value)
{
    for (int i = 1; i < m->rows->n_nodes; i++) {
        const struct tg_row_node *node = &m->rows->nodes[i];
        if (node->parent == parent && tg_json_key_is(key, node->key.p) && strlen(node->key.p) == node->key.n)
            note(m, parent, i, node->key, value);
    }
}

static void note_item(struct mapping *m, int parent, int index, struct tg_str value)
{
    for (int i = 1; i < m->rows->n_nodes; i++)
        if (m->rows->nodes[i].parent == parent && m->rows->nodes[i].index == index)
            note(m, parent, i, m->rows->nodes[i].key, value);
}

/* Notes which children of the node are in its bytes. Of members of one name the last counts. */
static void walk(struct mapping *m, int parent)
{
    struct cell *c = &m->cells[parent];
    bool array = tg_json_type(c->text) == TG_JSON_ARRAY;
    c->walked = true;
    if (!array && tg_json_type(c->text) != TG_JSON_OBJECT)
        return;
    struct tg_json_walk w = tg_json_walk(c->text);
    for (int index = 0; tg_json_next(&w); index++) {
        struct tg_str key = array ? w.key : tg_str_n(w.key.p + 1, w.key.n - 2);
        int node = array ? 0 : tg_rows_find(m->rows, parent, key);
        if (array)
            note_item(m, parent, index, w.value);
        else if (node)
            note(m, parent, node, key, w.value);
        else if (key.n && memchr(key.p, '\\', key.n))
            note_escaped(m, parent, w.key, w.value);
    }
}

static void from_event(struct mapping *m, const struct tg_row_node *node, struct cell *c)
{
    struct tg_view_value value;
    tg_view_member(m->view, node->key, &value);
    static const int states[] = {[TG_VIEW_NOTHING] = ABSENT, [TG_VIEW_JSON] = BYTES, [TG_VIEW_TEXT] = TEXT};
    c->state = states[value.kind];
    c->text = value.text;
    c->context = value.context;
}

/* Pushes the field of the table behind `parent`, or nil. */
static void push_field(struct mapping *m, int parent, const struct tg_row_node *node)
{
    lua_State *L = m->L;
    int table = parent ? SLOTS + m->rows->nodes[parent].slot : EVENT;
    lua_rawgeti(L, TEXTS, node->text);
    lua_rawget(L, table);
    if (node->index >= 0 && lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_rawgeti(L, table, node->index + 1);
    }
}

/* The table at idx as a cell's contents. */
static void look_at_table(struct mapping *m, int idx, struct cell *c)
{
    struct tg_unread unread;
    c->state = TABLE;
    tg_lazy_unread(m->L, idx, &unread);
    if (unread.kind == TG_UNREAD_OBJECT) {
        c->state = unread.object.n ? BYTES : ABSENT;
        c->text = unread.object;
        c->context = unread.context;
    } else if (unread.kind == TG_UNREAD_EVENT && idx == EVENT) {
        c->state = UNREAD_EVENT;
        m->view = unread.view;
    } else {
        tg_lazy_build(m->L, idx);
    }
}

static void from_table(struct mapping *m, int parent, const struct tg_row_node *node, struct cell *c)
{
    lua_State *L = m->L;
    c->state = ABSENT;
    push_field(m, parent, node);
    if (lua_istable(L, -1) && node->slot >= 0) {
        look_at_table(m, lua_gettop(L), c);
        lua_replace(L, SLOTS + node->slot);
    } else {
        lua_pop(L, 1);
    }
}

static struct cell *resolve(struct mapping *m, int at)
{
    struct cell *c = &m->cells[at];
    if (c->state != UNKNOWN)
        return c;
    const struct tg_row_node *node = &m->rows->nodes[at];
    struct cell *parent = resolve(m, node->parent);
    if (parent->state == BYTES && !parent->walked)
        walk(m, node->parent);
    else if (parent->state == UNREAD_EVENT)
        from_event(m, node, c);
    else if (parent->state == TABLE)
        from_table(m, node->parent, node, c);
    if (c->state == UNKNOWN)
        c->state = ABSENT;
    return c;
}

/* --- values --- */

static void push_scalar(lua_State *L, struct tg_str value)
{
    struct tg_str text;
    double number;
    if (tg_json_plain(value, &text))
        lua_pushlstring(L, text.n ? text.p : "", text.n);
    else if (tg_json_type(value) == TG_JSON_BOOL)
        lua_pushboolean(L, value.p[0] == 't');
    else if (tg_json_type(value) == TG_JSON_NUMBER && tg_json_exact(value, &number))
        lua_pushnumber(L, number);
    else
        tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
}

enum found { NOT_THERE, UNUSABLE, PUSHED };

/* An array or object comes out as the table that the script would see. */
static enum found push_table(struct mapping *m, const struct tg_row *row, const struct tg_row_way *way)
{
    lua_State *L = m->L;
    if (row->n_as && m->rows->as[row->as].converter)
        return UNUSABLE; /* no conversion takes a table */
    lua_rawgeti(L, TEXTS, way->path);
    tg_path_push(L, EVENT, tg_arg_path(L, -1), true);
    lua_remove(L, -2);
    return PUSHED;
}

/* Pushes what is at the end of the way. */
static enum found push_way(struct mapping *m, const struct tg_row *row, const struct tg_row_way *way)
{
    lua_State *L = m->L;
    const struct tg_row_node *node = &m->rows->nodes[way->node];
    if (resolve(m, node->parent)->state == TABLE) {
        push_field(m, node->parent, node);
        if (!lua_isnil(L, -1))
            return PUSHED;
        lua_pop(L, 1);
        return NOT_THERE;
    }
    struct cell *c = resolve(m, way->node);
    enum tg_json_type type = c->state == BYTES ? tg_json_type(c->text) : TG_JSON_NULL;
    if (type == TG_JSON_ARRAY || type == TG_JSON_OBJECT || c->context) /* a context is never empty */
        return push_table(m, row, way);
    if (c->state == BYTES)
        push_scalar(L, c->text);
    else if (c->state == TEXT)
        lua_pushlstring(L, c->text.p, c->text.n);
    else
        return NOT_THERE;
    return PUSHED;
}

/* Replaces the value at the top by what the script's function makes of it; false when that is nil. The script
 * may have changed the row since it was read. */
static bool call_function(lua_State *L, int row, int at)
{
    lua_rawgeti(L, ROWS, row);
    lua_getfield(L, -1, "as");
    if (at) {
        if (!lua_istable(L, -1))
            luaL_error(L, "map: row %d: 'as' is no list any more; leave rows as they are", row);
        lua_rawgeti(L, -1, at);
        lua_replace(L, -2);
    }
    lua_replace(L, -2);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    return !lua_isnil(L, -1);
}

/* Converts the value at the top; false when it cannot be or nothing is left. */
static bool usable(struct mapping *m, const struct tg_row *row)
{
    lua_State *L = m->L;
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA &&
        !lua_touserdata(L, -1)) /* JSON null, put there by the script */
        return false;
    if (tg_value_is_empty(L))
        return false;
    for (int i = 0; i < row->n_as; i++) {
        const struct tg_row_as *as = &m->rows->as[row->as + i];
        if (!(as->converter ? tg_convert(L, as->converter)
                            : call_function(L, (int)(row - m->rows->rows) + 1, as->at)))
            return false;
    }
    return row->n_as == 0 || !tg_value_is_empty(L);
}

/* Pushes the first value that is there and can be converted; the path that led to it, or 0. */
static int push_value(struct mapping *m, const struct tg_row *row)
{
    int over = 0; /* this path has led to something that is of no use */
    for (int i = 0; i < row->n_ways; i++) {
        const struct tg_row_way *way = &m->rows->ways[row->ways + i];
        int top = lua_gettop(m->L);
        if (way->path == over)
            continue;
        enum found found = push_way(m, row, way);
        if (found == PUSHED && usable(m, row))
            return way->path;
        if (found != NOT_THERE)
            over = way->path;
        lua_settop(m->L, top);
    }
    return 0;
}

/* --- rows --- */

static int missing(lua_State *L, int to, int required)
{
    if (lua_type(L, required) == LUA_TSTRING)
        return tg_lua_end(L, TG_UNWIND_SKIP, lua_tostring(L, required), NULL, 0);
    const char *reason = lua_pushfstring(L, "missing_%s", lua_tostring(L, to));
    return tg_lua_end(L, TG_UNWIND_REJECT, reason, NULL, 0);
}

/* Pushes the row's default; false when there is none. Ends the handler when the row is required. */
static bool push_default(struct mapping *m, const struct tg_row *row)
{
    lua_State *L = m->L;
    int top = lua_gettop(L);
    lua_rawgeti(L, ROWS, (int)(row - m->rows->rows) + 1);
    lua_getfield(L, -1, "default");
    if (!lua_isnil(L, -1))
        return true;
    lua_rawgeti(L, TEXTS, row->to);
    lua_getfield(L, top + 1, "required");
    if (lua_toboolean(L, -1))
        missing(L, top + 3, top + 4);
    lua_settop(L, top);
    return false;
}

static void note_key(struct mapping *m, struct tg_coverage *coverage, const struct tg_coverage_row *row,
                     unsigned place, const char *key, bool touched)
{
    lua_State *L = m->L;
    lua_rawgeti(L, ROWS, (int)row->row);
    lua_getfield(L, -1, key);
    if (lua_toboolean(L, -1))
        tg_coverage_part(coverage, row, place, key, touched);
    lua_pop(L, 2);
}

/* Whether ingest sees to it that the row's first path leads to something. */
static bool always_there(lua_State *L, const struct tg_rows *rows, const struct tg_row *row)
{
    static const char *const members[] = {"messageId", "timestamp", "receivedAt", "type", "event", NULL};
    struct tg_str path;
    lua_rawgeti(L, TEXTS, rows->ways[row->ways].path);
    path.p = lua_tolstring(L, -1, &path.n);
    lua_pop(L, 1);
    return tg_name_in(path, members);
}

/* For `tidegate test`: which rows of which call have found something, by which path. */
static void note_row(struct mapping *m, struct tg_coverage *coverage, const struct tg_row *row, int found)
{
    lua_State *L = m->L;
    int top = lua_gettop(L);
    lua_rawgeti(L, TEXTS, row->to);
    luaL_where(L, 1);
    struct tg_coverage_row r = {lua_tostring(L, -1), (unsigned)(row - m->rows->rows) + 1,
                                lua_tostring(L, -2)};
    tg_coverage_row(coverage, &r, found != 0);
    unsigned place = 0;
    for (int i = 0, path = 0; i < row->n_ways; i++) {
        const struct tg_row_way *way = &m->rows->ways[row->ways + i];
        if (way->path == path)
            continue;
        path = way->path;
        lua_rawgeti(L, TEXTS, path);
        tg_coverage_part(coverage, &r, ++place, lua_pushfstring(L, "from %s", lua_tostring(L, -1)),
                         path == found);
        lua_pop(L, 2);
    }
    note_key(m, coverage, &r, TG_COVERAGE_DEFAULT, "default", !found);
    if (!always_there(L, m->rows, row))
        note_key(m, coverage, &r, TG_COVERAGE_REQUIRED, "required", !found);
    lua_settop(L, top);
}

static void map_rows(struct mapping *m)
{
    lua_State *L = m->L;
    const struct tg_host *h = tg_host_if(L);
    struct tg_coverage *coverage = h ? h->options.coverage : NULL;
    int filled = 0, top = lua_gettop(L);
    for (int i = 0; i < m->rows->n; i++) {
        const struct tg_row *row = &m->rows->rows[i];
        int found = push_value(m, row);
        if (coverage && tg_coverage_is_on(coverage))
            note_row(m, coverage, row, found);
        if (found || (row->otherwise && push_default(m, row))) {
            lua_rawgeti(L, TEXTS, row->to);
            lua_pushvalue(L, -2);
            lua_rawset(L, OUT);
            filled++;
            lua_settop(L, top);
        }
    }
    m->rows->filled = filled;
}

int tg_map(lua_State *L)
{
    struct cell room[CELLS_ON_STACK];
    struct mapping m = {.L = L, .cells = room};
    tg_lua_check_depth(L);
    luaL_checktype(L, EVENT, LUA_TTABLE);
    luaL_checktype(L, ROWS, LUA_TTABLE);
    lua_settop(L, ROWS);
    lua_pushnil(L); /* OUT, whose size is in the rows */
    m.rows = tg_rows_push(L, ROWS, lua_upvalueindex(1));
    lua_getfenv(L, COMPILED);
    luaL_checkstack(L, m.rows->n_slots + 20, "map");
    lua_createtable(L, 0, m.rows->filled);
    lua_replace(L, OUT);
    lua_settop(L, TEXTS + m.rows->n_slots);
    if (m.rows->n_nodes > CELLS_ON_STACK)
        m.cells = lua_newuserdata(L, (size_t)m.rows->n_nodes * sizeof *m.cells);
    memset(m.cells, 0, (size_t)m.rows->n_nodes * sizeof *m.cells);
    look_at_table(&m, EVENT, &m.cells[0]);
    map_rows(&m);
    lua_pushvalue(L, OUT);
    return 1;
}
