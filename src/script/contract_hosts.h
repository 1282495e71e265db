/* Which hosts a destination may reach: those of its script's `hosts`, and those in its settings of type url.
 */
#ifndef TG_SCRIPT_CONTRACT_HOSTS_H
#define TG_SCRIPT_CONTRACT_HOSTS_H

#include "script/contract.h"
#include "script/contract_fields.h"

void tg_contract_read_hosts(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub);

#endif
