/* The breaker of a destination over all workers, and over a restart.
 *
 * Each worker has a breaker of its own (deliver/breaker.h), which counts what it sees. The one that opens or
 * closes says so in a shared cell, and the others follow at their next turn, a second later at most: the time
 * until which it is open and how often in a row, in one number; 0: closed. Half-open, the worker that finds
 * the cell `probe` free sends the one probe; the cell holds a time, after which a probe is taken for lost
 * with its worker. What opens is noted in the state too (fact "breaker"), so that a restart in the middle of
 * an outage begins with a probe and not with all that waits. */
#ifndef TG_DELIVER_CIRCUIT_H
#define TG_DELIVER_CIRCUIT_H

#include "deliver/model.h"

enum { TG_RAMP_FROM = 2 }; /* requests at once after a start and after a resume, one more with each success */

TG_MUST_CHECK int tg_circuit_find(struct outlet *o); /* its shared cells */
/* For tg_state_facts_each: what was noted of an outage. */
int tg_circuit_recall(void *engine, const char *name, struct tg_str value);
/* What another worker has seen. True: it is open now, and every item of the outlet is to be looked at. */
TG_MUST_CHECK bool tg_circuit_follow(struct outlet *o);
/* Our breaker was in state `before` and may have left it: then all hear of it. */
void tg_circuit_changed(struct outlet *o, enum tg_breaker_state before);
/* False: half-open, and another worker's probe is under way. */
bool tg_circuit_may_probe(struct outlet *o, int64_t now);
void tg_circuit_probed(struct outlet *o); /* our probe has ended */
void tg_circuit_reset(struct outlet *o);  /* closed, for all, as a person wants it */

#endif
