/* How long a destination whose script is slow keeps still, so that its neighbours on the same thread are not
 * held up. Pure: time is an argument.
 *
 * A script call cannot be divided: LuaJIT as it is packaged (2.1 of March 2022) crashes when a hook yields.
 * Everything that arrives during a call of t waits for up to t, so what a call costs the others grows with
 * its square, and so does the rest after it: calls no longer than an ordinary turn of the loop are paid back
 * with their own length, one of 50 ms with 17 s: that keeps what is held up by it out of the others' 99th
 * percentile.
 *
 * That is for neighbours that are busy. Where they have taken up nothing for as long as the call takes, there
 * is nobody to protect, and it may go on. A script that could keep up with its events at all leaves such
 * gaps. */
#ifndef TG_DELIVER_REST_H
#define TG_DELIVER_REST_H

#include <stdbool.h>
#include <stdint.h>

struct tg_rest {
    int64_t until;    /* mono ms */
    int64_t quiet_ms; /* over before that, once the others have been quiet for so long */
    bool sure;        /* the call was long by CPU time, not only by the clock on the wall */
    unsigned suspect; /* calls that are still to be measured by CPU time */
};

/* Its script is new: the next calls are measured by CPU time, which costs a system call each. */
void tg_rest_watch(struct tg_rest *rest);

/* A call took `over_us` more than its share: by CPU time while `suspect`, else by the clock on the wall,
 * which also runs while the machine does something else. Then the rest is only as long as the call was, and
 * CPU time counts from now on. Returns how long it rests, ms. */
int64_t tg_rest_begin(struct tg_rest *rest, int64_t over_us, int64_t now);

/* When it may go on. `others_at`: mono ms, when another destination last took up an event; 0: never. */
int64_t tg_rest_ends(const struct tg_rest *rest, int64_t others_at);

#endif
