/* The set of cursors as data, for the modules that work on it. Nobody else includes it. */
#ifndef TG_SPOOL_CURSORS_STATE_H
#define TG_SPOOL_CURSORS_STATE_H

#include "base/buf.h"
#include "base/helper.h"
#include "spool/io.h"

enum { TG_CURSORS_BYTES_MAX = 256 << 20 }; /* of a slot of the file */
enum { TG_CURSOR_NAME_MAX = 255, TG_CURSOR_WINDOW_BYTES = 1024 };

struct tg_cursor {
    struct tg_cursor *next;
    struct tg_cursors *owner;
    uint64_t low;
    uint64_t above;     /* one above the highest settled; at least low */
    uint64_t saved_low; /* low as on disk; as given while it was never saved */
    uint64_t snap_low;  /* low as in the save under way */
    bool snapped;       /* it is part of that */
    int64_t removed_at;
    unsigned char window[TG_CURSOR_WINDOW_BYTES]; /* bit seq % TG_CURSOR_WINDOW: settled, for low < seq < low
                                           + TG_CURSOR_WINDOW */
    char name[];
};

struct waiter;

struct tg_cursors {
    struct tg_job job;
    struct tg_io *io;
    struct tg_helper *helper;
    char *dir;
    struct tg_cursor *first, **last;
    bool fresh;
    bool dirty;                 /* changed since the last snapshot that was or is being saved */
    bool running;               /* a save is under way */
    struct waiter *now, *later; /* of the save under way; of the next */

    /* The helper's while a save is under way. */
    int fd; /* -1: there is no file yet */
    uint64_t generation;
    uint32_t slot_bytes;
    bool renamed; /* a new file has its name, and the folder is not synced yet */
    int good;     /* the slot with the last good state, 0 or 1 */
    struct tg_buf bytes;
    uint32_t need; /* bytes that a slot must have */
    struct tg_err err;
    int status;
};

#endif
