/* Writes segments. Everything here stalls on the disk: it runs on the helper thread (or before the loop
 * starts).
 *
 * One segment is open at most. A spare, preallocated file waits beside it, so that going over to the next
 * segment costs a header and a rename. A write or sync that fails ends the segment for good (it is
 * "poisoned"): what was acknowledged stays, what was not is cut off as far as the disk still lets us, nothing
 * is tried again on that file, and the next write begins another. The reserve is a file that keeps disk space
 * back; on a full disk it is removed. */
#ifndef TG_SPOOL_WRITER_H
#define TG_SPOOL_WRITER_H

#include "spool/io.h"
#include "spool/log_options.h"
#include "spool/segment.h"

struct tg_writer {
    struct tg_io *io;
    char *dir;
    uint32_t partition;
    uint64_t epoch, segment_bytes, reserve_bytes;
    enum tg_sync_mode sync;

    int fd;                      /* the open segment; -1: none */
    uint64_t first_seq;          /* its name */
    uint64_t at, size;           /* where the next byte goes; bytes preallocated */
    uint64_t next_seq;           /* above its last acknowledged record */
    bool dirty;                  /* written since the last sync */
    struct tg_segment_prev prev; /* of the open segment; while none is open: of the next one */

    int spare_fd; /* -1: none */
    uint64_t spare_size;
    bool reserve; /* the reserve file is there */
};

TG_MUST_CHECK int tg_writer_init(struct tg_writer *w, const struct tg_log_options *o, struct tg_err *err);
/* Seals the open segment, removes the spare. The reserve stays on disk. */
void tg_writer_fini(struct tg_writer *w);

/* Makes the spare if there is none, at least `bytes` long. TG_FULL, TG_IO. */
TG_MUST_CHECK int tg_writer_prepare(struct tg_writer *w, uint64_t bytes, struct tg_err *err);
/* Puts n bytes of whole records, numbered from first_seq to next_seq - 1, behind each other into one segment,
 * a new one where they do not fit (may_create: also when there is no spare), and syncs as the mode says. On
 * failure none of them is acknowledged. */
TG_MUST_CHECK int tg_writer_put(struct tg_writer *w, const void *records, size_t n, uint64_t first_seq,
                                uint64_t next_seq, bool may_create, struct tg_err *err);
/* Syncs what the interval mode left. A failure ends the segment. */
TG_MUST_CHECK int tg_writer_sync(struct tg_writer *w, struct tg_err *err);
/* Ends the open segment: cut to its length, closed. */
void tg_writer_seal(struct tg_writer *w);

/* TG_OK also when it is there already, or none is wanted. TG_FULL, TG_IO. */
TG_MUST_CHECK int tg_writer_reserve(struct tg_writer *w, struct tg_err *err);
void tg_writer_free_reserve(struct tg_writer *w);

/* "<dir>/<name>" into out; false when it does not fit. */
enum { TG_PATH_MAX = 4096 };
TG_MUST_CHECK bool tg_spool_path(char out[TG_PATH_MAX], const char *dir, const char *name);

#endif
