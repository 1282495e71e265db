/* Loading a destination: the script's table is checked whole, then the settings by its schema, and only then
 * is anything of it used. */
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/cache.h"
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/json_read.h"
#include "script/json_write.h"
#include "script/names.h"
#include "script/nearest.h"
#include "script/schema.h"
#include "script/source_copy.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

static const char *const contract_keys[] = {"name",  "description", "transparent", "settings",
                                            "hosts", "rates",       "concurrency", "batches",
                                            "check", "judge",       "on",          NULL};
static const char *const rate_keys[] = {"per_second", "per_minute", "per_hour", "burst",
                                        "account",    "reset",      NULL};
static const char *const batch_keys[] = {"max_items", "max_bytes", "max_wait_ms", "join", "split", NULL};

struct load {
    struct tg_dest_impl *d;
    struct tg_problems *problems;
    const char *where;            /* path of init.lua */
    int module, schema, settings; /* on the stack */
    bool no_memory;
};

static void unknown_keys(lua_State *L, struct load *l, int table, const char *path, const char *const *known)
{
    struct tg_names *names = tg_lua_names(L, table);
    if (names->other != LUA_TNIL)
        tg_problem_add(l->problems, l->where, path, "names are wanted as keys, not a %s",
                       lua_typename(L, names->other));
    for (size_t i = 0; i < names->n; i++) {
        if (tg_name_in(names->v[i], known))
            continue;
        const char *near = tg_nearest_of(names->v[i], known);
        tg_problem_add(l->problems, l->where, path, "unknown key '%.*s'%s%s%s", TG_STR_ARG(names->v[i]),
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    lua_pop(L, 1);
}

static char *keep(struct load *l, struct tg_str text)
{
    char *copy = tg_strndup(text.n ? text.p : "", text.n);
    l->no_memory = l->no_memory || !copy;
    return copy;
}

static void *keep_array(struct load *l, size_t n, size_t size)
{
    void *array = tg_calloc(n, size);
    l->no_memory = l->no_memory || !array;
    return array;
}

/* The text field at the top, or a problem. */
static struct tg_str text_at(lua_State *L, struct load *l, const char *path)
{
    struct tg_str text = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    if (!text.n)
        tg_problem_add(l->problems, l->where, path, "a text is wanted, not %s",
                       text.p ? "an empty one" : luaL_typename(L, -1));
    return text;
}

/* Replaces a setting's name at the top by that setting's value. False when it is declared but has none: what
 * was wrong with it has been said. */
static bool setting_value(lua_State *L, struct load *l)
{
    bool declared = false;
    if (lua_istable(L, l->schema)) {
        lua_pushvalue(L, -1);
        lua_rawget(L, l->schema);
        declared = lua_istable(L, -1);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_rawget(L, l->settings);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return !declared;
    }
    lua_replace(L, -2);
    return true;
}

enum { AMOUNT_MAX = 1000000000 }; /* fits every type that it is put into */

/* A positive number, or the name of the setting that holds one. `otherwise` when absent. */
static double amount(lua_State *L, struct load *l, int table, const char *key, const char *path,
                     double otherwise)
{
    double n = otherwise;
    lua_getfield(L, table, key);
    if (lua_type(L, -1) == LUA_TSTRING && !setting_value(L, l)) {
        lua_pop(L, 1);
        return otherwise;
    }
    if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > AMOUNT_MAX)
        tg_problem_add(l->problems, l->where, path, "%s: %d is the most", key, AMOUNT_MAX);
    else if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > 0)
        n = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        tg_problem_add(l->problems, l->where, path,
                       "%s: a number above 0 is wanted, or the name of a setting that holds one", key);
    lua_pop(L, 1);
    return n;
}

/* --- hosts --- */

static void add_host(struct load *l, struct tg_str host)
{
    struct tg_dest *pub = &l->d->pub;
    size_t n = 0;
    while (pub->hosts && pub->hosts[n])
        n++;
    char **more = tg_realloc(pub->hosts, (n + 2) * sizeof *more);
    if (!more) {
        l->no_memory = true;
        return;
    }
    pub->hosts = more;
    more[n] = keep(l, host);
    more[n + 1] = NULL;
}

