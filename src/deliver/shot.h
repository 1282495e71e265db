/* Deliveries become HTTP requests ("shots").
 *
 * A delivery waits in the batcher (when it names a batch), then in the outlet's queue as a shot or part of
 * one; shot_send.h sends it, shot_verdict.h says what its answer means. */
#ifndef TG_DELIVER_SHOT_H
#define TG_DELIVER_SHOT_H

#include "deliver/model.h"

/* Takes the request when it succeeds. */
TG_MUST_CHECK int tg_shot_add(struct item *item, struct tg_request *request);
void tg_shot_drop_unsent(struct item *item);
void tg_shot_flush(struct outlet *o, int64_t now, bool all); /* batches that are ready become shots */

void tg_delivery_free(struct delivery *d);
/* It ends without success: its item learns why. */
void tg_delivery_fail(struct delivery *d, enum tg_outcome outcome, const char *reason, const char *message,
                      int status);

const struct tg_request *tg_shot_request(const struct shot *shot); /* what goes out; of a batch once joined */
void tg_shot_unqueue(struct shot *shot);
/* A group of a batch, in two halves at the front of the queue. */
void tg_shot_halve(struct outlet *o, struct script *script, struct delivery *const *deliveries, size_t n);
/* Into and out of the list of those on the wire. */
void tg_shot_link_sent(struct shot *shot);
void tg_shot_unlink_sent(struct shot *shot);
void tg_shot_free(struct shot *shot); /* of no list */
void tg_shot_fail(struct shot *shot, enum tg_outcome outcome, const char *reason, const char *message);

#endif
