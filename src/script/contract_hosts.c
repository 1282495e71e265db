#include "script/contract_hosts.h"

#include "base/mem.h"
#include "base/url.h"
#include "script/names.h"
#include "script/schema.h"

#include <ctype.h>
#include <string.h>

static void add_host(struct tg_contract_reader *r, struct tg_dest *pub, struct tg_str host)
{
    size_t n = 0;
    while (pub->hosts && pub->hosts[n])
        n++;
    char **more = tg_realloc(pub->hosts, (n + 2) * sizeof *more);
    if (!more) {
        r->no_memory = true;
        return;
    }
    pub->hosts = more;
    more[n] = tg_contract_keep(r, host);
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
static void one_host(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    struct tg_str host = tg_contract_text(L, r, "hosts");
    if (host.n > 2 && host.p[0] == '{' && host.p[host.n - 1] == '}') {
        lua_pushlstring(L, host.p + 1, host.n - 2);
        lua_rawget(L, r->settings);
        if (lua_type(L, -1) == LUA_TSTRING) {
            struct tg_str text;
            text.p = lua_tolstring(L, -1, &text.n);
            if (is_host(text))
                add_host(r, pub, text);
            else if (text.n)
                tg_problem_add(r->problems, NULL, r->settings_path,
                               "%.*s: a host name is wanted, such as track.example.com", (int)host.n - 2,
                               host.p + 1);
        }
        lua_pop(L, 1);
    } else if (host.n && !is_host(host)) {
        tg_problem_add(r->problems, r->where, "hosts", "'%.*s' is not a host name", TG_STR_ARG(host));
    } else if (host.n) {
        add_host(r, pub, host);
    }
}

/* Those of `hosts`. */
static void read_declared(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    lua_getfield(L, r->module, "hosts");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        tg_problem_add(r->problems, r->where, "hosts", "a list of host names is wanted");
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        one_host(L, r, pub);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Those of settings of type url. */
static void read_settings(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    struct tg_names *names = tg_lua_names(L, r->settings);
    for (size_t i = 0; i < names->n; i++) {
        struct tg_url url;
        struct tg_str text = {NULL, 0};
        if (!lua_istable(L, r->schema) || !tg_schema_is_url(L, r->schema, names->v[i]))
            continue;
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, r->settings);
        if (lua_type(L, -1) == LUA_TSTRING)
            text.p = lua_tolstring(L, -1, &text.n);
        if (text.n && !tg_url_parse(text, &url, NULL))
            add_host(r, pub, url.host);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void tg_contract_read_hosts(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    read_declared(L, r, pub);
    read_settings(L, r, pub);
}
