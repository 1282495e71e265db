/* What an answer, or its absence, means for the destination: pauses that the partner asks for, and the rules
 * that park it. */
#ifndef TG_DELIVER_JUDGE_H
#define TG_DELIVER_JUDGE_H

#include "deliver/http_client.h"
#include "deliver/shared.h"
#include "script/verdict.h"

/* By the status alone, or why there is none: network_error, timeout, egress_refused. The script's judge and
 * split may decide otherwise. */
void tg_judge_status(int status, enum tg_client_failure failure, struct tg_verdict *verdict);

enum { TG_PAUSE_MAX_MS = 3600 * 1000 };
/* For how long the whole destination is to keep still, ms from `now` (ms UTC): Retry-After of an answer that
 * is not a success, and the reset of a rate limit that is used up (429, or none remaining) where the script
 * says how it is written. 0: not at all. */
int64_t tg_judge_pause(const struct tg_response *response, const struct tg_rate *rate, int64_t now);

/* The first header of that name, any case; NULL when there is none. */
const char *tg_response_header(const struct tg_response *response, const char *name);

/* Rejects in a row, over all workers: a second event with 402 or 403 that the status alone decided, or the
 * twentieth of one reason, with no success between, means that the destination and not the event is at fault.
 * The cell is the destination's, 0 at first. */
void tg_strikes_success(tg_shared_cell *strikes);
/* Counts an event's reject; true when the destination is to be parked, and then that event is kept instead.
 */
bool tg_strikes_reject(tg_shared_cell *strikes, int status, const struct tg_verdict *verdict);

#endif
