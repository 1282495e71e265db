/* The batches that a script declares. */
#ifndef TG_SCRIPT_CONTRACT_BATCHES_H
#define TG_SCRIPT_CONTRACT_BATCHES_H

#include "script/contract.h"
#include "script/contract_fields.h"

void tg_contract_read_batches(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub);

#endif
