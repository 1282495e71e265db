#include "script/request_url.h"

#include "base/buf.h"
#include "base/url.h"
#include "script/request_body.h"
#include "script/state.h"
#include "script/unwind.h"

#include <string.h>
#include <strings.h>

enum { URL_MAX = 64 * 1024 };

static bool host_allowed(const struct tg_dest *dest, struct tg_str host)
{
    for (char **h = dest->hosts; h && *h; h++) {
        if (tg_str_ieq(host, *h))
            return true;
        size_t n = strlen(*h); /* "*.example.com": any name below */
        if ((*h)[0] == '*' && host.n >= n && strncasecmp(host.p + host.n - (n - 1), *h + 1, n - 1) == 0)
            return true;
    }
    return false;
}

static void check_url(lua_State *L, struct tg_str text, const struct tg_dest *dest, struct tg_url *url)
{
    struct tg_err err;
    if (tg_url_parse(text, url, &err))
        luaL_error(L, "deliver: url: %s", err.msg);
    if (url->fragment.n)
        luaL_error(L, "deliver: url: a fragment (#) is never sent: encode it or leave it out");
    if (!url->https && !tg_host_of(L)->options.allow_private)
        luaL_error(L, "deliver: url: https only (http needs egress.allow_private)");
    if (!host_allowed(dest, url->host)) {
        lua_pushlstring(L, url->host.p, url->host.n);
        luaL_error(L,
                   "deliver: url: the script does not name host '%s': add it to hosts, or give the address "
                   "by a setting "
                   "of type url",
                   lua_tostring(L, -1));
    }
}

void tg_request_read_url(lua_State *L, int at, int query, struct tg_request *r, const struct tg_dest *dest)
{
    struct tg_url url;
    struct tg_str text = {NULL, 0};
    if (lua_type(L, at) == LUA_TSTRING)
        text.p = lua_tolstring(L, at, &text.n);
    if (!text.n) {
        (void)luaL_error(L, "deliver: url: text expected, got %s", text.p ? "nothing" : luaL_typename(L, at));
        return;
    }
    check_url(L, text, dest, &url);
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    tg_buf_clear(scratch);
    tg_request_must(L, tg_buf_addstr(scratch, text), "deliver: url");
    if (!lua_isnil(L, query)) {
        char last = text.p[text.n - 1];
        bool bare = !memchr(text.p, '?', text.n);
        tg_request_must(L,
                        tg_buf_adds(scratch, bare                         ? "?"
                                             : last == '?' || last == '&' ? ""
                                                                          : "&"),
                        "deliver: url");
        size_t before = scratch->len;
        tg_request_add_form(L, query, "deliver: query", scratch);
        if (scratch->len == before)
            scratch->len = text.n; /* nothing came: no mark either */
    }
    if (scratch->len > URL_MAX) { /* the event's doing, not the script's */
        lua_pushfstring(L, "the address would have more than %d bytes", URL_MAX);
        tg_lua_end(L, TG_UNWIND_REJECT, "url_too_long", lua_tostring(L, -1), 0);
    }
    r->url = tg_request_text(r, tg_buf_str(scratch));
    if (!r->url)
        tg_lua_no_memory(L);
}
