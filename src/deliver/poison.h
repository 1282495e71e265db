/* Events whose script call took the process with it, or had to be killed: one may have been bad luck, two
 * make the event a dead letter. Counted in the state (fact "strike", "<destination> <mark>" -> "<count> <ms>
 * <reason>"), since the process does not survive. Loop thread. */
#ifndef TG_DELIVER_POISON_H
#define TG_DELIVER_POISON_H

#include "base/buf.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What names an event in strikes and in the watch cell: sequences are counted in each partition. */
enum { TG_POISON_SEQ_BITS = 48 };
static inline uint64_t tg_poison_mark(uint32_t partition, uint64_t seq)
{
    return (uint64_t)partition << TG_POISON_SEQ_BITS | (seq & (((uint64_t)1 << TG_POISON_SEQ_BITS) - 1));
}

struct tg_poison {
    struct tg_strike_entry {
        char *name; /* "<destination> <mark>" */
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
                                   uint64_t mark, const char *reason, int64_t now, struct tg_err *err);
/* The reason for which the event must not be run any more, or NULL. */
const char *tg_poison_of(const struct tg_poison *p, const char *destination, uint64_t mark);
/* The event is done with. Its strikes stay for a while: a process that is killed before the cursor is saved
 * meets the event again, and a script's poisoned events are counted over a minute. */
void tg_poison_settled(struct tg_poison *p, const char *destination, uint64_t mark);
/* Drops strikes of settled events that are older than two minutes, and of all that are older than an hour. */
void tg_poison_expire(struct tg_poison *p, struct tg_state *s, int64_t now);
/* The event is done with, and comes again only when a person wants it to. */
void tg_poison_forget(struct tg_poison *p, struct tg_state *s, const char *destination, uint64_t mark);
/* Events of the destination that got a strike since `since`. What belongs to no event (0: join,
 * split, judge) has nothing that could be set aside: each of its strikes counts. */
unsigned tg_poison_recent(const struct tg_poison *p, const char *destination, int64_t since);

#endif
