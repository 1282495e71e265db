/* The ceilings of one destination: what may wait for it, and what its dead letters may take. So one that is
 * dead or parked fills its own share of the disk and not that of the others. Here are the decisions; shed.h
 * makes room, dead_quota.h looks after the dead letters.
 *
 * backlog: what lies in the log, and the retry set, which an outage fills. The oldest events that are not in
 * hand leave until the rest is within the ceiling. Every worker has an equal share of it, as it has of the
 * log. */
#ifndef TG_DELIVER_QUOTA_H
#define TG_DELIVER_QUOTA_H

#include "config/config.h"
#include "deliver/model.h"

void tg_quota_set(struct outlet *o, const struct tg_destination_config *config);
/* Whether anything may leave: dead letters may be full. */
bool tg_quota_may_shed(const struct outlet *o);
/* Retries that are not in hand: they are older than what lies in the log, as a rule, and leave before it. */
bool tg_quota_has_rows(const struct outlet *o);
/* The reason for which a record must not wait any longer, or NULL. */
const char *tg_quota_refuses(const struct outlet *o, const struct lane *lane, const struct tg_record *record);
/* The same for the oldest row of the retry set. */
const char *tg_quota_refuses_row(const struct outlet *o, int64_t received_at);
const char *tg_quota_message(const char *reason); /* for the person */
/* Whether the next record of the lane should be looked at, even while the destination may not send. */
bool tg_quota_wants(const struct outlet *o, const struct lane *lane, int64_t now);

/* What of its ceilings is left, bytes: of this worker's share of the backlog, where `in_log` lies in the log;
 * of the dead letters of all workers. */
uint64_t tg_quota_backlog_free(const struct outlet *o, uint64_t in_log);
uint64_t tg_quota_dead_free(const struct outlet *o);

#endif
