/* The address of a delivery. */
#ifndef TG_SCRIPT_REQUEST_URL_H
#define TG_SCRIPT_REQUEST_URL_H

#include "script/contract.h"
#include "script/request.h"

#include <lua.h>

/* The text in slot `url`, with the table in slot `query` (or nil) behind it. Raises when it is no address, or
 * the contract does not allow its host; ends the handler as rejected when it becomes too long. */
void tg_request_read_url(lua_State *L, int url, int query, struct tg_request *r, const struct tg_dest *dest);

#endif
