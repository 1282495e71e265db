/* Reading a segment file without a log: for the command line and for tests. */
#ifndef TG_SPOOL_SEGMENT_SCAN_H
#define TG_SPOOL_SEGMENT_SCAN_H

#include "base/err.h"
#include "spool/io.h"
#include "spool/record.h"

#include <stdbool.h>

/* Calls `each` for every intact
 * record of one segment file (non-zero stops), `damaged` for each stretch that is not one. */
struct tg_segment_info {
    uint32_t version, partition;
    uint64_t epoch, first_seq, records, damaged, bytes, last_seq;
    bool torn;
};
TG_MUST_CHECK int tg_segment_scan(struct tg_io *io, const char *path, struct tg_segment_info *info,
                                  int (*each)(void *arg, const struct tg_record *record, uint64_t offset),
                                  void (*damaged)(void *arg, uint64_t offset, uint64_t bytes,
                                                  const char *why),
                                  void *arg, struct tg_err *err);

#endif
