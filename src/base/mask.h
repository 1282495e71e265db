/* Secrets that must not leave the process in text: each registered value, and its base64 forms, is replaced
 * by "***".
 *
 * One set for the whole process, because a secret of one destination must not show in the text of another
 * either. Values shorter than 4 bytes are not registered (they would eat ordinary text). Thread-safe. */
#ifndef TG_BASE_MASK_H
#define TG_BASE_MASK_H

#include "base/buf.h"

/* Copies `value` and its base64 forms (standard and URL-safe, with and without padding, and as "value:" for
 * Basic). Registering a value twice is fine. */
TG_MUST_CHECK int tg_mask_add(struct tg_str value);

/* Adds `text` to `out` with every registered value masked. */
TG_MUST_CHECK int tg_mask_text(struct tg_buf *out, struct tg_str text);

/* Whether a request header's value is always masked: Authorization, Proxy-Authorization, X-WSSE, Cookie,
 * Refersion-Public-Key, Refersion-Secret-Key (design section 7). */
int tg_mask_header(struct tg_str name);

/* Forgets all (reload, tests). */
void tg_mask_clear(void);

#endif
