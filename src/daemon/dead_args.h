/* The arguments of `tidegate dead`: one table of options, the usage made from it, and their reading. */
#ifndef TG_DAEMON_DEAD_ARGS_H
#define TG_DAEMON_DEAD_ARGS_H

#include "daemon/dead_request.h"

/* Fills the request, whose `out` and `errs` are set, and moves the plain arguments to the front of argv: they
 * are the ids. Not 0: TG_EXIT_USAGE, said on `errs`. */
int tg_dead_args_parse(struct tg_dead_request *r, int argc, char **argv);
/* Whether they fit each other: 0, or TG_EXIT_USAGE, said on `errs`. */
int tg_dead_args_check(const struct tg_dead_request *r);
/* What a command takes; 0: all of them. */
void tg_dead_args_usage(FILE *to, unsigned command);

#endif
