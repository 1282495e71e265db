/* Before a reload: the fixtures of scripts that are new or were changed must hold. */
#ifndef TG_DAEMON_FIXTURE_GATE_H
#define TG_DAEMON_FIXTURE_GATE_H

#include "base/problems.h"
#include "daemon/snapshot.h"

/* Runs the fixtures of every script of `next` whose sources differ from those in `in_force`; of all of them
 * when the library differs, or in_force is NULL. What does not hold is added to `problems`: the cause first,
 * then the fixture; causes that are the same once. What scripts log meanwhile is marked worker=fixtures.
 * Returns how many were run. Runs Lua: for the process that checks, never for the supervisor. */
size_t tg_fixture_gate(const struct tg_snapshot *next, const struct tg_snapshot *in_force,
                       struct tg_problems *problems);

#endif
