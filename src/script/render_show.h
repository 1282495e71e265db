/* What previews say: requests as JSON, with secrets masked, and words for outcomes. */
#ifndef TG_SCRIPT_RENDER_SHOW_H
#define TG_SCRIPT_RENDER_SHOW_H

#include "base/buf.h"
#include "script/batch.h"
#include "script/run.h"

enum { TG_RENDER_MAX = 64 << 20 }; /* bytes of what is shown */

/* Words for how a run ended, and for what became of a delivery. */
const char *tg_render_end_word(enum tg_run_end end);
const char *tg_render_outcome_word(enum tg_outcome outcome);

/* For the coverage of fixtures. */
void tg_render_note_reason(const struct tg_dest *dest, const char *outcome, const char *reason);

/* Adds `"outcome":…,"reason":…` and, when there is one, `,"message":…`; the reason of what is delivered is
 * null. */
TG_MUST_CHECK int tg_render_outcome(const char *outcome, const char *reason, const char *message, bool reveal,
                                    struct tg_buf *json);
/* Adds the request as tg_render shows it; the text as JSON, masked unless reveal is set. */
TG_MUST_CHECK int tg_render_request(const struct tg_request *r, bool reveal, struct tg_buf *json);
TG_MUST_CHECK int tg_render_text(struct tg_str text, bool reveal, struct tg_buf *json);

#endif