static bool is_host(struct tg_str h)
{
    for (size_t i = 0; i < h.n; i++)
        if (!isalnum((unsigned char)h.p[i]) && !memchr("-._:", h.p[i], 4) &&
            !(h.p[i] == '*' && i == 0 && h.n > 2 && h.p[1] == '.'))
            return false;
    return h.n > 0;
}

/* "api.example.com", "*.example.com", or "{key}": the text of that setting (no problem when it is not set).
 */
static void one_host(lua_State *L, struct load *l)
{
    struct tg_str host = text_at(L, l, "hosts");
    if (host.n > 2 && host.p[0] == '{' && host.p[host.n - 1] == '}') {
        lua_pushlstring(L, host.p + 1, host.n - 2);
        lua_rawget(L, l->settings);
        if (lua_type(L, -1) == LUA_TSTRING) {
            struct tg_str text;
            text.p = lua_tolstring(L, -1, &text.n);
            if (is_host(text))
                add_host(l, text);
            else if (text.n)
                tg_problem_add(l->problems, NULL, l->d->settings_path,
                               "%.*s: a host name is wanted, such as track.example.com", (int)host.n - 2,
                               host.p + 1);
        }
        lua_pop(L, 1);
    } else if (host.n && !is_host(host)) {
        tg_problem_add(l->problems, l->where, "hosts", "'%.*s' is not a host name", TG_STR_ARG(host));
    } else if (host.n) {
        add_host(l, host);
    }
}

static void read_hosts(lua_State *L, struct load *l)
{
    lua_getfield(L, l->module, "hosts");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        tg_problem_add(l->problems, l->where, "hosts", "a list of host names is wanted");
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        one_host(L, l);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    struct tg_names *names = tg_lua_names(L, l->settings);
    for (size_t i = 0; i < names->n; i++) {
        struct tg_url url;
        struct tg_str text = {NULL, 0};
        if (!lua_istable(L, l->schema) || !tg_schema_is_url(L, l->schema, names->v[i]))
            continue;
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, l->settings);
        if (lua_type(L, -1) == LUA_TSTRING)
            text.p = lua_tolstring(L, -1, &text.n);
        if (text.n && !tg_url_parse(text, &url, NULL))
            add_host(l, url.host);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* --- rates --- */

/* "script/rate/value/value": destinations that share an account share the bucket; without `account` it is the
 * destination's own. */
static char *account_key(lua_State *L, struct load *l, int row, const char *name, const char *path)
{
    struct tg_buf b = TG_BUF_INIT(4096);
    int rc = tg_buf_printf(&b, "%s/%s", l->d->source.name, name);
    lua_getfield(L, row, "account");
    if (lua_type(L, -1) == LUA_TSTRING) { /* one setting's name serves as a list of one */
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
    }
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    if (n == 0 && !rc)
        rc = tg_buf_printf(&b, "@%s", l->d->pub.name);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_pushvalue(L, -1);
        if (lua_istable(L, l->schema))
            lua_rawget(L, l->schema);
        if (!lua_istable(L, -1))
            tg_problem_add(l->problems, l->where, path,
                           "account names settings; there is none of the name '%s'",
                           lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2));
        lua_pop(L, 1);
        lua_rawget(L, l->settings);
        const char *value = lua_isnil(L, -1) || lua_istable(L, -1) ? "" : lua_tostring(L, -1);
        if (!rc)
            rc = tg_buf_printf(&b, "/%s", value ? value : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    char *key = rc ? NULL : tg_buf_take(&b, NULL);
    tg_buf_fini(&b);
    l->no_memory = l->no_memory || !key;
    return key;
}

static void read_speed(lua_State *L, struct load *l, int row, struct tg_rate *r, const char *path)
{
    static const struct {
        const char *key;
        double seconds;
    } units[] = {{"per_second", 1}, {"per_minute", 60}, {"per_hour", 3600}};
    int given = 0;
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, row, units[i].key);
        bool there = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (!there)
            continue;
        given++;
        r->per_second = amount(L, l, row, units[i].key, path, 1) / units[i].seconds;
    }
    if (given != 1)
        tg_problem_add(l->problems, l->where, path, "one of per_second, per_minute and per_hour is wanted");
    r->burst = amount(L, l, row, "burst", path, r->per_second > 1 ? ceil(r->per_second) : 1);
}

