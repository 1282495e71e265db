/* Events whose script call took the process with it, or had to be killed: one may have been bad luck, two
 * make the event a dead letter. Counted in the state (fact "strike", "<destination> <seq>" -> "<count> <ms>
 * <reason>"), since the process does not survive. Loop thread. */
#ifndef TG_DELIVER_POISON_H
#define TG_DELIVER_POISON_H

#include "base/buf.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_poison {
    struct tg_strike_entry {
        char *name; /* "<destination> <seq>" */
        unsigned count;
        int64_t last; /* ms UTC */
        bool settled; /* the event is done with, as far as this process knows */
        char reason[64];
    } * entries;
    size_t n;
};

/* Reads what is noted. */
TG_MUST_CHECK int tg_poison_load(struct tg_poison *p, struct tg_state *s, struct tg_err *err);
void tg_poison_fini(struct tg_poison *p);
/* Another strike at `now`, durable when it returns. */
TG_MUST_CHECK int tg_poison_strike(struct tg_poison *p, struct tg_state *s, const char *destination,
                                   uint64_t seq, const char *reason, int64_t now, struct tg_err *err);
/* The reason for which the event must not be run any more, or NULL. */
const char *tg_poison_of(const struct tg_poison *p, const char *destination, uint64_t seq);
/* The event is done with. Its strikes stay for a while: a process that is killed before the cursor is saved
 * meets the event again, and a script's poisoned events are counted over a minute. */
void tg_poison_settled(struct tg_poison *p, const char *destination, uint64_t seq);
/* Drops strikes of settled events that are older than two minutes, and of all that are older than an hour. */
void tg_poison_expire(struct tg_poison *p, struct tg_state *s, int64_t now);
/* The event is done with, and comes again only when a person wants it to. */
void tg_poison_forget(struct tg_poison *p, struct tg_state *s, const char *destination, uint64_t seq);
/* Events of the destination that got a strike since `since`. What belongs to no event (sequence 0: join,
 * split, judge) has nothing that could be set aside: each of its strikes counts. */
unsigned tg_poison_recent(const struct tg_poison *p, const char *destination, int64_t since);

#endif
