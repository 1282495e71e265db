/* What an answer means: for the partner's health (breaker, pause, parking) and for each event of the request.
 *
 * A rejected batch whose script cannot tell the items apart is halved until the bad item stands alone. */
#ifndef TG_DELIVER_SHOT_VERDICT_H
#define TG_DELIVER_SHOT_VERDICT_H

#include "deliver/model.h"

/* The shot is of no list any more; its deliveries end, and it is the caller's to free. */
void tg_shot_answered(struct shot *shot, const struct tg_response *response, enum tg_client_failure failure);
/* For the dead letter of its i-th event. response: NULL when nothing was sent. own: the part of its body that
 * is about this event, where the script has told them apart; else NULL or empty. */
void tg_shot_note(struct shot *shot, size_t i, const struct tg_response *response, const char *own);

#endif
