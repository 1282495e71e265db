/* An order that goes to several workers, of which each answers for itself. It is over when all have answered
 * or have ended, also when one of them says early that it failed: an answer that came later would be taken
 * for that to the next order. */
#ifndef TG_DAEMON_ROLL_CALL_H
#define TG_DAEMON_ROLL_CALL_H

#include <stdbool.h>
#include <stddef.h>

enum { TG_ROLL_CALL_MAX = 64 }; /* workers */

struct tg_roll_call {
    bool waits[TG_ROLL_CALL_MAX];
    char failure[1024];
};

void tg_roll_call_begin(struct tg_roll_call *r);
void tg_roll_call_ask(struct tg_roll_call *r, unsigned worker);
/* The worker has done it, or has not and `failure` says why: the first failure counts. One that was not asked
 * changes nothing. */
void tg_roll_call_answer(struct tg_roll_call *r, unsigned worker, const char *failure);
/* Something went wrong that is no worker's answer. */
void tg_roll_call_fail(struct tg_roll_call *r, const char *failure);
bool tg_roll_call_is_over(const struct tg_roll_call *r);
const char *tg_roll_call_failure(const struct tg_roll_call *r); /* NULL: none */

#endif
