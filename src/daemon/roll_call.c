#include "daemon/roll_call.h"

#include <assert.h>
#include <stdio.h>

void tg_roll_call_begin(struct tg_roll_call *r)
{
    *r = (struct tg_roll_call){.failure = ""};
}

void tg_roll_call_ask(struct tg_roll_call *r, unsigned worker)
{
    assert(worker < TG_ROLL_CALL_MAX);
    r->waits[worker] = true;
}

void tg_roll_call_answer(struct tg_roll_call *r, unsigned worker, const char *failure)
{
    assert(worker < TG_ROLL_CALL_MAX);
    if (r->waits[worker] && failure)
        tg_roll_call_fail(r, failure);
    r->waits[worker] = false;
}

void tg_roll_call_fail(struct tg_roll_call *r, const char *failure)
{
    if (!r->failure[0])
        (void)snprintf(r->failure, sizeof r->failure, "%s", *failure ? failure : "it failed");
}

bool tg_roll_call_is_over(const struct tg_roll_call *r)
{
    for (unsigned i = 0; i < TG_ROLL_CALL_MAX; i++)
        if (r->waits[i])
            return false;
    return true;
}

const char *tg_roll_call_failure(const struct tg_roll_call *r)
{
    return r->failure[0] ? r->failure : NULL;
}
