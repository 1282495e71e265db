/* What the two renderers share. Nobody outside this room includes it. */
#ifndef TG_SCRIPT_RENDER_IMPL_H
#define TG_SCRIPT_RENDER_IMPL_H

#include "script/render.h"
#include "script/verdict.h"

/* Words for how a run ended, and for what became of a delivery. */
const char *tg_render_end_word(enum tg_run_end end);
const char *tg_render_outcome_word(enum tg_outcome outcome);

/* For the coverage of fixtures. */
void tg_render_note_reason(const struct tg_dest *dest, const char *outcome, const char *reason);

/* Adds the request as tg_render shows it; the text as JSON, masked unless reveal is set. */
TG_MUST_CHECK int tg_render_request(const struct tg_request *r, bool reveal, struct tg_buf *json);
TG_MUST_CHECK int tg_render_text(struct tg_str text, bool reveal, struct tg_buf *json);

#endif
