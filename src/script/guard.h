/* Stops Lua code that runs too long, from inside: the soft limit of design section 4.
 *
 * A timer on the CPU clock of the thread ticks four times per limit. A call that has seen more than four
 * ticks is over its limit: the signal handler then sets a hook that raises at the next instruction and stays
 * set, so that no pcall swallows it. Entering and leaving cost no system call. The price is precision: a call
 * is stopped after 1.0 to 1.25 limits. A C function that runs long is not stopped: the supervisor sees it in
 * the watch cell. */
#ifndef TG_SCRIPT_GUARD_H
#define TG_SCRIPT_GUARD_H

#include "base/err.h"

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct tg_guard {
    timer_t timer;
    bool armed;                    /* the timer exists */
    lua_State *L;                  /* whose hook is set; NULL while there is no state */
    lua_Hook hook;                 /* raises */
    volatile sig_atomic_t running; /* inside a call */
    volatile sig_atomic_t ticks;   /* since the call began */
    volatile sig_atomic_t fired;   /* the hook has been set in this call */
};

/* For the calling thread. limit_us: CPU time of one call; 0 or less: no limit. */
TG_MUST_CHECK int tg_guard_init(struct tg_guard *g, int64_t limit_us, lua_Hook hook, struct tg_err *err);
/* Another limit from the next call on, above 0; for one that has none it changes nothing. */
TG_MUST_CHECK int tg_guard_limit(struct tg_guard *g, int64_t limit_us, struct tg_err *err);
void tg_guard_fini(struct tg_guard *g); /* on the same thread */
void tg_guard_enter(struct tg_guard *g);
/* Whether the limit was passed. The hook is off afterwards. */
bool tg_guard_leave(struct tg_guard *g);

#endif
