/* Before a reload: the fixtures of scripts that are new or were changed must hold. */
#ifndef TG_DAEMON_FIXTURE_GATE_H
#define TG_DAEMON_FIXTURE_GATE_H

#include "daemon/snapshot.h"

/* Runs the fixtures of every script of `next` whose sources differ from those in `in_force`; of all of them
 * when the library differs. What does not hold is added to `problems`, with the fixture's path. Runs Lua:
 * for the process that checks, never for the supervisor. */
void tg_fixture_gate(const struct tg_snapshot *next, const struct tg_snapshot *in_force,
                     struct tg_problems *problems);

#endif
