/* The ceiling of what ingest sets aside, for each source: write keys of browsers are public, and whoever has
 * one must not be able to fill the disk with bad events. The oldest go first, and are counted.
 *
 * One for each worker, on its loop's thread. The dead letters are shared by all workers, so each looks
 * after its share of what comes in: the sum stays under the ceiling as long as trimming keeps up. */
#ifndef TG_DAEMON_ASIDE_H
#define TG_DAEMON_ASIDE_H

#include "base/metrics.h"
#include "spool/state.h"

struct tg_aside;

/* Lends state and metrics; they must outlive it, or tg_aside_stop be called before. NULL: out of memory. */
struct tg_aside *tg_aside_new(struct tg_state *state, struct tg_metrics *metrics, unsigned workers);
/* No more trims from now on; those under way may still end. */
void tg_aside_stop(struct tg_aside *aside);
/* Nothing may be under way. */
void tg_aside_free(struct tg_aside **aside);

/* Most bytes for each source, from now on. */
void tg_aside_limit(struct tg_aside *aside, uint64_t bytes);
/* So many bytes of a source were set aside just now; trims when it is time. */
void tg_aside_note(struct tg_aside *aside, struct tg_str source, size_t bytes);

#endif
