/* The body of a delivery, or its item when it waits for a batch. All functions raise. */
#ifndef TG_SCRIPT_REQUEST_BODY_H
#define TG_SCRIPT_REQUEST_BODY_H

#include "base/buf.h"
#include "script/request.h"

#include <lua.h>

/* json, form and body are in the slots from `first` on; at most one is not nil. The headers are there: the
 * content type is added when they do not say it. */
void tg_request_read_body(lua_State *L, int first, struct tg_request *r);

/* The item in slot `at`: kept outside the Lua state, for a batch may wait longer than the state lives. */
void tg_request_read_item(lua_State *L, int at, struct tg_request *r);
/* Pushes the item that deliver was given. */
void tg_request_push_item(lua_State *L, const struct tg_request *r);

/* Adds the table at idx as a form. `what` is for messages. */
void tg_request_add_form(lua_State *L, int idx, const char *what, struct tg_buf *out);
/* Raises for a result of a buffer that is none. */
void tg_request_must(lua_State *L, int rc, const char *what);

#endif
