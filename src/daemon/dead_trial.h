/* What the destinations as they are now make of one dead letter, for `tidegate dead replay --dry-run`. */
#ifndef TG_DAEMON_DEAD_TRIAL_H
#define TG_DAEMON_DEAD_TRIAL_H

#include "daemon/trial.h"
#include "spool/state.h"

/* Adds what would be sent for one dead letter, after gates and filter, and how that differs from the request
 * that it holds: text for a person, or one JSON object a line {id, destination, messageId, outcome, reason,
 * message?, requests, diff}. The request that is most like the one held is compared with it; nothing is where
 * nothing would be sent. responses: JSON array text as for `try`, or empty; what has none is taken to
 * succeed. Secrets are masked. same: whether the request is the one held, as far as masked texts can tell.
 * TG_INVALID, with the reason in err, when it cannot be rendered. */
TG_MUST_CHECK int tg_dead_trial_run(struct tg_trial *trial, const struct tg_dead *d, struct tg_str responses,
                                    bool json, struct tg_buf *out, bool *same, struct tg_err *err);

#endif
