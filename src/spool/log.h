/* One partition's segmented append-only log: events wait here from the moment they are acknowledged until
 * every destination has settled them. Design section 6; files byte by byte in src/spool/README.md.
 *
 * Appends are grouped: while one write and sync is under way on the helper thread, later appends gather and
 * go together in the next. A record can be read once its sync has returned. All functions run on the loop's
 * thread. */
#ifndef TG_SPOOL_LOG_H
#define TG_SPOOL_LOG_H

#include "base/err.h"
#include "base/helper.h"
#include "base/metrics.h"
#include "spool/io.h"
#include "spool/log_extent.h"
#include "spool/log_options.h"
#include "spool/log_reader.h"
#include "spool/log_release.h"
#include "spool/record.h"

struct tg_log;

/* Opens or makes the log: recovery is one pass over the segments found (torn tail cut, damaged records
 * counted and copied to quarantine/); the next append begins a new one. What it found is in *found if not
 * NULL. Blocking. A full disk is no reason to fail: the log then opens closed for appends. */
TG_MUST_CHECK int tg_log_open(const struct tg_log_options *options, struct tg_log **out,
                              struct tg_log_found *found, struct tg_err *err);
/* Waits for the sync under way, closes the files. Appends not yet synced get their callback with TG_CLOSED.
 */
void tg_log_close(struct tg_log **log);

/* Called on the loop's thread when the records are durable (TG_OK) or will not be (TG_FULL, TG_IO, TG_CLOSED;
 * `why` says more). */
typedef void tg_append_done(void *arg, int status, const char *why, uint64_t first_seq);

/* Copies the records (seq is ignored and assigned, contiguous from first_seq), all or none. Refused at once,
 * without a callback: TG_FULL (ceiling reached, or the disk is full and has not recovered), TG_BUSY
 * (max_pending_bytes), TG_TOOBIG, TG_NOMEM. */
TG_MUST_CHECK int tg_log_append(struct tg_log *log, const struct tg_record *records, size_t n,
                                tg_append_done *done, void *arg, struct tg_err *err);
/* Whether an append of about this size would be taken now, so that ingest can answer before it reads a body.
 */
int tg_log_can_append(const struct tg_log *log, size_t bytes, const char **why);

/* Another ceiling (tg_log_options.max_bytes); what is above it already stays until it is delivered. */
void tg_log_set_max(struct tg_log *log, uint64_t max_bytes);
/* Called after each successful sync: something new can be read. One listener. */
void tg_log_on_synced(struct tg_log *log, void (*fn)(void *arg), void *arg);

#endif