static void read_rate(lua_State *L, struct load *l, struct tg_rate *r, const char *path)
{
    int row = lua_gettop(L);
    unknown_keys(L, l, row, path, rate_keys);
    read_speed(L, l, row, r, path);
    r->account_key = account_key(L, l, row, r->name, path);
    lua_getfield(L, row, "reset");
    const char *reset = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (strcmp(reset, "seconds") == 0)
        r->reset = TG_RESET_SECONDS;
    else if (strcmp(reset, "epoch") == 0)
        r->reset = TG_RESET_EPOCH;
    else if (!lua_isnil(L, -1))
        tg_problem_add(l->problems, l->where, path,
                       "reset is \"seconds\" (until then) or \"epoch\" (a time)");
    lua_settop(L, row);
}

/* The names of the contract's table `key`, pushed with the table; NULL when there is none. */
static struct tg_names *named_rows(lua_State *L, struct load *l, const char *key)
{
    lua_getfield(L, l->module, key);
    if (lua_isnil(L, -1))
        return NULL;
    if (!lua_istable(L, -1)) {
        tg_problem_add(l->problems, l->where, key, "a table { NAME = { … } } is wanted");
        return NULL;
    }
    struct tg_names *names = tg_lua_names(L, lua_gettop(L));
    tg_lua_names_hold(L, names); /* a row may have metamethods */
    if (names->other != LUA_TNIL)
        tg_problem_add(l->problems, l->where, key, "each row has a name");
    return names;
}

/* What the configuration's row at the top leaves out is as the script's row says; but a speed of its own
 * comes without the script's burst. */
static void inherit_rate(lua_State *L, int row, int script)
{
    bool own_speed = false;
    for (size_t i = 0; i < 3; i++) {
        lua_getfield(L, row, rate_keys[i]);
        own_speed = own_speed || !lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    for (size_t i = own_speed ? 4 : 0; rate_keys[i]; i++) {
        lua_getfield(L, row, rate_keys[i]);
        if (lua_isnil(L, -1)) {
            lua_getfield(L, script, rate_keys[i]);
            lua_setfield(L, row, rate_keys[i]);
        }
        lua_pop(L, 1);
    }
}

static const char *rate_names(const struct tg_dest *pub, char names[512])
{
    size_t used = 0;
    names[0] = '\0';
    for (size_t i = 0; i < pub->n_rates && used < 512; i++)
        used += (size_t)snprintf(names + used, 512 - used, "%s%s", i ? ", " : "", pub->rates[i].name);
    return used ? names : "none";
}

/* The row at the top is what the configuration says of the rate `name`. */
static void override_rate(lua_State *L, struct load *l, struct tg_str name)
{
    struct tg_dest *pub = &l->d->pub;
    struct tg_rate *rate = NULL;
    char path[256], names[512];
    snprintf(path, sizeof path, "destinations.%s.rates.%.*s", pub->name, TG_STR_ARG(name));
    for (size_t i = 0; i < pub->n_rates; i++)
        if (pub->rates[i].name && tg_str_is(name, pub->rates[i].name))
            rate = &pub->rates[i];
    if (!rate) {
        tg_problem_add(l->problems, NULL, path, "the script has no rate of this name; it has: %s",
                       rate_names(pub, names));
    } else if (!lua_istable(L, -1)) {
        tg_problem_add(l->problems, NULL, path,
                       "a table { per_second | per_minute | per_hour, … } is wanted");
    } else {
        int row = lua_gettop(L);
        lua_getfield(L, l->module, "rates");
        lua_getfield(L, -1, rate->name);
        if (lua_istable(L, -1))
            inherit_rate(L, row, row + 2);
        lua_settop(L, row);
        tg_free(rate->account_key);
        rate->account_key = NULL;
        rate->reset = TG_RESET_NONE;
        read_rate(L, l, rate, path);
    }
}

static void override_rates(lua_State *L, struct load *l)
{
    struct tg_str json = tg_str_of(l->d->rates_json), value;
    if (!json.n || tg_json_validate(json, TG_JSON_MAX_DEPTH, &value, NULL))
        return;
    int top = lua_gettop(L);
    const char *where = l->where;
    l->where = NULL; /* it is not the script that says so */
    tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    struct tg_names *names = tg_lua_names(L, top + 1);
    tg_lua_names_hold(L, names);
    for (size_t i = 0; i < names->n; i++) {
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, top + 1);
        override_rate(L, l, names->v[i]);
        lua_pop(L, 1);
    }
    l->where = where;
    lua_settop(L, top);
}

