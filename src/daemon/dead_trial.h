/* `tidegate dead replay --dry-run`: what the scripts as they are now make of dead letters. */
#ifndef TG_DAEMON_DEAD_TRIAL_H
#define TG_DAEMON_DEAD_TRIAL_H

#include "base/buf.h"
#include "spool/state.h"

struct tg_dead_trial;

/* Checks the configuration and takes the scripts that it names. What is wrong with it is in the message, one
 * line each. Runs Lua. */
TG_MUST_CHECK int tg_dead_trial_new(const char *config_path, struct tg_dead_trial **out, struct tg_err *err);
void tg_dead_trial_free(struct tg_dead_trial **trial);

/* Adds what would be sent for one dead letter, and how that differs from the request that it holds: text for
 * a person, or one JSON object a line {id, destination, messageId, outcome, reason, message?, requests,
 * diff}. Secrets are masked. TG_INVALID, with the reason in err, when it cannot be rendered. */
TG_MUST_CHECK int tg_dead_trial_run(struct tg_dead_trial *trial, const struct tg_dead *d, bool json,
                                    struct tg_buf *out, struct tg_err *err);

#endif
