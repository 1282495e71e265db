/* Shapes: objects whose members come by the same names in the same order again and again, as events' do.
 *
 * To make a table member by member costs mostly the looking up of names and the placing of them. So for
 * objects that begin with the same name there is a constructor, once enough of them were seen: a small Lua
 * function that takes the values and returns { name = value, … }, which copies a table that has all the
 * names. The reader compares the names with those of the shape, as bytes, and only pushes values. Members
 * that are missing are nil, and those that the shape does not know are added to the table afterwards: so a
 * wrong shape costs time, never a member.
 *
 * A shape is learnt when objects often had members that were not known, from one that had many; each time it
 * takes longer, so that no text can make many of them. */
#ifndef TG_SCRIPT_JSON_SHAPE_H
#define TG_SCRIPT_JSON_SHAPE_H

#include "base/buf.h"

#include <lua.h>
#include <stdint.h>
#include <string.h>

enum {
    TG_SHAPE_BITS = 6,
    TG_SHAPES = 1 << TG_SHAPE_BITS,
    TG_SHAPE_MEMBERS = 24,   /* of the largest one */
    TG_SHAPE_FIRST_SLOT = 3, /* from here on the codec's environment has the constructors */
};

struct tg_shape {
    unsigned char n;                 /* how many names; 0: none was learnt */
    unsigned char room;              /* how many members the last object had while none was learnt */
    unsigned char most;              /* members of the largest object that was not of the shape */
    unsigned short misses, wanted;   /* objects not of the shape, less those that were; so many are wanted */
    unsigned learnt;                 /* counts the shapes that this was */
    char *names;                     /* `"a":` of all, one behind the other */
    uint16_t ends[TG_SHAPE_MEMBERS]; /* of each in `names` */
};

struct tg_shapes {
    struct tg_shape v[TG_SHAPES];
};

void tg_shapes_fini(struct tg_shapes *s);

/* The one for an object, by the first bytes of its first name; `at` is behind the bracket. */
static inline struct tg_shape *tg_shape_at(struct tg_shapes *s, const char *at, const char *end)
{
    uint64_t head = 0;
    unsigned n = 1;
    while (n < 8 && at + n < end && at[n] != '"')
        n++;
    if (end - at >= (ptrdiff_t)sizeof head)
        memcpy(&head, at, sizeof head);
    head <<= 64 - 8 * n;
    return &s->v[head * 0x9e3779b97f4a7c15ULL >> (64 - TG_SHAPE_BITS)];
}

/* Behind the name of member number i and its colon when they stand at `at`; else NULL. */
static inline const char *tg_shape_name(const struct tg_shape *shape, unsigned i, const char *at,
                                        const char *end)
{
    size_t from = i ? shape->ends[i - 1] : 0, n = shape->ends[i] - from;
    return (size_t)(end - at) >= n && memcmp(at, shape->names + from, n) == 0 ? at + n : NULL;
}

/* Pushes the constructor of a shape that was learnt. env: of the codec, on the stack. */
void tg_shape_push(lua_State *L, int env, const struct tg_shapes *s, const struct tg_shape *shape);

static inline void tg_shape_hit(struct tg_shape *shape)
{
    shape->misses -= shape->misses > 0;
}

/* The object of n members, validated, had some that the shape does not know. Learns it when it is time. May
 * raise out of memory. `scratch` is overwritten. */
void tg_shape_missed(lua_State *L, int env, struct tg_shapes *s, struct tg_shape *shape, unsigned n,
                     struct tg_str object, struct tg_buf *scratch);

#endif
