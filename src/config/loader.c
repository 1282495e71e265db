/* One throw-away Lua state: bounded in memory and in instructions, with `env` and `file` as its only globals.
 * The returned table is then walked along the option tables; nothing of Lua survives but plain C.
 *
 * A Lua error is a long jump out of the one protected call: whatever is allocated meanwhile is reachable from
 * `struct load` or from the configuration that is being filled, never from a local alone. */
#include "config/loader.h"

#include "base/event_filter.h"
#include "base/mem.h"
#include "base/url.h"
#include "config/options.h"
#include "script/json_codec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_FILE = 16 * 1024 * 1024,
    MAX_INSTRUCTIONS = 50 * 1000 * 1000,
    MAX_PATH = 512,
    MAX_INPUTS = 10000,
};

struct load {
    lua_State *L;
    struct tg_config_text *text;
    struct tg_problems *problems;
    struct tg_config *config;
    char folder[4096];
    struct tg_buf json; /* here, so that a Lua error (a long jump) leaks nothing */
};

/* --- files and environment --- */

static int read_file(const char *path, char **out, size_t *len, struct tg_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tg_fail_errno(err, errno, "%s", path);
    struct tg_buf buf = TG_BUF_INIT(MAX_FILE);
    int rc = TG_OK;
    for (;;) {
        rc = tg_buf_reserve(&buf, 65536 < MAX_FILE - buf.len ? 65536 : MAX_FILE - buf.len + 1);
        if (rc) {
            rc = tg_fail(err, rc, "%s: larger than %d MiB, or out of memory", path, MAX_FILE / 1048576);
            break;
        }
        ssize_t n = read(fd, buf.data + buf.len, buf.cap - buf.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = tg_fail_errno(err, errno, "%s", path);
        if (n <= 0)
            break;
        buf.len += (size_t)n;
    }
    (void)close(fd);
    if (!rc) {
        *out = tg_buf_take(&buf, len);
        if (!*out)
            rc = tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    }
    tg_buf_fini(&buf);
    return rc;
}

int tg_config_text_read(struct tg_config_text *t, const char *path, struct tg_err *err)
{
    *t = (struct tg_config_text){0};
    t->path = tg_strdup(path);
    if (!t->path)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    int rc = read_file(path, &t->text, &t->len, err);
    if (rc == TG_NOTFOUND)
        (void)tg_err_prefix(
            err, "configuration (name another with -c, or print one with 'tidegate config --example')");
    if (rc)
        tg_config_text_fini(t);
    return rc;
}

void tg_config_text_fini(struct tg_config_text *t)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        tg_free(t->inputs[i].name);
        tg_free(t->inputs[i].value);
    }
    tg_free(t->inputs);
    tg_free(t->path);
    tg_free(t->text);
    *t = (struct tg_config_text){0};
}

static struct tg_config_input *find_input(struct tg_config_text *t, int kind, const char *name)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        if ((int)t->inputs[i].kind == kind && strcmp(t->inputs[i].name, name) == 0)
            return &t->inputs[i];
    }
    return NULL;
}

/* Takes value (may be NULL). NULL when there is no room, and then value is freed. */
static struct tg_config_input *add_input(struct tg_config_text *t, int kind, const char *name, char *value,
                                         size_t len)
{
    struct tg_config_input *more = NULL;
    char *copy = tg_strdup(name);
    if (copy && t->n_inputs < MAX_INPUTS)
        more = tg_realloc(t->inputs, (t->n_inputs + 1) * sizeof *more);
    if (!more) {
        tg_free(copy);
        tg_free(value);
        return NULL;
    }
    t->inputs = more;
    more[t->n_inputs] = (struct tg_config_input){.kind = kind, .name = copy, .value = value, .len = len};
    return &more[t->n_inputs++];
}

/* A path of the configuration, relative to the folder of its file. False when too long. */
static bool resolve(const struct load *ld, const char *path, char *out, size_t size)
{
    int n = path[0] == '/' || !ld->folder[0] ? snprintf(out, size, "%s", path)
                                             : snprintf(out, size, "%s/%s", ld->folder, path);
    return n >= 0 && (size_t)n < size;
}