static void read_rates(lua_State *L, struct load *l)
{
    int top = lua_gettop(L);
    struct tg_dest *pub = &l->d->pub;
    struct tg_names *names = named_rows(L, l, "rates");
    if (names)
        pub->rates = keep_array(l, names->n, sizeof *pub->rates);
    for (size_t i = 0; names && pub->rates && i < names->n; i++) {
        char path[200];
        snprintf(path, sizeof path, "rates.%.*s", TG_STR_ARG(names->v[i]));
        pub->n_rates = i + 1;
        pub->rates[i].name = keep(l, names->v[i]);
        if (l->no_memory)
            break;
        lua_getfield(L, top + 1, pub->rates[i].name);
        if (lua_istable(L, -1))
            read_rate(L, l, &pub->rates[i], path);
        else
            tg_problem_add(l->problems, l->where, path,
                           "a table { per_second | per_minute | per_hour, … } is wanted");
        lua_pop(L, 1);
    }
    lua_settop(L, top);
}

/* --- batches --- */

static bool function_field(lua_State *L, struct load *l, int table, const char *key, const char *path,
                           bool required)
{
    lua_getfield(L, table, key);
    bool is = lua_isfunction(L, -1);
    if (!is && (required || !lua_isnil(L, -1)))
        tg_problem_add(l->problems, l->where, path, "%s: a function is wanted, not %s", key,
                       luaL_typename(L, -1));
    lua_pop(L, 1);
    return is;
}

static void read_batch(lua_State *L, struct load *l, struct tg_batch_spec *b, const char *path)
{
    int row = lua_gettop(L);
    unknown_keys(L, l, row, path, batch_keys);
    b->max_items = (size_t)amount(L, l, row, "max_items", path, 100);
    b->max_bytes = (size_t)amount(L, l, row, "max_bytes", path, 1 << 20);
    b->max_wait_ms = (int64_t)amount(L, l, row, "max_wait_ms", path, 500);
    function_field(L, l, row, "join", path, true);
    b->has_split = function_field(L, l, row, "split", path, false);
}

static void read_batches(lua_State *L, struct load *l)
{
    int top = lua_gettop(L);
    struct tg_dest *pub = &l->d->pub;
    struct tg_names *names = named_rows(L, l, "batches");
    if (names) {
        pub->batches = keep_array(l, names->n, sizeof *pub->batches);
        l->d->joins = keep_array(l, names->n, sizeof *l->d->joins);
        l->d->splits = keep_array(l, names->n, sizeof *l->d->splits);
    }
    for (size_t i = 0; names && !l->no_memory && i < names->n; i++) {
        char path[200];
        snprintf(path, sizeof path, "batches.%.*s", TG_STR_ARG(names->v[i]));
        pub->n_batches = i + 1;
        pub->batches[i].name = keep(l, names->v[i]);
        if (l->no_memory)
            break;
        lua_getfield(L, top + 1, pub->batches[i].name);
        if (lua_istable(L, -1))
            read_batch(L, l, &pub->batches[i], path);
        else
            tg_problem_add(l->problems, l->where, path, "a table { max_items, join, … } is wanted");
        lua_pop(L, 1);
    }
    lua_settop(L, top);
}

/* --- on --- */

