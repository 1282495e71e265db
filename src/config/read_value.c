#include "config/read_value.h"

#include "base/mem.h"
#include "config/units.h"
#include "script/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tg_set_string(char **slot, const char *value, size_t n, struct tg_reading *rd, const char *path)
{
    char *copy = tg_strndup(value, n);
    if (!copy) {
        tg_problem_add(rd->problems, NULL, path, "out of memory");
        return;
    }
    tg_free(*slot);
    *slot = copy;
}

static void set_path(char **slot, const char *value, struct tg_reading *rd, const char *path)
{
    char full[4096];
    if (!tg_config_text_resolve(rd->text, value, full, sizeof full))
        tg_problem_add(rd->problems, NULL, path, "the path is too long");
    else
        tg_set_string(slot, full, strlen(full), rd, path);
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

void *tg_add_item(void **items, size_t n, size_t size)
{
    char *more = tg_realloc(*items, (n + 1) * size);
    if (!more)
        return NULL;
    *items = more;
    memset(more + n * size, 0, size);
    return more + n * size;
}

void tg_problem_type(struct tg_reading *rd, const char *path, const char *want)
{
    const char *got = lua_typename(rd->L, lua_type(rd->L, -1));
    if (lua_type(rd->L, -1) == LUA_TSTRING)
        tg_problem_add(rd->problems, NULL, path, "must be %s, not the string \"%.60s\"", want,
                       lua_tostring(rd->L, -1));
    else
        tg_problem_add(rd->problems, NULL, path, "must be %s, not a %s", want, got);
}

bool tg_read_number(struct tg_reading *rd, const struct tg_option *o, const char *path, double *number)
{
    lua_State *L = rd->L;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        *number = lua_tonumber(L, -1);
    } else if (lua_type(L, -1) == LUA_TSTRING && (o->type == TG_OPT_SIZE || o->type == TG_OPT_DURATION)) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        bool ok = o->type == TG_OPT_SIZE ? tg_parse_size(tg_str_n(p, n), number)
                                         : tg_parse_duration(tg_str_n(p, n), number);
        if (!ok) {
            tg_problem_type(rd, path,
                            o->type == TG_OPT_SIZE ? "a size such as \"4MiB\""
                                                   : "a time such as \"500ms\", \"8s\" or \"4h\"");
            return false;
        }
    } else {
        tg_problem_type(rd, path,
                        o->type == TG_OPT_SIZE       ? "a size such as \"4MiB\""
                        : o->type == TG_OPT_DURATION ? "a time such as \"500ms\", \"8s\" or \"4h\""
                                                     : "a number");
        return false;
    }
    bool whole = o->type != TG_OPT_NUMBER;
    if (!(*number >= -9e15 && *number <= 9e15) || (whole && *number != (double)(int64_t)*number)) {
        tg_problem_add(rd->problems, NULL, path, "must be a whole number");
        return false;
    }
    if ((o->min != 0 || o->max != 0) && (*number < o->min || *number > o->max)) {
        tg_problem_add(rd->problems, NULL, path, "is %.15g; it must be from %.15g to %.15g%s", *number,
                       o->min, o->max,
                       o->type == TG_OPT_SIZE       ? " bytes"
                       : o->type == TG_OPT_DURATION ? " ms"
                                                    : "");
        return false;
    }
    if (o->min == 0 && *number < 0) {
        tg_problem_add(rd->problems, NULL, path, "must not be negative");
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

static void read_word(struct tg_reading *rd, const struct tg_option *o, void *slot, const char *path)
{
    const char *word = lua_type(rd->L, -1) == LUA_TSTRING ? lua_tostring(rd->L, -1) : "";
    int index = word_index(o->words, word);
    if (index < 0) {
        char want[256];
        (void)snprintf(want, sizeof want, "one of: %s", o->words);
        tg_problem_type(rd, path, want);
    } else if (o->type == TG_OPT_ENUM) {
        *(int *)slot = index;
    } else {
        tg_set_string(slot, word, strlen(word), rd, path);
    }
}

void tg_read_strings(struct tg_reading *rd, struct tg_strings *list, const char *path, bool paths)
{
    lua_State *L = rd->L;
    size_t n;
    if (lua_type(L, -1) == LUA_TSTRING) {
        char full[4096];
        const char *s = lua_tolstring(L, -1, &n);
        if (paths && tg_config_text_resolve(rd->text, s, full, sizeof full))
            s = full, n = strlen(full);
        if (!add_string(list, s, n))
            tg_problem_add(rd->problems, NULL, path, "out of memory");
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE) {
        tg_problem_type(rd, path, "a list of strings");
        return;
    }
    size_t count = lua_objlen(L, -1), seen = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        seen++;
    if (seen != count)
        tg_problem_add(rd->problems, NULL, path, "must be a list of strings, without names or gaps");
    for (size_t i = 1; i <= count; i++) {
        char item[TG_OPTION_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            tg_read_strings(rd, list, item, paths);
        else
            tg_problem_type(rd, item, "a string");
        lua_pop(L, 1);
    }
}

static void read_quota(struct tg_reading *rd, struct tg_quota *quota, const char *path)
{
    size_t n;
    const char *s = lua_type(rd->L, -1) == LUA_TSTRING ? lua_tolstring(rd->L, -1, &n) : NULL;
    if (s && n > 1 && s[n - 1] == '%') {
        char *end;
        double percent = strtod(s, &end);
        if (*end == '%' && percent > 0 && percent <= 100)
            *quota = (struct tg_quota){.percent = percent};
        else
            tg_problem_type(rd, path, "a share from \"1%\" to \"100%\", or a size");
        return;
    }
    double bytes;
    const struct tg_option size = {.type = TG_OPT_SIZE};
    if (tg_read_number(rd, &size, path, &bytes))
        *quota = (struct tg_quota){.bytes = (uint64_t)bytes};
}

void tg_read_object(struct tg_reading *rd, char **slot, const char *path)
{
    if (lua_type(rd->L, -1) != LUA_TTABLE) {
        tg_problem_type(rd, path, "a table");
        return;
    }
    struct tg_buf *json = &rd->json;
    char why[256] = "";
    tg_buf_clear(json);
    int rc = tg_lua_encode_json(rd->L, lua_gettop(rd->L), json, why, sizeof why);
    if (rc)
        tg_problem_add(rd->problems, NULL, path, "%s", why[0] ? why : tg_code_text(rc));
    else if (tg_str_is(tg_buf_str(json), "[]"))
        tg_set_string(slot, "{}", 2, rd, path);
    else
        tg_set_string(slot, json->data, json->len, rd, path);
}

void tg_read_value(struct tg_reading *rd, const struct tg_option *o, void *slot, const char *path)
{
    lua_State *L = rd->L;
    double number;
    switch (o->type) {
    case TG_OPT_STRING:
    case TG_OPT_PATH:
        if (lua_type(L, -1) != LUA_TSTRING)
            tg_problem_type(rd, path, "a string");
        else if (o->type == TG_OPT_PATH)
            set_path(slot, lua_tostring(L, -1), rd, path);
        else
            tg_set_string(slot, lua_tostring(L, -1), lua_objlen(L, -1), rd, path);
        break;
    case TG_OPT_BOOL:
        if (lua_type(L, -1) == LUA_TBOOLEAN)
            *(bool *)slot = lua_toboolean(L, -1);
        else
            tg_problem_type(rd, path, "true or false");
        break;
    case TG_OPT_SIZE:
    case TG_OPT_DURATION:
    case TG_OPT_UINT:
    case TG_OPT_COUNT:
    case TG_OPT_NUMBER:
        if (tg_read_number(rd, o, path, &number))
            set_number(slot, o->type, number);
        break;
    case TG_OPT_ENUM:
    case TG_OPT_WORD:
        read_word(rd, o, slot, path);
        break;
    case TG_OPT_STRINGS:
    case TG_OPT_PATHS:
        tg_read_strings(rd, slot, path, o->type == TG_OPT_PATHS);
        break;
    case TG_OPT_QUOTA:
        read_quota(rd, slot, path);
        break;
    case TG_OPT_OBJECT:
        tg_read_object(rd, slot, path);
        break;
    case TG_OPT_TABLE:
    case TG_OPT_SPECIAL:
        break; /* read_table.c's */
    }
}