/* env(name [, default]) */
static int lua_env(lua_State *L)
{
    struct load *ld = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    struct tg_config_input *in = find_input(ld->text, TG_INPUT_ENV, name);
    if (!in && !ld->text->sealed) {
        const char *value = getenv(name);
        char *copy = value ? tg_strdup(value) : NULL;
        in = value && !copy ? NULL : add_input(ld->text, TG_INPUT_ENV, name, copy, value ? strlen(value) : 0);
        if (!in)
            return luaL_error(L, "env(\"%s\"): out of memory", name);
    }
    if (in && in->value)
        lua_pushlstring(L, in->value, in->len);
    else if (lua_gettop(L) >= 2)
        lua_pushvalue(L, 2);
    else if (ld->text->unset_is_empty)
        lua_pushfstring(L, "unset:%s", name); /* told apart: keys must differ */
    else
        return luaL_error(
            L,
            "env(\"%s\"): the environment variable is not set; set it or give a default: env(\"%s\", \"…\")",
            name, name);
    return 1;
}

/* file(path): its contents, without white space at the end */
static int lua_file(lua_State *L)
{
    struct load *ld = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    struct tg_config_input *in = find_input(ld->text, TG_INPUT_FILE, name);
    if (!in && !ld->text->sealed) {
        char path[4096], *value = NULL;
        size_t len = 0;
        struct tg_err err = {0};
        if (!resolve(ld, name, path, sizeof path))
            return luaL_error(L, "file(\"%s\"): the path is too long", name);
        if (read_file(path, &value, &len, &err))
            return luaL_error(L, "file(\"%s\"): %s", name, err.msg);
        while (len && (value[len - 1] == '\n' || value[len - 1] == '\r' || value[len - 1] == ' ' ||
                       value[len - 1] == '\t'))
            len--;
        in = add_input(ld->text, TG_INPUT_FILE, name, value, len);
    }
    if (!in)
        return luaL_error(L, "file(\"%s\"): out of memory", name);
    lua_pushlstring(L, in->value, in->len);
    return 1;
}

/* --- values -> C --- */

static void set_string(char **slot, const char *value, size_t n, struct load *ld, const char *path)
{
    char *copy = tg_strndup(value, n);
    if (!copy) {
        tg_problem_add(ld->problems, NULL, path, "out of memory");
        return;
    }
    tg_free(*slot);
    *slot = copy;
}

static void set_path(char **slot, const char *value, struct load *ld, const char *path)
{
    char full[4096];
    if (!resolve(ld, value, full, sizeof full))
        tg_problem_add(ld->problems, NULL, path, "the path is too long");
    else
        set_string(slot, full, strlen(full), ld, path);
}

static bool add_string(struct tg_strings *list, const char *value, size_t n)
{
    char **more = tg_realloc(list->v, (list->n + 1) * sizeof *more);
    if (!more)
        return false;
    list->v = more;
    char *copy = tg_strndup(value, n);
    if (copy)
        list->v[list->n++] = copy;
    return copy != NULL;
}

static void problem_type(struct load *ld, const char *path, const char *want)
{
    const char *got = lua_typename(ld->L, lua_type(ld->L, -1));
    if (lua_type(ld->L, -1) == LUA_TSTRING)
        tg_problem_add(ld->problems, NULL, path, "must be %s, not the string \"%.60s\"", want,
                       lua_tostring(ld->L, -1));
    else
        tg_problem_add(ld->problems, NULL, path, "must be %s, not a %s", want, got);
}

/* A number in the option's own unit, from the value on the stack's top. */
static bool read_number(struct load *ld, const struct tg_option *o, const char *path, double *number)
{
    lua_State *L = ld->L;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        *number = lua_tonumber(L, -1);
    } else if (lua_type(L, -1) == LUA_TSTRING && (o->type == TG_OPT_SIZE || o->type == TG_OPT_DURATION)) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        bool ok = o->type == TG_OPT_SIZE ? tg_parse_size(tg_str_n(p, n), number)
                                         : tg_parse_duration(tg_str_n(p, n), number);
        if (!ok) {
            problem_type(ld, path,
                         o->type == TG_OPT_SIZE ? "a size such as \"4MiB\""
                                                : "a time such as \"500ms\", \"8s\" or \"4h\"");
            return false;
        }
    } else {
        problem_type(ld, path,
                     o->type == TG_OPT_SIZE       ? "a size such as \"4MiB\""
                     : o->type == TG_OPT_DURATION ? "a time such as \"500ms\", \"8s\" or \"4h\""
                                                  : "a number");
        return false;
    }
    bool whole = o->type != TG_OPT_NUMBER;
    if (!(*number >= -9e15 && *number <= 9e15) || (whole && *number != (double)(int64_t)*number)) {
        tg_problem_add(ld->problems, NULL, path, "must be a whole number");
        return false;
    }
    if ((o->min != 0 || o->max != 0) && (*number < o->min || *number > o->max)) {
        tg_problem_add(ld->problems, NULL, path, "is %.15g; it must be from %.15g to %.15g%s", *number,
                       o->min, o->max,
                       o->type == TG_OPT_SIZE       ? " bytes"
                       : o->type == TG_OPT_DURATION ? " ms"
                                                    : "");
        return false;
    }
    if (o->min == 0 && *number < 0) {
        tg_problem_add(ld->problems, NULL, path, "must not be negative");
        return false;
    }
    return true;
}

