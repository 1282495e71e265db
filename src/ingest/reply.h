/* The exact bodies that senders expect (ingest contract section 7). */
#ifndef TG_INGEST_REPLY_H
#define TG_INGEST_REPLY_H

#include "base/buf.h"

/* {"success":true} */
extern const struct tg_str tg_reply_success;
/* A transparent GIF of one pixel. */
extern const struct tg_str tg_reply_pixel;

/* Adds {"success":false,"code":…,"message":…,"error":…}; error repeats message (Ruby reads that, Python the
 * others). */
TG_MUST_CHECK int tg_reply_error(struct tg_buf *out, const char *code, struct tg_str message);

#endif
