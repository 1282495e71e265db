/* What the loop knows of the segments on disk: a list in the order of their numbers. Loop thread. */
#ifndef TG_SPOOL_SEGLIST_H
#define TG_SPOOL_SEGLIST_H

#include "base/helper.h"
#include "spool/segment.h"

struct tg_log;

/* A place to start reading from: one for about every 256 KiB of a segment. */
struct tg_place {
    uint64_t seq, offset;
};

struct tg_seg {
    struct tg_seg *next;
    uint64_t first_seq, next_seq; /* next_seq: one above the last record that may be read */
    uint64_t end;                 /* offset behind that record */
    uint64_t disk;                /* bytes on disk */
    int fd;                       /* for reading; -1 while no reader is in it */
    unsigned readers;
    struct tg_place *places;
    size_t n_places;
    uint64_t *damage; /* offsets of stretches already counted */
    size_t n_damage;
    struct tg_job remove; /* unlinking it */
    struct tg_log *log;
};

struct tg_seglist {
    struct tg_seg *first, *last;
    size_t n;
    uint64_t disk; /* of all */
};

struct tg_seg *tg_seg_new(uint64_t first_seq); /* NULL when out of memory; empty, its end behind the header */
void tg_seg_free(struct tg_seg *seg);          /* NULL is fine */
void tg_seglist_add(struct tg_seglist *l, struct tg_seg *seg);
struct tg_seg *tg_seglist_take_first(struct tg_seglist *l);
void tg_seglist_free(struct tg_seglist *l);

/* Remembers where a record is if it is far enough from the last place. Out of memory: not remembered, reading
 * is slower. */
void tg_seg_note_place(struct tg_seg *seg, uint64_t seq, uint64_t offset);
/* The last place at or before seq; the segment's begin if there is none. */
struct tg_place tg_seg_place(const struct tg_seg *seg, uint64_t seq);
/* Whether this stretch is seen for the first time. */
bool tg_seg_note_damage(struct tg_seg *seg, uint64_t offset);
/* The segment that has seq, or the first one behind it; NULL: nothing at or above it. */
struct tg_seg *tg_seglist_find(const struct tg_seglist *l, uint64_t seq);

#endif
