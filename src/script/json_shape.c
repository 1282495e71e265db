#include "script/json_shape.h"

#include "base/json.h"
#include "base/mem.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>

enum { WANTED = 8, MOST_WANTED = 1 << 14, NAMES_MAX = 1024 };

void tg_shapes_fini(struct tg_shapes *s)
{
    for (size_t i = 0; i < sizeof s->v / sizeof *s->v; i++) {
        tg_free(s->v[i].names);
        s->v[i].names = NULL;
        s->v[i].n = 0;
    }
}

/* Where its constructor is in the environment. */
static int slot_of(const struct tg_shapes *s, const struct tg_shape *shape)
{
    return TG_SHAPE_FIRST_SLOT + (int)(shape - s->v);
}

void tg_shape_push(lua_State *L, int env, const struct tg_shapes *s, const struct tg_shape *shape)
{
    lua_rawgeti(L, env, slot_of(s, shape));
}

/* --- learning --- */

/* The names of an object, as they stand in the text. */
struct names {
    struct tg_str v[TG_SHAPE_MEMBERS];
    unsigned n;
    size_t bytes; /* with a colon behind each */
};

/* False: too many, or not plain, or one comes twice. */
static bool names_of(struct tg_str object, struct names *names)
{
    *names = (struct names){.n = 0};
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w)) {
        names->bytes += w.key.n + 1;
        if (names->n == TG_SHAPE_MEMBERS || names->bytes > NAMES_MAX || memchr(w.key.p, '\\', w.key.n))
            return false;
        for (unsigned i = 0; i < names->n; i++)
            if (tg_str_eq(names->v[i], w.key))
                return false;
        names->v[names->n++] = w.key;
    }
    return names->n > 0;
}

/* A name with its quotes as Lua would have it. */
static int add_name(struct tg_buf *out, struct tg_str name)
{
    int rc = tg_buf_adds(out, "[\"");
    for (size_t i = 1; i + 1 < name.n && !rc; i++)
        rc = isalnum((unsigned char)name.p[i]) ? tg_buf_addc(out, name.p[i])
                                               : tg_buf_printf(out, "\\%03u", (unsigned char)name.p[i]);
    return rc ? rc : tg_buf_adds(out, "\"]");
}

/* return function(a1,a2) return{["name"]=a1,["other"]=a2} end */
static int write_constructor(struct tg_buf *out, const struct names *names)
{
    tg_buf_clear(out);
    int rc = tg_buf_adds(out, "return function(");
    for (unsigned i = 0; i < names->n && !rc; i++)
        rc = tg_buf_printf(out, i ? ",a%u" : "a%u", i);
    if (!rc)
        rc = tg_buf_adds(out, ") return{");
    for (unsigned i = 0; i < names->n && !rc; i++) {
        rc = add_name(out, names->v[i]);
        if (!rc)
            rc = tg_buf_printf(out, "=a%u,", i);
    }
    return rc ? rc : tg_buf_adds(out, "} end");
}

static void take_names(struct tg_shape *shape, const struct names *names)
{
    size_t at = 0;
    char *text = tg_malloc(names->bytes);
    tg_free(shape->names);
    shape->names = text;
    if (!text)
        return;
    for (unsigned i = 0; i < names->n; i++) {
        memcpy(text + at, names->v[i].p, names->v[i].n);
        at += names->v[i].n;
        text[at++] = ':';
        shape->ends[i] = (uint16_t)at;
    }
    shape->n = (unsigned char)names->n;
}

/* Where there is no memory for it nothing is learnt this time. */
static void learn(lua_State *L, int env, struct tg_shapes *s, struct tg_shape *shape, struct tg_str object,
                  struct tg_buf *scratch)
{
    struct names names;
    if (!names_of(object, &names) || write_constructor(scratch, &names))
        return;
    luaL_checkstack(L, 4, "JSON");
    if (luaL_loadbuffer(L, scratch->data, scratch->len, "=json")) { /* out of memory */
        lua_pop(L, 1);
        return;
    }
    lua_call(L, 0, 1);
    shape->n = 0; /* should the next raise */
    shape->learnt++;
    lua_rawseti(L, env, slot_of(s, shape));
    take_names(shape, &names);
}

void tg_shape_missed(lua_State *L, int env, struct tg_shapes *s, struct tg_shape *shape, unsigned n,
                     struct tg_str object, struct tg_buf *scratch)
{
    if (!shape->wanted)
        shape->wanted = WANTED;
    if (n > shape->most)
        shape->most = (unsigned char)(n < TG_SHAPE_MEMBERS ? n : TG_SHAPE_MEMBERS);
    shape->misses++;
    bool large = n >= shape->most || shape->misses / 2 >= shape->wanted;
    if (shape->misses < shape->wanted || !large)
        return;
    shape->misses = shape->most = 0;
    if (shape->wanted < MOST_WANTED)
        shape->wanted = (unsigned short)(2 * shape->wanted);
    learn(L, env, s, shape, object, scratch);
}
