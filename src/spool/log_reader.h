/* Readers of a log. Any number, each with its own position; a small shared cache serves those that read the
 * same place. Loop thread. */
#ifndef TG_SPOOL_LOG_READER_H
#define TG_SPOOL_LOG_READER_H

#include "base/err.h"
#include "spool/record.h"

struct tg_log;
struct tg_log_reader;
struct tg_seg;

/* Opening at a sequence that is gone begins at the first stored one. */
TG_MUST_CHECK int tg_log_reader_open(struct tg_log *log, uint64_t from, struct tg_log_reader **out,
                                     struct tg_err *err);
void tg_log_reader_close(struct tg_log_reader **reader);
/* 1 and the record (spans lent until the next call of any reader of this log); 0: nothing synced beyond;
 * negative: a code. Damaged records are skipped and counted; sequences may therefore have gaps. */
int tg_log_reader_next(struct tg_log_reader *reader, struct tg_record *record, struct tg_err *err);
/* Sequence that the next call would look for first. */
uint64_t tg_log_reader_at(const struct tg_log_reader *reader);

/* For the log itself: moves readers out of a segment that is going. */
void tg_log_readers_leave(struct tg_log *log, struct tg_seg *seg);

#endif
