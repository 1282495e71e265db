/* A script's table becomes the destination's contract. */
#ifndef TG_SCRIPT_CONTRACT_READ_H
#define TG_SCRIPT_CONTRACT_READ_H

#include "script/contract.h"
#include "script/contract_fields.h"

/* Fills in what the table at r->module says; every problem is added. r->no_memory says when something is
 * missing for that. */
void tg_contract_read(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub);

#endif
