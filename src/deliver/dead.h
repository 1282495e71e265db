/* Dead letters: what a person needs to see in order to repair the matter, without the secrets. */
#ifndef TG_DELIVER_DEAD_H
#define TG_DELIVER_DEAD_H

#include "deliver/model.h"

/* What was asked and answered; `place`: a line "# …" that says where in a batch, or empty. */
void tg_dead_note(struct item *item, const char *place, const struct tg_request *request,
                  const struct tg_response *response);
TG_MUST_CHECK int tg_dead_put(struct item *item, tg_state_done *done);
/* "429 from POST https://host/path", without secrets and query. Cut off where it is longer. */
void tg_dead_answer(const struct tg_request *request, const struct tg_response *response,
                    char text[TG_MESSAGE_MAX]);

#endif
