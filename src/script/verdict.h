/* What an answer means: the status, unless the script decides. The engine and previews ask here, so that what
 * `try` and fixtures show is what happens. */
#ifndef TG_SCRIPT_VERDICT_H
#define TG_SCRIPT_VERDICT_H

#include "script/batch.h"

/* By the status alone; 0: there was no answer. */
void tg_verdict_of_status(int status, struct tg_verdict *verdict);

/* The script's judge on an answer, over what the status said before. TG_SCRIPT when judge failed; the verdict
 * is unchanged then. */
TG_MUST_CHECK int tg_verdict_judge(struct tg_dest *dest, const struct tg_request *sent,
                                   const struct tg_response *response, struct tg_verdict *verdict,
                                   struct tg_err *err);

/* Whether the batch of that name has a split to ask about an answer judged so. */
bool tg_verdict_splits(const struct tg_dest *dest, const char *batch, enum tg_outcome whole);

/* The script's split: a verdict for each of n requests, in `each`. 1: it gave them. 0: it says that the call
 * failed as a whole: `whole` is then a reject, for the caller to halve the batch, or for the one item that it
 * held. Negative: TG_NOMEM, or TG_SCRIPT when split failed. */
TG_MUST_CHECK int tg_verdict_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                                   const struct tg_response *response, struct tg_verdict *whole,
                                   struct tg_verdict *each, struct tg_err *err);

#endif