static void set_number(void *slot, enum tg_option_type type, double number)
{
    switch (type) {
    case TG_OPT_SIZE:
    case TG_OPT_COUNT:
        *(uint64_t *)slot = (uint64_t)number;
        break;
    case TG_OPT_DURATION:
        *(int64_t *)slot = (int64_t)number;
        break;
    case TG_OPT_UINT:
        *(unsigned *)slot = (unsigned)number;
        break;
    default:
        *(double *)slot = number;
        break;
    }
}

/* Index of `word` in the blank-separated list, -1 when it is not there. */
static int word_index(const char *words, const char *word)
{
    size_t n = strlen(word);
    int index = 0;
    for (const char *p = words; *p; index++) {
        size_t len = strcspn(p, " ");
        if (len == n && strncmp(p, word, n) == 0)
            return index;
        p += len;
        p += strspn(p, " ");
    }
    return -1;
}

static void read_word(struct load *ld, const struct tg_option *o, void *slot, const char *path)
{
    const char *word = lua_type(ld->L, -1) == LUA_TSTRING ? lua_tostring(ld->L, -1) : "";
    int index = word_index(o->words, word);
    if (index < 0) {
        char want[256];
        (void)snprintf(want, sizeof want, "one of: %s", o->words);
        problem_type(ld, path, want);
    } else if (o->type == TG_OPT_ENUM) {
        *(int *)slot = index;
    } else {
        set_string(slot, word, strlen(word), ld, path);
    }
}

