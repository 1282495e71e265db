/* One event through one destination without sending: what `try` shows and what fixtures compare. Design
 * section 10. */
#ifndef TG_SCRIPT_RENDER_H
#define TG_SCRIPT_RENDER_H

#include "base/buf.h"
#include "base/event.h"
#include "script/contract.h"
#include "script/request.h"

struct tg_render_in {
    struct tg_dest *dest;
    const struct tg_event *event;
    /* Answers in call order; deliveries past the last get 200 and an empty body. */
    const struct tg_response *responses;
    size_t n_responses;
    /* Deliveries past the last are taken to succeed, whatever judge and split would say of an answer that
     * nobody has given; repeatable ones, by which a script fetches tokens, get an OAuth2 token that is made
     * up. */
    bool assume_success;
    bool reveal; /* secrets as they are */
};

/* Adds
 * {"outcome","reason","message","requests":[{"method","url","query","headers","form"|"json"|"body","batch"}]}:
 * outcome is deliver, skip, reject, retry or error; reason null and message absent when there is none; query,
 * headers and batch absent when empty; a body that is not text is "body64". A batch's request is joined
 * alone. */
TG_MUST_CHECK int tg_render(const struct tg_render_in *in, struct tg_buf *json, struct tg_err *err);

#endif