static void unknown_type(struct load *l, struct tg_str name)
{
    struct tg_nearest near;
    tg_nearest_init(&near, name);
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        tg_nearest_try(&near, tg_str_of(tg_event_type_name((enum tg_event_type)t)));
    tg_problem_add(l->problems, l->where, "on", "unknown event type '%.*s'%s%s%s", TG_STR_ARG(name),
                   near.best[0] ? "; did you mean '" : "", near.best, near.best[0] ? "'?" : "");
}

static void read_on(lua_State *L, struct load *l)
{
    int top = lua_gettop(L);
    lua_getfield(L, l->module, "on");
    if (!lua_istable(L, -1)) {
        tg_problem_add(l->problems, l->where, "on",
                       "required: a table { track = function(event, settings) … end }");
        lua_settop(L, top);
        return;
    }
    struct tg_names *names = tg_lua_names(L, top + 1);
    for (size_t i = 0; i < names->n; i++) {
        enum tg_event_type type;
        char path[64];
        if (!tg_event_type_parse(names->v[i], &type)) {
            unknown_type(l, names->v[i]);
            continue;
        }
        snprintf(path, sizeof path, "on.%.*s", TG_STR_ARG(names->v[i]));
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, top + 1);
        if (lua_isfunction(L, -1))
            l->d->pub.accepts |= 1u << type;
        else
            tg_problem_add(l->problems, l->where, path, "a function is wanted, not %s", luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    if (names->n == 0)
        tg_problem_add(l->problems, l->where, "on", "no event type has a handler");
    lua_settop(L, top);
}

/* --- the script's table --- */

static void read_contract(lua_State *L, struct load *l)
{
    struct tg_dest *pub = &l->d->pub;
    unknown_keys(L, l, l->module, NULL, contract_keys);
    lua_getfield(L, l->module, "name");
    pub->integration = keep(l, text_at(L, l, "name"));
    lua_getfield(L, l->module, "transparent");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        tg_problem_add(l->problems, l->where, "transparent", "true or false is wanted");
    pub->transparent = lua_toboolean(L, -1);
    lua_pop(L, 2);
    function_field(L, l, l->module, "check", "check", false);
    function_field(L, l, l->module, "judge", "judge", false);
    pub->concurrency = (unsigned)amount(L, l, l->module, "concurrency", "concurrency", 0);
    read_hosts(L, l);
    read_rates(L, l);
    override_rates(L, l);
    read_batches(L, l);
    read_on(L, l);
}

/* check(settings): nil, a message, or a list of messages. "key: …" names the setting. */
static void check_message(lua_State *L, struct load *l)
{
    struct tg_str text = text_at(L, l, "check");
    const char *colon = text.n ? memchr(text.p, ':', text.n) : NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", l->d->settings_path);
    if (colon && lua_istable(L, l->schema)) {
        lua_pushlstring(L, text.p, (size_t)(colon - text.p));
        lua_rawget(L, l->schema);
        if (lua_istable(L, -1)) {
            snprintf(path, sizeof path, "%s.%.*s", l->d->settings_path, (int)(colon - text.p), text.p);
            text = tg_str_trim(tg_str_n(colon + 1, text.n - (size_t)(colon + 1 - text.p)));
        }
        lua_pop(L, 1);
    }
    if (text.n)
        tg_problem_add(l->problems, NULL, path, "%.*s", TG_STR_ARG(text));
}

/* "script/init.lua:12: what": where it was is told apart. */
static void add_error(struct load *l, const char *path, const char *text)
{
    const char *mark = strstr(text, ".lua:"), *newline = strchr(text, '\n');
    char where[512];
    size_t n = mark ? strspn(mark + 5, "0123456789") : 0;
    if (mark && n && mark[5 + n] == ':' && (!newline || mark < newline)) {
        snprintf(where, sizeof where, "%.*s", (int)(mark + 5 + n - text), text);
        tg_problem_add(l->problems, where, path, "%s",
                       text + (mark + 6 + n - text) + strspn(mark + 6 + n, " "));
    } else {
        tg_problem_add(l->problems, l->where, path, "%s", text);
    }
}

/* What went wrong is at the top. */
static void add_raised(lua_State *L, struct load *l, const char *path)
{
    struct tg_host *h = l->d->host;
    if (h->heap.refused)
        tg_problem_add(l->problems, l->where, path, "the script needs more memory than it may have");
    else if (h->guard.fired)
        tg_problem_add(l->problems, l->where, path, "the script runs longer than %lld ms",
                       (long long)(h->options.soft_limit_us / 1000));
    else
        add_error(l, path, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "error without a message");
}

static void run_check(lua_State *L, struct load *l)
{
    int top = lua_gettop(L);
    lua_getfield(L, l->module, "check");
    if (!lua_isfunction(L, -1)) {
        lua_settop(L, top);
        return;
    }
    tg_settings_view_push(L, l->settings, 1);
    if (tg_lua_pcall(L, 1, 1)) {
        add_raised(L, l, "check");
    } else if (lua_istable(L, -1)) {
        for (int i = 1; i <= (int)lua_objlen(L, top + 1); i++) {
            lua_rawgeti(L, top + 1, i);
            check_message(L, l);
            lua_pop(L, 1);
        }
    } else if (!lua_isnil(L, -1)) {
        check_message(L, l);
    }
    lua_settop(L, top);
}

/* Runs init.lua; what it returned is at the top on success. */
static int compile_body(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->d->env);
    tg_lua_compile(L, l->d->source.name, tg_source_file(&l->d->source, "init.lua"));
    return 1;
}