/* A list of strings, or one string, appended to *list. */
static void read_strings(struct load *ld, struct tg_strings *list, const char *path, bool paths)
{
    lua_State *L = ld->L;
    size_t n;
    if (lua_type(L, -1) == LUA_TSTRING) {
        char full[4096];
        const char *s = lua_tolstring(L, -1, &n);
        if (paths && resolve(ld, s, full, sizeof full))
            s = full, n = strlen(full);
        if (!add_string(list, s, n))
            tg_problem_add(ld->problems, NULL, path, "out of memory");
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE) {
        problem_type(ld, path, "a list of strings");
        return;
    }
    size_t count = lua_objlen(L, -1), seen = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        seen++;
    if (seen != count)
        tg_problem_add(ld->problems, NULL, path, "must be a list of strings, without names or gaps");
    for (size_t i = 1; i <= count; i++) {
        char item[MAX_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            read_strings(ld, list, item, paths);
        else
            problem_type(ld, item, "a string");
        lua_pop(L, 1);
    }
}

static void read_quota(struct load *ld, struct tg_quota *quota, const char *path)
{
    size_t n;
    const char *s = lua_type(ld->L, -1) == LUA_TSTRING ? lua_tolstring(ld->L, -1, &n) : NULL;
    if (s && n > 1 && s[n - 1] == '%') {
        char *end;
        double percent = strtod(s, &end);
        if (*end == '%' && percent > 0 && percent <= 100)
            *quota = (struct tg_quota){.percent = percent};
        else
            problem_type(ld, path, "a share from \"1%\" to \"100%\", or a size");
        return;
    }
    double bytes;
    const struct tg_option size = {.type = TG_OPT_SIZE};
    if (read_number(ld, &size, path, &bytes))
        *quota = (struct tg_quota){.bytes = (uint64_t)bytes};
}

/* JSON text of the table on the top. */
static void read_object(struct load *ld, char **slot, const char *path)
{
    if (lua_type(ld->L, -1) != LUA_TTABLE) {
        problem_type(ld, path, "a table");
        return;
    }
    struct tg_buf *json = &ld->json;
    char why[256] = "";
    tg_buf_clear(json);
    int rc = tg_lua_encode_json(ld->L, lua_gettop(ld->L), json, why, sizeof why);
    if (rc)
        tg_problem_add(ld->problems, NULL, path, "%s", why[0] ? why : tg_code_text(rc));
    else if (tg_str_is(tg_buf_str(json), "[]"))
        set_string(slot, "{}", 2, ld, path);
    else
        set_string(slot, json->data, json->len, ld, path);
}

/* --- option tables --- */

static void read_table(struct load *ld, const struct tg_option *options, void *target, const char *path);
static void read_special(struct load *ld, const struct tg_option *o, void *target, const char *path);

static void read_value(struct load *ld, const struct tg_option *o, void *target, const char *path)
{
    void *slot = (char *)target + o->offset;
    lua_State *L = ld->L;
    double number;
    switch (o->type) {
    case TG_OPT_STRING:
    case TG_OPT_PATH:
        if (lua_type(L, -1) != LUA_TSTRING)
            problem_type(ld, path, "a string");
        else if (o->type == TG_OPT_PATH)
            set_path(slot, lua_tostring(L, -1), ld, path);
        else
            set_string(slot, lua_tostring(L, -1), lua_objlen(L, -1), ld, path);
        break;
    case TG_OPT_BOOL:
        if (lua_type(L, -1) == LUA_TBOOLEAN)
            *(bool *)slot = lua_toboolean(L, -1);
        else
            problem_type(ld, path, "true or false");
        break;
    case TG_OPT_SIZE:
    case TG_OPT_DURATION:
    case TG_OPT_UINT:
    case TG_OPT_COUNT:
    case TG_OPT_NUMBER:
        if (read_number(ld, o, path, &number))
            set_number(slot, o->type, number);
        break;
    case TG_OPT_ENUM:
    case TG_OPT_WORD:
        read_word(ld, o, slot, path);
        break;
    case TG_OPT_STRINGS:
    case TG_OPT_PATHS:
        read_strings(ld, slot, path, o->type == TG_OPT_PATHS);
        break;
    case TG_OPT_QUOTA:
        read_quota(ld, slot, path);
        break;
    case TG_OPT_OBJECT:
        read_object(ld, slot, path);
        break;
    case TG_OPT_TABLE:
        if (lua_type(L, -1) == LUA_TTABLE)
            read_table(ld, o->sub, target, path);
        else
            problem_type(ld, path, "a table");
        break;
    case TG_OPT_SPECIAL:
        read_special(ld, o, target, path);
        break;
    }
}

/* Levenshtein distance, for "did you mean". */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 64)
        return 64;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static void problem_unknown(struct load *ld, const struct tg_option *options, const char *path,
                            const char *key)
{
    const struct tg_option *nearest = NULL;
    size_t best = 3;
    for (const struct tg_option *o = options; o->name; o++) {
        size_t d = distance(key, o->name);
        if (d < best)
            best = d, nearest = o;
    }
    if (nearest)
        tg_problem_add(ld->problems, NULL, path, "unknown option; did you mean '%s'?", nearest->name);
    else
        tg_problem_add(ld->problems, NULL, path, "unknown option");
}

static void join_path(char *out, const char *path, const char *key)
{
    (void)snprintf(out, MAX_PATH, "%s%s%s", path, *path ? "." : "", key);
}

static const struct tg_option *find_option(const struct tg_option *options, const char *name)
{
    for (; options->name; options++) {
        if (strcmp(options->name, name) == 0)
            return options;
    }
    return NULL;
}

static void check_keys(struct load *ld, const struct tg_option *options, const char *path)
{
    lua_State *L = ld->L;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char at[MAX_PATH];
        if (lua_type(L, -2) != LUA_TSTRING) {
            tg_problem_add(ld->problems, NULL, *path ? path : NULL,
                           "has a value without a name; write name = value");
            continue;
        }
        const char *key = lua_tostring(L, -2);
        join_path(at, path, key);
        if (!find_option(options, key))
            problem_unknown(ld, options, at, key);
    }
}

/* The table on the top, along its options. */
static void read_table(struct load *ld, const struct tg_option *options, void *target, const char *path)
{
    lua_State *L = ld->L;
    check_keys(ld, options, path);
    for (const struct tg_option *o = options; o->name; o++) {
        char at[MAX_PATH];
        join_path(at, path, o->name);
        lua_pushstring(L, o->name);
        lua_rawget(L, -2);
        if (!lua_isnil(L, -1))
            read_value(ld, o, target, at);
        else if (o->required)
            tg_problem_add(ld->problems, NULL, at, "required");
        lua_pop(L, 1);
    }
}

