/* A configuration's destinations, loaded to see what they would make of an event without a relay: shared by
 * `try --dest` and `dead replay --dry-run`. Nothing is sent. */
#ifndef TG_DAEMON_TRIAL_H
#define TG_DAEMON_TRIAL_H

#include "base/event.h"
#include "config/config.h"
#include "daemon/snapshot_bytes.h"
#include "script/host.h"

struct tg_trial;

/* Checks the configuration and takes the scripts that it names. now: ms UTC that scripts see; TG_NO_TIME: the
 * real clock, and real randomness. What is wrong is in the message, one line each. Runs Lua. */
TG_MUST_CHECK int tg_trial_new(const char *config_path, int64_t now, struct tg_trial **out,
                               struct tg_err *err);
void tg_trial_free(struct tg_trial **trial);

/* The configuration, lent. */
const struct tg_config *tg_trial_config(const struct tg_trial *trial);

/* tg_snapshot_digest of it. */
TG_MUST_CHECK int tg_trial_digest(const struct tg_trial *trial, char hex[TG_SNAPSHOT_DIGEST + 1]);

struct tg_trial_dest {
    const struct tg_destination_config
        *config; /* NULL: a script without one, whose gates are the event's own */
    struct tg_dest *dest;
};
/* Loads the destination when it is asked for first; both are lent. TG_NOTFOUND, or TG_INVALID with the
 * problems. */
TG_MUST_CHECK int tg_trial_find(struct tg_trial *trial, const char *name, struct tg_trial_dest *out,
                                struct tg_err *err);

/* What the gates and the filter say of an event. */
struct tg_trial_gates {
    const char *reason;    /* as it would be counted, or of the dead letter; NULL: the event goes on */
    bool failed;           /* the filter has failed: a dead letter */
    char message[512];     /* the reason as a sentence; empty without one */
    struct tg_event shown; /* what the script sees; the event itself when it would see nothing */
    struct tg_buf bytes;   /* of shown */
};
/* TG_NOMEM; a filter that fails is no error. gates: any; free it with fini whatever is returned. */
TG_MUST_CHECK int tg_trial_ask(const struct tg_trial_dest *dest, const struct tg_event *event,
                               struct tg_trial_gates *gates, struct tg_err *err);
void tg_trial_gates_fini(struct tg_trial_gates *gates);

#endif
