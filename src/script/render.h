/* One event through one destination without sending: what `try` shows and what fixtures compare. Design
 * section 10. */
#ifndef TG_SCRIPT_RENDER_H
#define TG_SCRIPT_RENDER_H

#include "base/buf.h"
#include "script/host.h"

enum { TG_RENDER_MAX = 64 << 20 }; /* bytes of what is shown */

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

/* n_events events from in->event on, all under way at once, as the engine would have them: requests of
 * batches are joined, and each answer counts for what it answers. Adds
 * {"outcome","reason","message","outcomes":[{"outcome","reason","message"}],"requests":[…]}: outcomes are
 * those of the events, in order; outcome is error when one of them is, else deliver; requests are those that
 * went out. */
TG_MUST_CHECK int tg_render_many(const struct tg_render_in *in, size_t n_events, struct tg_buf *json,
                                 struct tg_err *err);

/* Reads a JSON array of {status, headers, body}: body text, or anything else as its JSON. Free with
 * tg_render_responses_free. */
TG_MUST_CHECK int tg_render_responses(struct tg_str json, struct tg_response **out, size_t *n,
                                      struct tg_err *err);
void tg_render_responses_free(struct tg_response *responses, size_t n);

#endif
