/* The rate that a request counts for, in a bucket that all workers share. */
#ifndef TG_DELIVER_SHOT_RATE_H
#define TG_DELIVER_SHOT_RATE_H

#include "deliver/model.h"

const struct tg_rate *tg_shot_rate(const struct shot *shot); /* NULL: none */
/* Takes a token. 0, or for how many microseconds there is none. */
int64_t tg_shot_take_token(const struct outlet *o, const struct shot *shot);
bool tg_shot_may_take_token(const struct outlet *o, const struct shot *shot);

#endif
