/* Row lists of `map`, read once. A script's rows are the same for every event, so what can be known of them
 * is worked out at their first use: checked, conversions found, and all their paths laid together as a tree,
 * so that "context.traits.email" and "context.traits.phone" look for context.traits once.
 *
 *     rows { to = "a", from = { "p.x.y", "e" } }      tree   root ─┬─ "p.x.y"
 *                                                                  ├─ "p" ─┬─ "x.y"
 *                                                                  │       └─ "x" ── "y"
 *                                                                  └─ "e"
 *
 * Names that hold dots win over descending; so a path is a list of ways, tried in order: "p.x.y", "p" then
 * "x.y", "p" then "x" then "y". The first that leads somewhere counts. */
#ifndef TG_SCRIPT_ROWS_H
#define TG_SCRIPT_ROWS_H

#include "base/str.h"
#include "script/convert.h"

#include <lua.h>
#include <stdint.h>

struct tg_row_node {
    int parent;
    int slot;          /* number among the nodes that others are below, from 0; -1: none are */
    int text;          /* key's place in the table of texts */
    int index;         /* the key as index of an array, from 0; -1: it is none */
    struct tg_str key; /* lent by the table of texts; NUL-terminated */
};

struct tg_row_way {
    int node;
    int path; /* the whole path's place in the table of texts: ways of one path have the same */
};

struct tg_row_as {
    const struct tg_converter *converter; /* NULL: the script's function, to be fetched from the row */
    int at;                               /* its place in the list `as`; 0: it is `as` itself */
};

struct tg_row {
    int to;   /* its place in the table of texts */
    int ways; /* the first one */
    int n_ways, as, n_as;
    bool otherwise; /* it has a default or is required */
};

/* A userdata; its environment is the table of texts. Nothing in it refers to the rows, so that a weak table
 * can lead from these to it. */
struct tg_rows {
    struct tg_row *rows;
    struct tg_row_way *ways;
    struct tg_row_as *as;
    struct tg_row_node *nodes; /* [0] is the root */
    int *hash;                 /* nodes by parent and key; 0: none */
    size_t hash_mask;
    int n, n_ways, n_as, n_nodes, n_slots, n_texts;
    int filled; /* by the last use: how large the next result will be */
};

/* Pushes the list at idx in this form: the one that the table at `known` has for it, or a new one. Raises
 * what is wrong with a row. */
struct tg_rows *tg_rows_push(lua_State *L, int idx, int known);
/* The node of that key below `parent`; 0: no path leads there. */
int tg_rows_find(const struct tg_rows *rows, int parent, struct tg_str key);
/* Whether a step of a path is an index of an array. */
bool tg_row_index(struct tg_str step, int *index);

#endif
