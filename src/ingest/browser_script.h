/* The script that pages load from the relay as they would from the vendor's CDN (analytics.min.js): the
 * operator's own copy of it. */
#ifndef TG_INGEST_BROWSER_SCRIPT_H
#define TG_INGEST_BROWSER_SCRIPT_H

#include "base/buf.h"

#include <stdbool.h>

enum { TG_BROWSER_SCRIPT_TAG = 36 };

struct tg_browser_script {
    struct tg_buf text;              /* empty: there is none */
    char tag[TG_BROWSER_SCRIPT_TAG]; /* entity tag of it, in its quotes */
};

void tg_browser_script_init(struct tg_browser_script *s);
void tg_browser_script_fini(struct tg_browser_script *s);
/* Copies the text; NULL: none. On failure (TG_NOMEM, TG_TOOBIG) the old one stays. */
TG_MUST_CHECK int tg_browser_script_set(struct tg_browser_script *s, const char *text, struct tg_err *err);

/* Whether a request with this If-None-Match has it already. */
bool tg_browser_script_is_known(const struct tg_browser_script *s, struct tg_str if_none_match);

/* Adds the header lines of its answer. */
TG_MUST_CHECK int tg_browser_script_lines(const struct tg_browser_script *s, struct tg_buf *lines);

#endif
