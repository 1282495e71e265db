/* deliver's table becomes a request: every field checked, query and body encoded. */
#ifndef TG_SCRIPT_REQUEST_BUILD_H
#define TG_SCRIPT_REQUEST_BUILD_H

#include "script/contract.h"
#include "script/request.h"

#include <lua.h>

struct tg_host;

/* The request that the table at idx describes, for a script with that contract. Misuse raises; a header value
 * that may not go on the wire ends the handler as rejected. It belongs to the host (h->building) until
 * tg_request_claim. */
struct tg_request *tg_request_build(lua_State *L, int idx, const struct tg_dest *dest);
struct tg_request *tg_request_claim(struct tg_host *h);

/* Adds what join returned, the table at idx { json | form | body, headers }, to a copy of the request of a
 * batch. Raises. Likewise the host's. */
struct tg_request *tg_request_join(lua_State *L, int idx, const struct tg_request *model);

#endif
