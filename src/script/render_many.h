/* Several events through one destination without sending, as the engine would have them. */
#ifndef TG_SCRIPT_RENDER_MANY_H
#define TG_SCRIPT_RENDER_MANY_H

#include "script/render.h"

/* n_events events from in->event on, all under way at once, as the engine would have them: requests of
 * batches are joined, and each answer counts for what it answers. Adds
 * {"outcome","reason","message","outcomes":[{"outcome","reason","message"}],"requests":[…]}: outcomes are
 * those of the events, in order; outcome is error when one of them is, else deliver; requests are those that
 * went out. */
TG_MUST_CHECK int tg_render_many(const struct tg_render_in *in, size_t n_events, struct tg_buf *json,
                                 struct tg_err *err);

#endif
