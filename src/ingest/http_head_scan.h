/* The head of a request, looked at line by line as it arrives: the framing that llhttp is too kind to.
 * Refused are bare CR or LF, NUL and other control characters, continued lines, white space before the colon,
 * headers without a name. */
#ifndef TG_INGEST_HTTP_HEAD_SCAN_H
#define TG_INGEST_HTTP_HEAD_SCAN_H

#include "ingest/http_fault.h"

/* All zero is the start. */
struct tg_http_head_scan {
    size_t scanned; /* bytes looked at */
    size_t line;    /* where the line being scanned begins */
    size_t skipped; /* empty line before the request line */
    size_t length;  /* of the head with `skipped` and the final empty line, once that is there */
};

/* Goes on over data[0..len). TG_HTTP_DONE: `length` is known. */
enum tg_http_parse tg_http_head_scan(struct tg_http_head_scan *s, const char *data, size_t len,
                                     struct tg_http_refusal *why);

/* Whether the request line is still being scanned. */
static inline bool tg_http_head_scan_in_first_line(const struct tg_http_head_scan *s)
{
    return s->line == s->skipped;
}

#endif
