/* The script host: what stands above it sees a destination as a C struct, and handlers as runs that ask for
 * deliveries. That they are Lua shows nowhere outside this room. Design section 7.
 *
 * One host per worker, with one LuaJIT state, compiler off, memory capped; every destination has its own
 * environment. All functions run on the loop's thread. Nothing here blocks but the script itself, up to the
 * soft limit. */
#ifndef TG_SCRIPT_HOST_H
#define TG_SCRIPT_HOST_H

#include "base/metrics.h"
#include "script/batch.h"
#include "script/describe.h"
#include "script/dest.h"
#include "script/filter.h"
#include "script/host_options.h"
#include "script/run.h"

/* Sources and options are copied where they are needed later. */
TG_MUST_CHECK int tg_host_new(const struct tg_host_options *options, struct tg_host **out,
                              struct tg_err *err);
/* Takes over memory_bytes, soft_limit_us (both above 0) and allow_private; the rest stays as it is. */
TG_MUST_CHECK int tg_host_set(struct tg_host *host, const struct tg_host_options *options,
                              struct tg_err *err);
void tg_host_free(struct tg_host **host); /* all runs and destinations must be gone */
/* Collects garbage in small steps; call when idle and now and then under load. */
void tg_host_idle(struct tg_host *host);
size_t tg_host_memory(const struct tg_host *host);

#endif
