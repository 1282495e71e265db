/* The one-shot child that reads configuration and scripts, checks them and leaves a snapshot in a sealed
 * memory file: it runs Lua, which the supervisor does not. */
#ifndef TG_DAEMON_SNAPSHOT_CHILD_H
#define TG_DAEMON_SNAPSHOT_CHILD_H

#include "daemon/snapshot.h"

/* In a child process: builds and checks, and hands the result back as a sealed memory file. `problems_text`
 * gets what was wrong, one problem a line, and then *fd is -1. Blocks; for the start of the daemon. */
TG_MUST_CHECK int tg_snapshot_in_child(const char *config_path, uint64_t generation, int *fd,
                                       struct tg_buf *problems_text, struct tg_err *err);
/* The same without waiting: the child's end is seen when `report_fd` (problems, then EOF) closes; the memory
 * file is *fd, valid only if the child exits with 0. The fixtures of scripts that differ from those in_force
 * are run too (NULL: none are). */
struct tg_snapshot_child {
    int pid;
    int report_fd;
    int fd;
};
TG_MUST_CHECK int tg_snapshot_child_start(const char *config_path, const struct tg_snapshot *in_force,
                                          uint64_t generation, struct tg_snapshot_child *child,
                                          struct tg_err *err);
/* Whether the file that the child left is complete: seals it. */
TG_MUST_CHECK int tg_snapshot_child_finish(struct tg_snapshot_child *child, int exit_status,
                                           struct tg_err *err);

#endif
