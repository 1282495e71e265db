/* join, split and judge: what a script says of batches and responses. */
#ifndef TG_SCRIPT_BATCH_H
#define TG_SCRIPT_BATCH_H

#include "script/contract.h"
#include "script/request.h"

enum tg_outcome { TG_OUTCOME_OK, TG_OUTCOME_RETRY, TG_OUTCOME_REJECT, TG_OUTCOME_PARK };

/* Joins requests of one batch (equal batch, method, url, headers) into `out`: body from join(items,
 * settings), headers merged. */
TG_MUST_CHECK int tg_dest_join(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                               struct tg_request **out, struct tg_err *err);
/* What an answer means for a delivery. */
enum { TG_REASON_MAX = 256, TG_MESSAGE_MAX = 512 };
struct tg_verdict {
    enum tg_outcome outcome;
    char reason[TG_REASON_MAX];   /* http_400, network_error …, or the script's; empty for TG_OUTCOME_OK */
    char message[TG_MESSAGE_MAX]; /* the partner's words, when the script passed them on; else empty */
    bool by_script;               /* judge or split decided, not the status */
};
/* split(response, items, settings): 1 with a verdict for each request in `each`; 0 when it returned nil,
 * which says that the call failed as a whole; TG_SCRIPT when it fails, TG_NOMEM. A reason that the script did
 * not give stays empty. */
TG_MUST_CHECK int tg_dest_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                                const struct tg_response *response, struct tg_verdict *each,
                                struct tg_err *err);
/* judge(response, request, settings): 1 and its verdict when the script decides, 0 when it has no judge or
 * returned nil, negative: TG_SCRIPT. */
int tg_dest_judge(struct tg_dest *dest, const struct tg_request *request, const struct tg_response *response,
                  struct tg_verdict *verdict, struct tg_err *err);

#endif
