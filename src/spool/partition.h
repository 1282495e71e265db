/* A partition's folder <spool>/p<number>: its lock and its epoch. One process writes a partition at a time:
 * `flock` on p<number>/lock says so, and the epoch in that file, raised at each opening, is written into
 * every segment. */
#ifndef TG_SPOOL_PARTITION_H
#define TG_SPOOL_PARTITION_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_partition {
    uint32_t number;
    uint64_t epoch;
    int lock_fd;
    char dir[4096];
};

/* Makes the folder when missing (0700). TG_BUSY when another process holds it; the message names its pid. */
TG_MUST_CHECK int tg_partition_open(const char *spool_dir, uint32_t number, struct tg_partition *p,
                                    struct tg_err *err);
void tg_partition_close(struct tg_partition *p);
/* Numbers of the partitions on disk, sorted; *numbers is freed by the caller with tg_free. */
TG_MUST_CHECK int tg_partition_list(const char *spool_dir, uint32_t **numbers, size_t *n, struct tg_err *err);
/* Removes a drained partition's folder (nothing waits in it). The partition must be open; it is closed. */
TG_MUST_CHECK int tg_partition_remove(struct tg_partition *p, struct tg_err *err);

/* The spool as a whole: the folder (0700), a format version file and an exclusive lock held by the
 * supervisor. TG_BUSY when another tidegate runs on it (message with its pid); TG_VERSION when a newer
 * program wrote it. *lock_fd stays open. */
/* Whether the process that took the lock lives. When it does not, what holds the lock still are its workers,
 * which are about to end. */
bool tg_spool_holder_lives(const char *spool_dir);
TG_MUST_CHECK int tg_spool_lock(const char *spool_dir, int *lock_fd, struct tg_err *err);

#endif
