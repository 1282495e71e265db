/* What the segments of a partition hold after a stop of whatever kind. */
#ifndef TG_SPOOL_RECOVERY_H
#define TG_SPOOL_RECOVERY_H

#include "spool/log_options.h"
#include "spool/seglist.h"

struct tg_recovered {
    struct tg_seglist segments;
    struct tg_segment_prev prev; /* for the next segment's header */
    uint64_t next_seq;           /* above every number met; at least 1 */
    struct tg_log_found found;
    uint64_t new_damage; /* of found.damaged: not already in quarantine/ from an earlier start */
};

/* Reads every segment in o->dir once (the folder is made when missing). Blocking. On failure nothing is left
 * to free. TG_BADVERSION when a newer program wrote a segment. */
TG_MUST_CHECK int tg_recover(const struct tg_log_options *o, struct tg_recovered *out, struct tg_err *err);

#endif
