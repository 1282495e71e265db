/* Keeps the duplicates set (ingest/dedup.h) over a restart: a file of blocks in the spool folder, read before
 * the workers are forked, appended to every few seconds, written anew when most of it has grown old. Layout
 * and promises: src/spool/README.md.
 *
 * For the supervisor only, on its thread. Writing may stall with the disk, so a short-lived child does it;
 * nothing here waits but opening and closing. No failure stops the relay: what could not be saved is tried
 * again, and what is forgotten costs a duplicate. */
#ifndef TG_DAEMON_DEDUP_STORE_H
#define TG_DAEMON_DEDUP_STORE_H

#include "base/metrics.h"
#include "ingest/dedup.h"
#include "spool/io.h"

struct tg_dedup_store;

struct tg_dedup_store_options {
    const char *spool_dir;
    struct tg_dedup *set; /* in shared memory, empty; lent */
    struct tg_metrics *metrics;
    struct tg_io *io;
    int64_t every_ms; /* between saves */
};

/* Reads what is there into the set. NULL when out of memory: then nothing is kept. */
struct tg_dedup_store *tg_dedup_store_open(const struct tg_dedup_store_options *options);

/* The time (ms UTC) up to which everything that was accepted had been saved when the store was opened; 0: not
 * known, because there was no file or a damaged one. */
int64_t tg_dedup_store_until(const struct tg_dedup_store *store);

/* Call often, also after SIGCHLD: starts a save when one is due, takes its end, sets the metrics. now: as
 * tg_mono_ms. */
void tg_dedup_store_tick(struct tg_dedup_store *store, int64_t now);

/* Waits for a save under way, saves the rest, frees. */
void tg_dedup_store_close(struct tg_dedup_store **store);

#endif
