/* Members of JSON objects, put in the order of their names after they were written.
 *
 * A writer adds one for each member, `,"name":value`, in the order in which it comes to them; objects nest,
 * so the members of the innermost one are the last. No Lua here. */
#ifndef TG_SCRIPT_JSON_ORDER_H
#define TG_SCRIPT_JSON_ORDER_H

#include "base/buf.h"

#include <stdint.h>

struct tg_member {
    struct tg_str key; /* lent */
    uint64_t head; /* the key's first eight bytes, most significant first: settles nearly every comparison */
    size_t at, n;  /* where its text stands in the output */
};

struct tg_members {
    struct tg_member *v;
    size_t n, cap;
    struct tg_buf spare; /* for moving text about */
};

void tg_members_init(struct tg_members *m, size_t max_bytes);
void tg_members_fini(struct tg_members *m);
/* Gives back what a large text has left. */
void tg_members_trim(struct tg_members *m);

/* One more, whose text begins at `at`; its length comes with tg_members_close, by its number. */
TG_MUST_CHECK int tg_members_open(struct tg_members *m, struct tg_str key, size_t at, size_t *number);
static inline void tg_members_close(struct tg_members *m, size_t number, size_t end)
{
    m->v[number].n = end - m->v[number].at;
}

/* Puts the texts of the members from number `first` on, which end `out` and follow each other, in order, and
 * forgets these members. There is at least one. */
TG_MUST_CHECK int tg_members_order(struct tg_members *m, size_t first, struct tg_buf *out);

#endif
