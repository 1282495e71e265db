/* Answers of partners as a person writes them down for previews and fixtures. */
#ifndef TG_SCRIPT_ANSWERS_H
#define TG_SCRIPT_ANSWERS_H

#include "base/err.h"
#include "script/request.h"

/* Reads a JSON array of {status, headers, body}: body text, or anything else as its JSON. Free with
 * tg_render_responses_free. */
TG_MUST_CHECK int tg_render_responses(struct tg_str json, struct tg_response **out, size_t *n,
                                      struct tg_err *err);
void tg_render_responses_free(struct tg_response *responses, size_t n);

#endif
