/* Users whose events must not go anywhere any more although they still lie in the log: the tombstones that
 * `tidegate forget` and delete events of a source with forget_on_delete leave in the state (fact "forget",
 * named "<ms UTC> <user id>"). One hides what was
 * received until then; later events of a user who comes back pass. Requests for deletion pass too: partners
 * must hear of them.
 *
 * A tombstone goes when every segment that may hold something older has gone, on all workers: each says up to
 * which time nothing is hidden in its partitions any more (tg_forgotten_clear), and one removes what all are
 * through with. Loop thread. */
#ifndef TG_DELIVER_FORGOTTEN_H
#define TG_DELIVER_FORGOTTEN_H

#include "base/event.h"
#include "deliver/shared.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_FORGET_FACT "forget"
#define TG_FORGET_ROWS "rows" /* its value: the user's rows in the state are still to be removed */
#define TG_FORGET_DONE "1"

enum {
    TG_FORGET_MARGIN_MS = 60000
}; /* by then what was received before a tombstone is in the log, and the tombstone
      in the state */

struct tg_tombstone {
    char *name; /* of the fact */
    const char *user;
    int64_t at;
    bool has_rows;  /* TG_FORGET_ROWS */
    uint64_t *upto; /* for each partition, see forgotten.c */
};

struct tg_forgotten {
    struct tg_tombstone *list; /* by user */
    size_t n, n_parts;
    int64_t read_at; /* ms UTC */
};

void tg_forgotten_init(struct tg_forgotten *f, size_t n_parts);
void tg_forgotten_fini(struct tg_forgotten *f);
/* Reads the tombstones anew; what is known of those that were there before stays. On failure nothing has
 * changed. May wait for the disk. */
TG_MUST_CHECK int tg_forgotten_load(struct tg_forgotten *f, struct tg_state *s, int64_t now,
                                    struct tg_err *err);
/* Whether the event must not go anywhere. */
bool tg_forgotten_hides(const struct tg_forgotten *f, const struct tg_event *event);
/* Notes where partition `part` of the list stands: the numbers first to last are stored. Call it now and
 * then. */
void tg_forgotten_look(struct tg_forgotten *f, size_t part, uint64_t first, uint64_t last, int64_t now);
/* The last number in that partition that has to go before all tombstones that were looked at can; 0: none. */
uint64_t tg_forgotten_waits_for(const struct tg_forgotten *f, size_t part);
/* Tombstones until this time hide nothing in these partitions any more. */
int64_t tg_forgotten_clear(const struct tg_forgotten *f);
/* Whether the list should be read again, so that tg_forgotten_clear can rise. */
bool tg_forgotten_is_stale(const struct tg_forgotten *f, int64_t now);
/* Adds the name of the fact that leaves a tombstone; TG_INVALID when the user id is empty or has a zero
 * character. */
TG_MUST_CHECK int tg_forgotten_name(struct tg_buf *name, struct tg_str user_id, int64_t at);

/* What processes tell each other, by three kinds of shared cells. Whoever has left tombstones raises `asked`
 * and `epoch`. A worker that sees another epoch than it has seen reads the tombstones, lets go of what it has
 * in hand, waits until all that it was writing is durable, and then says which epoch it has `seen`. Whoever
 * removes rows reads the tombstones, raises the epoch and waits until all workers have seen it: from then on
 * none of them writes a row that those tombstones forbid. */
struct tg_forget_cells {
    tg_shared_cell *asked, *epoch;
};
/* False: the table of cells is full. */
TG_MUST_CHECK bool tg_forget_cells(struct tg_shared *s, struct tg_forget_cells *cells);
tg_shared_cell *tg_forget_seen(struct tg_shared *s, uint32_t worker); /* NULL: full */

#endif
