/* The script's check(settings): what it returns (nil, a message, or a list of them) becomes problems. */
#ifndef TG_SCRIPT_CHECK_H
#define TG_SCRIPT_CHECK_H

#include "script/contract_fields.h"

void tg_check_run(lua_State *L, struct tg_contract_reader *r);

#endif