/* Defaults are written as a person would write them, and read by the same code. */
static void set_defaults(struct load *ld, const struct tg_option *options, void *target)
{
    lua_State *L = ld->L;
    for (const struct tg_option *o = options; o->name; o++) {
        if (o->type == TG_OPT_TABLE)
            set_defaults(ld, o->sub, target);
        if (!o->def)
            continue;
        if (strcmp(o->def, "true") == 0 || strcmp(o->def, "false") == 0)
            lua_pushboolean(L, o->def[0] == 't');
        else if (o->type == TG_OPT_UINT || o->type == TG_OPT_COUNT || o->type == TG_OPT_NUMBER)
            lua_pushnumber(L, strtod(o->def, NULL));
        else
            lua_pushstring(L, o->def);
        read_value(ld, o, target, o->name);
        lua_pop(L, 1);
    }
}

/* --- options with a reader of their own --- */

static void *grow(void **items, size_t n, size_t size)
{
    char *more = tg_realloc(*items, (n + 1) * size);
    if (!more)
        return NULL;
    *items = more;
    memset(more + n * size, 0, size);
    return more + n * size;
}

static void check_address(struct load *ld, const char *addr, const char *path)
{
    const char *colon = addr ? strrchr(addr, ':') : NULL;
    char *end;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (addr && (!colon || colon == addr || colon[1] == '\0' || *end || port < 0 || port > 65535))
        tg_problem_add(ld->problems, NULL, path,
                       "\"%s\" is not an address: write host:port, such as 127.0.0.1:8080", addr);
}

static void read_listen_one(struct load *ld, const char *path)
{
    struct tg_config *c = ld->config;
    struct tg_listen *l = grow((void **)&c->listen, c->n_listen, sizeof *l);
    if (!l) {
        tg_problem_add(ld->problems, NULL, path, "out of memory");
        return;
    }
    c->n_listen++;
    if (lua_type(ld->L, -1) == LUA_TSTRING)
        set_string(&l->addr, lua_tostring(ld->L, -1), lua_objlen(ld->L, -1), ld, path);
    else if (lua_type(ld->L, -1) == LUA_TTABLE)
        read_table(ld, tg_listen_options, l, path);
    else
        problem_type(ld, path, "an address or { addr, cert, key }");
    check_address(ld, l->addr, path);
    if (!l->cert != !l->key)
        tg_problem_add(ld->problems, NULL, path, "cert and key go together: %s is missing",
                       l->cert ? "key" : "cert");
}