static bool run_script(lua_State *L, struct load *l)
{
    lua_pushcfunction(L, compile_body);
    lua_pushlightuserdata(L, l);
    if (lua_pcall(L, 1, 1, 0) || tg_lua_pcall(L, 0, 1)) {
        add_raised(L, l, NULL);
        return false;
    }
    if (!lua_istable(L, -1)) {
        tg_problem_add(l->problems, l->where, NULL,
                       "the script must return a table { name, settings, on, … }, not %s",
                       luaL_typename(L, -1));
        return false;
    }
    return true;
}

/* --- references --- */

static int ref_field(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    return luaL_ref(L, LUA_REGISTRYINDEX); /* LUA_REFNIL for nil */
}

static void keep_references(lua_State *L, struct load *l)
{
    struct tg_dest_impl *d = l->d;
    lua_pushvalue(L, l->module);
    d->module = luaL_ref(L, LUA_REGISTRYINDEX);
    d->n_settings = (int)tg_lua_names(L, l->settings)->n;
    lua_pop(L, 1);
    lua_pushvalue(L, l->settings);
    d->settings = luaL_ref(L, LUA_REGISTRYINDEX);
    d->judge = ref_field(L, l->module, "judge");
    lua_getfield(L, l->module, "on");
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        d->handlers[t] = ref_field(L, lua_gettop(L), tg_event_type_name((enum tg_event_type)t));
    lua_pop(L, 1);
    lua_getfield(L, l->module, "batches");
    for (size_t i = 0; i < d->pub.n_batches; i++) {
        lua_getfield(L, -1, d->pub.batches[i].name);
        d->joins[i] = ref_field(L, lua_gettop(L), "join");
        d->splits[i] = ref_field(L, lua_gettop(L), "split");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (d->config.n_files) {
        tg_filter_push(L, d);
        d->filter = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    d->linked = true;
}

static int link_body(lua_State *L)
{
    struct load *l = lua_touserdata(L, 1);
    struct tg_dest_impl *d = l->d;
    luaL_checkstack(L, 40, NULL);
    tg_sandbox_push_env(L);
    tg_modules_put_require(L, d);
    d->env = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    d->loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    if (!run_script(L, l))
        return 0;
    l->module = lua_gettop(L);
    lua_getfield(L, l->module, "settings");
    l->schema = lua_gettop(L);
    tg_schema_check(L, l->schema, l->where, l->problems);
    if (!lua_istable(L, l->schema) || tg_problems_any(l->problems)) { /* a broken schema judges nothing */
        if (lua_istable(L, l->schema))
            return 0;
    }
    struct tg_schema_in in = {tg_str_of(d->settings_json), d->settings_path, l->where,
                              d->host->options.allow_private};
    tg_schema_settings(L, l->schema, &in, l->problems);
    l->settings = lua_gettop(L);
    bool settings_good = !tg_problems_any(l->problems);
    if (!d->read)
        read_contract(L, l);
    if (settings_good)
        run_check(L, l);
    if (!tg_problems_any(l->problems) && !l->no_memory)
        keep_references(L, l);
    return 0;
}

int tg_dest_link(struct tg_dest_impl *d, struct tg_problems *problems)
{
    const struct tg_script_file *init = tg_source_file(&d->source, "init.lua");
    if (!init) {
        tg_problem_add(problems, d->source.name, NULL, "the script has no init.lua");
        return TG_INVALID;
    }
    struct load l = {.d = d, .problems = problems, .where = init->path};
    struct tg_err err = {0, ""};
    int rc = tg_lua_enter(d->host, d, 0, TG_PHASE_LOAD, link_body, &l, &err);
    if (rc == TG_OK && l.no_memory)
        rc = tg_fail(&err, TG_NOMEM, "out of memory");
    if (rc && !tg_problems_any(problems))
        tg_problem_add(problems, init->path, NULL, "%s", err.msg);
    d->read = d->linked;
    return tg_problems_any(problems) ? TG_INVALID : rc;
}

/* --- the outside --- */

static void unref(struct tg_host *h, int ref)
{
    if (ref > 0)
        tg_lua_unref(h->L, ref);
}

static void unlink_references(struct tg_dest_impl *d)
{
    struct tg_host *h = d->host;
    if (!h->L)
        return;
    unref(h, d->env);
    unref(h, d->loaded);
    if (!d->linked)
        return;
    unref(h, d->module);
    unref(h, d->settings);
    unref(h, d->judge);
    unref(h, d->filter);
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        unref(h, d->handlers[t]);
    for (size_t i = 0; i < d->pub.n_batches; i++) {
        unref(h, d->joins[i]);
        unref(h, d->splits[i]);
    }
}

static void free_contract(struct tg_dest *pub)
{
    for (char **h = pub->hosts; h && *h; h++)
        tg_free(*h);
    for (size_t i = 0; i < pub->n_rates; i++) {
        tg_free(pub->rates[i].name);
        tg_free(pub->rates[i].account_key);
    }
    for (size_t i = 0; i < pub->n_batches; i++)
        tg_free(pub->batches[i].name);
    tg_free(pub->hosts);
    tg_free(pub->rates);
    tg_free(pub->batches);
    tg_free(pub->name);
    tg_free(pub->script);
    tg_free(pub->integration);
}

void tg_dest_free(struct tg_dest **dest)
{
    if (!*dest)
        return;
    struct tg_dest_impl *d = (*dest)->impl;
    unlink_references(d);
    for (struct tg_dest_impl **at = &d->host->dests; *at; at = &(*at)->next)
        if (*at == d) {
            *at = d->next;
            break;
        }
    free_contract(&d->pub);
    tg_free(d->joins);
    tg_free(d->splits);
    tg_free(d->settings_json);
    tg_free(d->settings_path);
    tg_free(d->rates_json);
    tg_source_free(&d->source);
    tg_source_free(&d->config);
    tg_cache_free(&d->cache);
    tg_free(d);
    *dest = NULL;
}

static int fill(struct tg_dest_impl *d, const struct tg_dest_spec *spec)
{
    d->pub.name = tg_strdup(spec->name);
    d->pub.script = tg_strdup(spec->source->name);
    d->settings_json = tg_strndup(spec->settings.n ? spec->settings.p : "", spec->settings.n);
    d->settings_path = tg_strdup(spec->settings_path ? spec->settings_path : "settings");
    d->rates_json = spec->rates ? tg_strdup(spec->rates) : NULL;
    if (!d->pub.name || !d->pub.script || !d->settings_json || !d->settings_path ||
        !spec->rates != !d->rates_json)
        return TG_NOMEM;
    d->pub.has_filter = spec->config != NULL;
    int rc = spec->config ? tg_source_copy(&d->config, spec->config) : TG_OK;
    return rc ? rc : tg_source_copy(&d->source, spec->source);
}

int tg_dest_load(struct tg_host *host, const struct tg_dest_spec *spec, struct tg_dest **out,
                 struct tg_problems *problems)
{
    struct tg_err err;
    if (tg_host_ready(host, &err)) {
        tg_problem_add(problems, NULL, spec->name, "%s", err.msg);
        return TG_INVALID;
    }
    struct tg_dest_impl *d = tg_calloc(1, sizeof *d);
    if (!d) {
        tg_problem_add(problems, NULL, spec->name, "out of memory");
        return TG_INVALID;
    }
    d->pub.impl = d;
    d->pub.host = host;
    d->host = host;
    d->env = d->loaded = LUA_NOREF;
    struct tg_dest *dest = &d->pub;
    if (fill(d, spec)) {
        tg_problem_add(problems, NULL, spec->name, "out of memory");
        tg_dest_free(&dest);
        return TG_INVALID;
    }
    struct tg_problems own;
    tg_problems_init(&own); /* others' problems must not make this one bad */
    int rc = tg_dest_link(d, &own);
    for (size_t i = 0; i < own.n; i++)
        tg_problem_add(problems, own.items[i].where, own.items[i].path, "%s", own.items[i].reason);
    problems->lost += own.lost;
    tg_problems_fini(&own);
    if (rc) {
        tg_dest_free(&dest);
        return TG_INVALID;
    }
    d->next = host->dests;
    host->dests = d;
    *out = dest;
    return TG_OK;
}

/* --- describing --- */

static int describe_body(lua_State *L)
{
    struct tg_dest_impl *d = lua_touserdata(L, 1);
    static const char *const copied[] = {"name",  "description", "settings",
                                         "hosts", "concurrency", "transparent"};
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->module);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        lua_getfield(L, -2, copied[i]);
        lua_setfield(L, -2, copied[i]);
    }
    lua_newtable(L);
    for (int t = 0, n = 0; t < TG_EVENT_TYPES; t++)
        if (d->pub.accepts & (1u << t)) {
            lua_pushstring(L, tg_event_type_name((enum tg_event_type)t));
            lua_rawseti(L, -2, ++n);
        }
    lua_setfield(L, -2, "accepts");
    lua_newtable(L);
    for (size_t i = 0; i < d->pub.n_rates; i++) {
        lua_newtable(L);
        lua_pushnumber(L, d->pub.rates[i].per_second);
        lua_setfield(L, -2, "per_second");
        lua_pushnumber(L, d->pub.rates[i].burst);
        lua_setfield(L, -2, "burst");
        lua_setfield(L, -2, d->pub.rates[i].name);
    }
    lua_setfield(L, -2, "rates");
    lua_newtable(L);
    for (size_t i = 0; i < d->pub.n_batches; i++) {
        lua_newtable(L);
        lua_pushnumber(L, (double)d->pub.batches[i].max_items);
        lua_setfield(L, -2, "max_items");
        lua_pushnumber(L, (double)d->pub.batches[i].max_bytes);
        lua_setfield(L, -2, "max_bytes");
        lua_pushnumber(L, (double)d->pub.batches[i].max_wait_ms);
        lua_setfield(L, -2, "max_wait_ms");
        lua_setfield(L, -2, d->pub.batches[i].name);
    }
    lua_setfield(L, -2, "batches");
    char why[256];
    struct tg_buf *scratch = &d->host->scratch;
    tg_buf_clear(scratch);
    if (tg_lua_encode_json(L, lua_gettop(L), scratch, why, sizeof why))
        luaL_error(L, "%s", why);
    return 0;
}

void tg_dest_forget(struct tg_dest *dest)
{
    struct tg_dest_impl *d = dest->impl;
    if (d->cache)
        tg_cache_clear(d->cache);
}

int tg_dest_describe(const struct tg_dest *dest, struct tg_buf *json)
{
    struct tg_dest_impl *d = dest->impl;
    struct tg_err err;
    int rc = tg_host_ready(d->host, &err);
    if (!rc && !d->linked)
        rc = TG_SCRIPT;
    if (!rc)
        rc = tg_lua_enter(d->host, d, 0, TG_PHASE_LOAD, describe_body, d, &err);
    return rc ? rc : tg_buf_addstr(json, tg_buf_str(&d->host->scratch));
}
