/* What a handler sees of its event: plain tables, built when they are first looked at.
 *
 * The event table, and in it context, properties, traits and integrations, begin empty with a metatable. A
 * read of one member of the event is answered from its bytes: a scalar as it is, each time; one of those four
 * tables is made, and is the event's from then on. Any other use (a write, pairs, next, json.encode …) fills
 * the table from the bytes, in place, and takes the metatable away; what was made before stays as the script
 * left it. LuaJIT without 5.2 compatibility asks no metatable for pairs or #, so the sandbox's pairs, ipairs,
 * next, rawget and unpack call tg_lazy_build first; # of an object is 0 either way. settings are read, and
 * copied when they must be, the same way. */
#ifndef TG_SCRIPT_EVENT_VIEW_H
#define TG_SCRIPT_EVENT_VIEW_H

#include "base/event.h"

#include <lua.h>
#include <stdbool.h>

struct tg_view;

void tg_event_view_open(lua_State *L);
/* Pushes the view (keep it on a stack as long as the event lives) and the event table. */
struct tg_view *tg_event_view_push(lua_State *L, const struct tg_event *ev);
/* The event is going away: tables that were not filled raise from now on. */
void tg_event_view_close(struct tg_view *view);
/* Pushes a table that is filled with a deep copy of the table at `master` when it is first looked at. `room`:
 * about how many members it has. */
void tg_settings_view_push(lua_State *L, int master, int room);

/* Fills the table at idx if it is one of these and still empty. */
void tg_lazy_build(lua_State *L, int idx);
/* The same, and all that are within the value at idx. */
void tg_lazy_build_deep(lua_State *L, int idx);

/* What stands behind a table that was not looked at yet, for readers that do without the table. */
struct tg_unread {
    enum { TG_UNREAD_NONE, TG_UNREAD_EVENT, TG_UNREAD_OBJECT } kind; /* NONE: read it as a table */
    struct tg_view *view;                                            /* TG_UNREAD_EVENT */
    struct tg_str object; /* TG_UNREAD_OBJECT: its JSON text; empty: reads as an empty table */
    bool context;         /* it is `context` */
};
void tg_lazy_unread(lua_State *L, int idx, struct tg_unread *out);

/* A member of an unread event; lent as long as the event lives. */
struct tg_view_value {
    enum { TG_VIEW_NOTHING, TG_VIEW_JSON, TG_VIEW_TEXT } kind;
    struct tg_str text;
    bool member, context; /* it is one of those that read as tables in any case; it is `context` */
};
void tg_view_member(struct tg_view *view, struct tg_str name, struct tg_view_value *out);
/* Whether context.<name> reads as an empty table when it is missing. */
bool tg_context_object(struct tg_str name);

#endif
