/* A snapshot out of the files as they are now, checked: runs Lua. */
#ifndef TG_DAEMON_SNAPSHOT_BUILD_H
#define TG_DAEMON_SNAPSHOT_BUILD_H

#include "base/problems.h"
#include "config/config.h"
#include "daemon/snapshot.h"

/* Reads, evaluates and checks everything: the configuration, the scripts of all destinations, their settings.
 * NULL when there was a problem; all of them are in `problems`. The evaluated configuration goes into *config
 * if not NULL. */
struct tg_snapshot *tg_snapshot_build(const char *config_path, uint64_t generation, struct tg_config **config,
                                      struct tg_problems *problems);

#endif
