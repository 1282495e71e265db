/* Users whose events must not go anywhere any more although they still lie in the log: the tombstones that
 * `tidegate forget` leaves in the state (fact "forget", named "<ms UTC> <user id>"). One hides what was
 * received until then; later events of a user who comes back pass. Requests for deletion pass too: partners
 * must hear of them.
 *
 * A tombstone goes when every segment that may hold something older has gone, on all workers: each says up to
 * which time nothing is hidden in its partitions any more (tg_forgotten_clear), and one removes what all are
 * through with. Loop thread. */
#ifndef TG_DELIVER_FORGOTTEN_H
#define TG_DELIVER_FORGOTTEN_H

#include "base/event.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_FORGET_FACT "forget"

enum {
    TG_FORGET_MARGIN_MS = 60000
}; /* by then what was received before a tombstone is in the log, and the tombstone
      in the state */

struct tg_tombstone {
    char *name; /* of the fact */
    const char *user;
    int64_t at;
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
/* Tombstones until this time hide nothing in these partitions any more. */
int64_t tg_forgotten_clear(const struct tg_forgotten *f);
/* Whether the list should be read again, so that tg_forgotten_clear can rise. */
bool tg_forgotten_is_stale(const struct tg_forgotten *f, int64_t now);
/* The name of the fact that leaves a tombstone; TG_INVALID when the user id is empty. */
TG_MUST_CHECK int tg_forgotten_name(struct tg_buf *name, const char *user_id, int64_t at);

#endif
