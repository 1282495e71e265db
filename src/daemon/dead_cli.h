/* `tidegate dead ls|show|replay|drop`: dead letters, beside a running relay or without one. */
#ifndef TG_DAEMON_DEAD_CLI_H
#define TG_DAEMON_DEAD_CLI_H

#include "daemon/dead_request.h"

/* argv[0] is "dead", argv[1] the command. Data goes to `out`, messages to `errs`. The exit status: 0, 1 when
 * it failed (said on `errs`), 2 for usage. A spool without state.db has no dead letters. May wait for the
 * disk. */
int tg_dead_main(const struct tg_dead_world *world, int argc, char **argv, FILE *out, FILE *errs);

#endif
