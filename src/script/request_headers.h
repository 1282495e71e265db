/* The headers of a delivery, from the table that a script gave. */
#ifndef TG_SCRIPT_REQUEST_HEADERS_H
#define TG_SCRIPT_REQUEST_HEADERS_H

#include "script/request.h"

#include <lua.h>

/* Those of the table at idx go into the request. Misuse raises; a value that may not go on the wire ends the
 * handler as rejected. */
void tg_request_read_headers(lua_State *L, int idx, struct tg_request *r);
/* One that is known to be good. Raises out of memory. */
void tg_request_put_header(lua_State *L, struct tg_request *r, struct tg_str name, struct tg_str value);

#endif
