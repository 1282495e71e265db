/* A destination in a Lua state: the script's table is checked whole, then the settings by its schema, and
 * only then is anything of it used. Done again in each new state. */
#ifndef TG_SCRIPT_LINK_H
#define TG_SCRIPT_LINK_H

#include "base/problems.h"
#include "script/state.h"

/* Runs the script and keeps references to what is called later. */
TG_MUST_CHECK int tg_dest_link(struct tg_dest_impl *d, struct tg_problems *problems);
/* Gives them up. */
void tg_dest_unlink(struct tg_dest_impl *d);

#endif
