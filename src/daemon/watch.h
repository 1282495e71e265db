/* Changes of Lua files in folders, by inotify. For `test --watch` and the option reload_on_change. */
#ifndef TG_DAEMON_WATCH_H
#define TG_DAEMON_WATCH_H

#include "base/err.h"

#include <stdbool.h>

/* Returns a descriptor (close it), readable when something has changed. */
TG_MUST_CHECK int tg_watch_open(int *fd, struct tg_err *err);
/* Watches a folder; with `deep` the folders in it too, as they are now. One that is not there, or that was
 * added before, is no error. */
TG_MUST_CHECK int tg_watch_add(int fd, const char *folder, bool deep, struct tg_err *err);
/* Takes what is there, without waiting. Whether a Lua file or a folder was among it. */
bool tg_watch_take(int fd);
/* Waits for a change and until nothing more has come for 100 ms. Blocks: for the command line. */
TG_MUST_CHECK int tg_watch_wait(int fd, struct tg_err *err);

#endif
