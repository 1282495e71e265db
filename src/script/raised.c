#include "script/raised.h"

#include "script/state.h"

#include <stdio.h>
#include <string.h>

/* "script/init.lua:12: what": where it was is told apart. */
static void add_error(struct tg_problems *problems, const char *whole, const char *path, const char *text)
{
    const char *mark = strstr(text, ".lua:"), *newline = strchr(text, '\n');
    char where[512];
    size_t n = mark ? strspn(mark + 5, "0123456789") : 0;
    if (mark && n && mark[5 + n] == ':' && (!newline || mark < newline)) {
        snprintf(where, sizeof where, "%.*s", (int)(mark + 5 + n - text), text);
        tg_problem_add(problems, where, path, "%s", text + (mark + 6 + n - text) + strspn(mark + 6 + n, " "));
    } else {
        tg_problem_add(problems, whole, path, "%s", text);
    }
}

void tg_raised_add(lua_State *L, struct tg_problems *problems, const char *where, const char *path)
{
    struct tg_host *h = tg_host_of(L);
    if (h->heap.refused)
        tg_problem_add(problems, where, path, "the script needs more memory than it may have");
    else if (h->guard.fired)
        tg_problem_add(problems, where, path, "the script runs longer than %lld ms",
                       (long long)(h->options.soft_limit_us / 1000));
    else
        add_error(problems, where, path,
                  lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "error without a message");
}
