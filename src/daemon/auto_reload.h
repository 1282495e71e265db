/* The option reload_on_change: asks for a reload when the configuration's folder or a script's changes. An
 * editor writes several files, and each in several steps: the reload waits until 300 ms are quiet. */
#ifndef TG_DAEMON_AUTO_RELOAD_H
#define TG_DAEMON_AUTO_RELOAD_H

#include "daemon/snapshot.h"

#include <event2/event.h>

struct tg_auto_reload;

/* `ask` is called on the loop. */
TG_MUST_CHECK int tg_auto_reload_new(struct event_base *base, void (*ask)(void *arg), void *arg,
                                     struct tg_auto_reload **out, struct tg_err *err);
void tg_auto_reload_free(struct tg_auto_reload **a);
/* Closes what a forked worker has inherited of it. */
void tg_auto_reload_close_in_child(const struct tg_auto_reload *auto_reload);
/* Follows the configuration and what this snapshot was made of, beside what it follows already. */
TG_MUST_CHECK int tg_auto_reload_follow(struct tg_auto_reload *a, const struct tg_snapshot *s,
                                        struct tg_err *err);

#endif
