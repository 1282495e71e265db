/* Whether two requests ask the same: for those that go out together or share an answer. Inline, because the
 * delivery engine and previews both ask. */
#ifndef TG_SCRIPT_SAME_REQUEST_H
#define TG_SCRIPT_SAME_REQUEST_H

#include "script/request.h"

#include <string.h>

static inline bool tg_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* All but the body: what requests of a batch have in common. */
static inline bool tg_same_group(const struct tg_request *a, const struct tg_request *b)
{
    bool same = tg_same_text(a->batch, b->batch) && strcmp(a->method, b->method) == 0 &&
                strcmp(a->url, b->url) == 0 && a->n_headers == b->n_headers && a->gzip == b->gzip;
    for (size_t i = 0; same && i < a->n_headers; i++)
        same = strcmp(a->headers[i].name, b->headers[i].name) == 0 &&
               strcmp(a->headers[i].value, b->headers[i].value) == 0;
    return same;
}

/* Both say that they may share an answer, and ask for the same. */
static inline bool tg_may_share(const struct tg_request *a, const struct tg_request *b)
{
    return a->share && b->share && tg_same_group(a, b) && a->body_kind == b->body_kind &&
           a->body_len == b->body_len && tg_same_text(a->rate, b->rate) && tg_same_text(a->key, b->key) &&
           (!a->body_len || memcmp(a->body, b->body, a->body_len) == 0);
}

#endif
