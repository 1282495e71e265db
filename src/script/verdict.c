#include "script/verdict.h"

#include <stdio.h>

static enum tg_outcome outcome_of(int status)
{
    if (status >= 200 && status < 300)
        return TG_OUTCOME_OK;
    if (status == 401)
        return TG_OUTCOME_PARK;
    if (status == 0 || status == 408 || status == 425 || status == 429)
        return TG_OUTCOME_RETRY;
    return status >= 500 && status != 501 && status != 505 ? TG_OUTCOME_RETRY : TG_OUTCOME_REJECT;
}

/* A failure always has a reason. */
static void name_status(int status, struct tg_verdict *v)
{
    if (v->outcome == TG_OUTCOME_OK)
        v->reason[0] = '\0';
    else if (!v->reason[0])
        (void)snprintf(v->reason, sizeof v->reason, status ? "http_%d" : "network_error", status);
}

void tg_verdict_of_status(int status, struct tg_verdict *verdict)
{
    *verdict = (struct tg_verdict){.outcome = outcome_of(status)};
    name_status(status, verdict);
}

int tg_verdict_judge(struct tg_dest *dest, const struct tg_request *sent, const struct tg_response *response,
                     struct tg_verdict *verdict, struct tg_err *err)
{
    struct tg_verdict said = {.by_script = true};
    int rc = tg_dest_judge(dest, sent, response, &said, err);
    if (rc <= 0)
        return rc;
    name_status(response->status, &said);
    *verdict = said;
    return TG_OK;
}

bool tg_verdict_splits(const struct tg_dest *dest, const char *batch, enum tg_outcome whole)
{
    for (size_t i = 0; batch && i < dest->n_batches; i++)
        if (strcmp(dest->batches[i].name, batch) == 0)
            return dest->batches[i].has_split && (whole == TG_OUTCOME_OK || whole == TG_OUTCOME_REJECT);
    return false;
}

int tg_verdict_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                     const struct tg_response *response, struct tg_verdict *whole, struct tg_verdict *each,
                     struct tg_err *err)
{
    int rc = tg_dest_split(dest, requests, n, response, each, err);
    for (size_t i = 0; rc > 0 && i < n; i++)
        name_status(response->status, &each[i]);
    if (rc == 0 && whole->outcome == TG_OUTCOME_OK) {
        *whole = (struct tg_verdict){.outcome = TG_OUTCOME_REJECT, .by_script = true};
        name_status(response->status, whole);
    }
    return rc;
}