static void read_listen(struct load *ld, const char *path)
{
    lua_State *L = ld->L;
    struct tg_config *c = ld->config;
    while (c->n_listen) { /* the default goes when the file says something */
        struct tg_listen *l = &c->listen[--c->n_listen];
        tg_free(l->addr);
        tg_free(l->cert);
        tg_free(l->key);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        read_listen_one(ld, path);
        return;
    }
    size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_objlen(L, -1) : 0;
    if (n == 0)
        problem_type(ld, path, "a list of addresses, such as { \"127.0.0.1:8080\" }");
    for (size_t i = 1; i <= n; i++) {
        char item[MAX_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        read_listen_one(ld, item);
        lua_pop(L, 1);
    }
}

static void read_workers(struct load *ld, const struct tg_option *o, const char *path)
{
    double number;
    if (lua_type(ld->L, -1) == LUA_TSTRING && strcmp(lua_tostring(ld->L, -1), "auto") == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        ld->config->workers = cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
        return;
    }
    if (lua_type(ld->L, -1) != LUA_TNUMBER) {
        problem_type(ld, path, "a number, or \"auto\"");
        return;
    }
    const struct tg_option count = {.type = TG_OPT_UINT, .min = o->min, .max = o->max};
    if (read_number(ld, &count, path, &number))
        ld->config->workers = (unsigned)number;
}

static void read_sync(struct load *ld, const char *path)
{
    const char *s = lua_type(ld->L, -1) == LUA_TSTRING ? lua_tostring(ld->L, -1) : "";
    char *end = NULL;
    if (strcmp(s, "group") == 0) {
        ld->config->spool.sync = TG_SPOOL_SYNC_GROUP;
    } else if (strcmp(s, "none") == 0) {
        ld->config->spool.sync = TG_SPOOL_SYNC_NONE;
    } else if (strncmp(s, "interval:", 9) == 0) {
        double ms = strtod(s + 9, &end);
        if (end == s + 9 || (*end && strcmp(end, "ms") != 0) || ms < 1 || ms > 60000)
            problem_type(ld, path, "\"interval:<ms>\" with 1 to 60000 ms");
        ld->config->spool.sync = TG_SPOOL_SYNC_INTERVAL;
        ld->config->spool.sync_interval_ms = (int64_t)ms;
    } else {
        problem_type(ld, path, "\"group\", \"interval:<ms>\" or \"none\"");
    }
}

static void read_allow_private(struct load *ld, const char *path)
{
    struct tg_config *c = ld->config;
    if (lua_type(ld->L, -1) == LUA_TBOOLEAN) {
        c->egress.allow_private = lua_toboolean(ld->L, -1);
        return;
    }
    if (lua_type(ld->L, -1) == LUA_TTABLE)
        read_strings(ld, &c->egress.private_ok, path, false);
    else
        problem_type(ld, path, "true, false or a list of CIDRs such as { \"10.0.0.0/8\" }");
    c->egress.allow_private = c->egress.private_ok.n > 0;
}

static bool known_source(const struct tg_config *c, const char *name, const struct tg_source_config *but)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        if (&c->sources[i] != but && c->sources[i].name && strcmp(c->sources[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Names go into metrics, file names and SQL rows: keep them plain. */
static bool plain_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n && s[0] != '.';
}

static void read_sources(struct load *ld, const char *path)
{
    lua_State *L = ld->L;
    struct tg_config *c = ld->config;
    size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_objlen(L, -1) : 0;
    if (n == 0)
        problem_type(ld, path, "a list with at least one source: { { name = \"web\", write_key = \"…\" } }");
    for (size_t i = 1; i <= n; i++) {
        char item[MAX_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        struct tg_source_config *s = grow((void **)&c->sources, c->n_sources, sizeof *s);
        if (s)
            c->n_sources++;
        if (!s)
            tg_problem_add(ld->problems, NULL, item, "out of memory");
        else if (lua_type(L, -1) != LUA_TTABLE)
            problem_type(ld, item, "a table");
        else {
            set_defaults(ld, tg_source_options, s);
            read_table(ld, tg_source_options, s, item);
            if (s->name && !plain_name(s->name))
                tg_problem_add(ld->problems, NULL, item,
                               "name: use 1 to 63 letters, digits, '_', '-' or '.'");
            if (s->name && known_source(c, s->name, s))
                tg_problem_add(ld->problems, NULL, item, "name: there is another source '%s'", s->name);
            if (s->write_keys.n == 0)
                tg_problem_add(ld->problems, NULL, item, "write_key: required");
        }
        lua_pop(L, 1);
    }
}

static void check_keys_unique(struct load *ld)
{
    struct tg_config *c = ld->config;
    for (size_t i = 0; i < c->n_sources; i++) {
        for (size_t k = 0; k < c->sources[i].write_keys.n; k++) {
            const char *key = c->sources[i].write_keys.v[k];
            char path[MAX_PATH];
            (void)snprintf(path, sizeof path, "sources[%zu].write_key", i + 1);
            if (!*key)
                tg_problem_add(ld->problems, NULL, path, "must not be empty");
            for (size_t j = 0; j < i; j++) {
                for (size_t m = 0; m < c->sources[j].write_keys.n; m++) {
                    if (strcmp(key, c->sources[j].write_keys.v[m]) == 0)
                        tg_problem_add(ld->problems, NULL, path,
                                       "is also a key of source '%s'; a key names one source",
                                       c->sources[j].name ? c->sources[j].name : "?");
                }
            }
        }
    }
}

static void read_destination(struct load *ld, struct tg_destination_config *d, const char *name,
                             const char *path)
{
    if (!plain_name(name))
        tg_problem_add(ld->problems, NULL, path, "the name must be 1 to 63 letters, digits, '_', '-' or '.'");
    set_string(&d->name, name, strlen(name), ld, path);
    set_defaults(ld, tg_destination_options, d);
    if (lua_type(ld->L, -1) == LUA_TTABLE)
        read_table(ld, tg_destination_options, d, path);
    else
        problem_type(ld, path, "a table");
    if (!d->script)
        set_string(&d->script, name, strlen(name), ld, path);
    if (!d->settings)
        set_string(&d->settings, "{}", 2, ld, path);
}

static int by_destination_name(const void *a, const void *b)
{
    const struct tg_destination_config *x = a, *y = b;
    return strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

static void read_destinations(struct load *ld, const char *path)
{
    lua_State *L = ld->L;
    struct tg_config *c = ld->config;
    if (lua_type(L, -1) != LUA_TTABLE) {
        problem_type(ld, path, "a table: { name = { settings = { … } } }");
        return;
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char item[MAX_PATH];
        if (lua_type(L, -2) != LUA_TSTRING) {
            tg_problem_add(ld->problems, NULL, path, "each destination needs a name: name = { … }");
            continue;
        }
        const char *name = lua_tostring(L, -2);
        join_path(item, path, name);
        struct tg_destination_config *d = grow((void **)&c->destinations, c->n_destinations, sizeof *d);
        if (!d) {
            tg_problem_add(ld->problems, NULL, item, "out of memory");
            continue;
        }
        c->n_destinations++;
        read_destination(ld, d, name, item);
    }
    if (c->n_destinations)
        qsort(c->destinations, c->n_destinations, sizeof *c->destinations, by_destination_name);
}

static void read_filter(struct load *ld, struct tg_destination_config *d, const char *path)
{
    struct tg_err err = {0};
    struct tg_str spec;
    d->has_filter = lua_type(ld->L, -1) == LUA_TFUNCTION;
    if (d->has_filter)
        return;
    if (lua_type(ld->L, -1) != LUA_TTABLE) {
        problem_type(ld, path, "a function of the event, or a table");
        return;
    }
    read_object(ld, &d->filter, path);
    if (!d->filter)
        return;
    int rc = tg_json_validate(tg_str_of(d->filter), TG_JSON_MAX_DEPTH, &spec, &err);
    if (!rc)
        rc = tg_filter_check(spec, &err);
    if (rc)
        tg_problem_add(ld->problems, NULL, path, "%s", err.msg);
}

static void read_special(struct load *ld, const struct tg_option *o, void *target, const char *path)
{
    if (strcmp(o->name, "listen") == 0)
        read_listen(ld, path);
    else if (strcmp(o->name, "workers") == 0)
        read_workers(ld, o, path);
    else if (strcmp(o->name, "sync") == 0)
        read_sync(ld, path);
    else if (strcmp(o->name, "allow_private") == 0)
        read_allow_private(ld, path);
    else if (strcmp(o->name, "sources") == 0)
        read_sources(ld, path);
    else if (strcmp(o->name, "destinations") == 0)
        read_destinations(ld, path);
    else if (strcmp(o->name, "filter") == 0)
        read_filter(ld, target, path);
    else /* write_key, write_keys: both fill one list */
        read_strings(ld, (struct tg_strings *)(void *)((char *)target + o->offset), path, false);
}

/* --- checks over several options --- */

static bool loopback(const char *addr)
{
    return strncmp(addr, "127.", 4) == 0 || strncmp(addr, "[::1]:", 6) == 0 ||
           strncmp(addr, "localhost:", 10) == 0;
}

/* What the relay refuses before it knows the source cannot be allowed to one source. */
static void check_source_limit(struct load *ld, size_t source, const char *name, uint64_t own,
                               uint64_t relays)
{
    char path[MAX_PATH];
    (void)snprintf(path, sizeof path, "sources[%zu].limits.%s", source + 1, name);
    if (own > relays)
        tg_problem_add(ld->problems, NULL, path,
                       "is %" PRIu64 ", more than limits.%s (%" PRIu64
                       "), which holds for all sources; raise that too",
                       own, name, relays);
}

static void check_source_limits(struct load *ld)
{
    const struct tg_config *c = ld->config;
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct tg_source_config *s = &c->sources[i];
        check_source_limit(ld, i, "body", s->limits.body, c->limits.body);
        check_source_limit(ld, i, "event", s->limits.event, c->limits.event);
        check_source_limit(ld, i, "batch", s->limits.batch, c->limits.batch);
    }
}

static void check_forgetting(struct load *ld)
{
    const struct tg_config *c = ld->config;
    for (size_t i = 0; i < c->n_sources; i++) {
        char path[MAX_PATH];
        (void)snprintf(path, sizeof path, "sources[%zu].forget_on_delete", i + 1);
        if (c->sources[i].forget_on_delete && !c->sources[i].allow_delete)
            tg_problem_add(ld->problems, NULL, path,
                           "needs allow_delete = true: without it the source's delete events are refused");
    }
}

static void check_whole(struct load *ld)
{
    struct tg_config *c = ld->config;
    if (c->admin && strcmp(c->admin, "off") == 0) {
        tg_free(c->admin);
        c->admin = NULL;
    }
    check_address(ld, c->admin, "admin");
    if (c->admin && !loopback(c->admin) && (!c->admin_token || !*c->admin_token))
        tg_problem_add(ld->problems, NULL, "admin_token",
                       "required, because admin (%s) is not a loopback address", c->admin);
    check_keys_unique(ld);
    check_source_limits(ld);
    check_forgetting(ld);
    struct tg_url url;
    struct tg_err err = {0};
    if (c->public_url && tg_url_parse(tg_str_of(c->public_url), &url, &err))
        tg_problem_add(ld->problems, NULL, "public_url", "%s", err.msg);
    else if (c->public_url && (url.query.n || url.fragment.n))
        tg_problem_add(ld->problems, NULL, "public_url", "must not have a query or a fragment");
    for (size_t i = 0; i < c->n_destinations; i++) {
        const struct tg_destination_config *d = &c->destinations[i];
        for (size_t k = 0; k < d->sources.n; k++) {
            if (!known_source(c, d->sources.v[k], NULL))
                tg_problem_add(ld->problems, NULL, NULL,
                               "destinations.%s.sources[%zu]: there is no source '%s'", d->name, k + 1,
                               d->sources.v[k]);
        }
        if (d->retry.first_ms > d->retry.max_ms)
            tg_problem_add(ld->problems, NULL, NULL, "destinations.%s.retry.first: is longer than retry.max",
                           d->name);
    }
}

/* --- evaluation --- */

struct cap {
    size_t used, max;
    bool born; /* lua_newstate has returned; it does not survive a refusal */
};

static void *capped_alloc(void *ud, void *p, size_t old, size_t size)
{
    struct cap *cap = ud;
    if (!p)
        old = 0;
    if (size == 0) {
        cap->used -= old;
        tg_free(p);
        return NULL;
    }
    if (size > old && cap->used + (size - old) > cap->max)
        return NULL;
    void *q = cap->born ? tg_realloc(p, size) : tg_realloc_vital(p, size);
    if (q)
        cap->used += size - old;
    return q;
}

static void too_long(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    (void)luaL_error(L, "the configuration runs too long: an endless loop?");
}

/* Compiles and runs the file, leaves its value on the stack. */
static int evaluate(lua_State *L)
{
    struct load *ld = lua_touserdata(L, 1);
    char name[4096];
    (void)snprintf(name, sizeof name, "@%s", ld->text->path);
    if (luaL_loadbufferx(L, ld->text->text, ld->text->len, name, "t"))
        return lua_error(L);
    lua_createtable(L, 0, 2);
    lua_pushlightuserdata(L, ld);
    lua_pushcclosure(L, lua_env, 1);
    lua_setfield(L, -2, "env");
    lua_pushlightuserdata(L, ld);
    lua_pushcclosure(L, lua_file, 1);
    lua_setfield(L, -2, "file");
    (void)lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    return 1;
}

static void find_folder(struct load *ld)
{
    const char *slash = strrchr(ld->text->path, '/');
    if (slash)
        (void)snprintf(ld->folder, sizeof ld->folder, "%.*s",
                       slash == ld->text->path ? 1 : (int)(slash - ld->text->path), ld->text->path);
}

/* All of it, inside one protected call (lua_cpcall: even to push a function can fail for want of memory). */
static int load(lua_State *L)
{
    struct load *ld = lua_touserdata(L, 1);
    (void)luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    luaL_checkstack(L, 64, "configuration");
    lua_sethook(L, too_long, LUA_MASKCOUNT, MAX_INSTRUCTIONS);
    (void)evaluate(L);
    lua_sethook(L, NULL, 0, 0);
    if (!lua_istable(L, -1)) {
        tg_problem_add(ld->problems, ld->text->path, NULL,
                       "must return a table: return { listen = …, sources = …, destinations = … }");
        return 0;
    }
    set_defaults(ld, tg_root_options, ld->config);
    read_table(ld, tg_root_options, ld->config, "");
    check_whole(ld);
    return 0;
}

struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems)
{
    struct load ld = {.text = t,
                      .problems = problems,
                      .config = tg_calloc(1, sizeof(struct tg_config)),
                      .json = TG_BUF_INIT(MAX_FILE)};
    struct cap cap = {0, (size_t)4 * MAX_FILE, false};
    size_t before = problems->n + problems->lost;
    find_folder(&ld);
    ld.L = ld.config ? lua_newstate(capped_alloc, &cap) : NULL;
    if (ld.L) {
        cap.born = true;
        if (lua_cpcall(ld.L, load, &ld) != 0) {
            const char *why = lua_tostring(ld.L, -1);
            tg_problem_add(problems, NULL, NULL, "%s", why ? why : "the configuration failed");
        }
        lua_close(ld.L);
    } else {
        tg_problem_add(problems, NULL, NULL, "out of memory");
    }
    tg_buf_fini(&ld.json);
    if (problems->n + problems->lost > before)
        tg_config_free(&ld.config);
    return ld.config;
}
