/* gzip and deflate with a ceiling on what comes out, over zlib. */
#ifndef TG_BASE_GZIP_H
#define TG_BASE_GZIP_H

#include "base/buf.h"

#include <stdbool.h>

struct tg_inflate; /* a stream being decompressed */

/* gzip (several members too), or zlib/raw deflate when `deflate` is set. */
TG_MUST_CHECK int tg_inflate_new(struct tg_inflate **out, bool deflate);
void tg_inflate_free(struct tg_inflate **z);
/* Decompresses `in` onto `out`. TG_TOOBIG when out's ceiling would be passed (a gzip bomb stops there),
 * TG_INVALID for bad data or bytes behind the end. */
TG_MUST_CHECK int tg_inflate_feed(struct tg_inflate *z, struct tg_str in, struct tg_buf *out,
                                  struct tg_err *err);
/* Whether the stream has ended as it should. */
bool tg_inflate_complete(const struct tg_inflate *z);

/* Adds `in` as one gzip member. level 1 to 9. */
TG_MUST_CHECK int tg_gzip(struct tg_buf *out, struct tg_str in, int level);

#endif
