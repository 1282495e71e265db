#include "deliver/item_fail.h"

#include "base/mem.h"
#include "deliver/tell.h"
#include "deliver/turns.h"

#include <stdio.h>

static int rank(enum tg_outcome outcome)
{
    return outcome == TG_OUTCOME_PARK     ? 3
           : outcome == TG_OUTCOME_REJECT ? 2
           : outcome == TG_OUTCOME_RETRY  ? 1
                                          : 0;
}

void tg_item_fail(struct item *item, enum tg_outcome outcome, const char *reason, const char *message,
                  int status)
{
    if (item->failed && rank(item->outcome) >= rank(outcome))
        return;
    item->failed = true;
    item->outcome = outcome;
    item->status = status;
    snprintf(item->reason, sizeof item->reason, "%s", reason);
    tg_free(item->message);
    item->message = message ? tg_strdup(message) : NULL;
    if (outcome != TG_OUTCOME_PARK) /* which has a line of its own */
        tg_tell_failed(item, outcome == TG_OUTCOME_RETRY);
    tg_engine_touch(item->outlet->engine, item);
}
