/* The rates that a script declares, and what the configuration says of them. */
#ifndef TG_SCRIPT_CONTRACT_RATES_H
#define TG_SCRIPT_CONTRACT_RATES_H

#include "script/contract.h"
#include "script/contract_fields.h"

void tg_contract_read_rates(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub);
/* Those that r->rates_json names say what it says. */
void tg_contract_override_rates(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub);

#endif
