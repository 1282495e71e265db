/* Runs a configuration's text in a throw-away Lua state: bounded in memory and in instructions, with `env`
 * and `file` as its only globals. */
#ifndef TG_CONFIG_EVALUATE_H
#define TG_CONFIG_EVALUATE_H

#include "base/problems.h"
#include "config/text.h"

#include <lua.h>

/* Calls `use` with the value that the text returns on the top of the stack. A Lua error in `use` is a long
 * jump out of it: it may hold no allocation that only a local knows. False when that or the text itself ended
 * with an error: why is added to `problems`, as is each `env` and `file` that has no answer. What they gave
 * is recorded in *t. */
bool tg_config_evaluate(struct tg_config_text *t, struct tg_problems *problems,
                        void (*use)(lua_State *L, void *arg), void *arg);

#endif
