/* A growing byte buffer with a ceiling given at birth: full (TG_TOOBIG) is an ordinary result.
 *
 * The storage belongs to the buffer; `data` is lent until the next call that adds or removes bytes. A failed
 * call leaves the contents as they were. Not thread-safe. */
#ifndef TG_BASE_BUF_H
#define TG_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>
#include <stddef.h>

struct tg_buf {
    char *data; /* NULL while nothing was allocated */
    size_t len;
    size_t cap;
    size_t max; /* most bytes that it will ever hold */
};

#define TG_BUF_INIT(limit) ((struct tg_buf){NULL, 0, 0, (limit)})

void tg_buf_init(struct tg_buf *b, size_t max);
void tg_buf_fini(struct tg_buf *b);  /* frees; the buffer is then empty and usable again */
void tg_buf_clear(struct tg_buf *b); /* length 0, storage kept */

/* Room for n more bytes at data + len (fill it, then add to len). */
TG_MUST_CHECK int tg_buf_reserve(struct tg_buf *b, size_t n);
TG_MUST_CHECK int tg_buf_add(struct tg_buf *b, const void *p, size_t n);
TG_MUST_CHECK int tg_buf_adds(struct tg_buf *b, const char *z);
TG_MUST_CHECK int tg_buf_addstr(struct tg_buf *b, struct tg_str s);
TG_MUST_CHECK int tg_buf_addc(struct tg_buf *b, char c);
TG_MUST_CHECK int tg_buf_printf(struct tg_buf *b, const char *fmt, ...) TG_PRINTF(2, 3);
TG_MUST_CHECK int tg_buf_vprintf(struct tg_buf *b, const char *fmt, va_list ap);

/* Removes n bytes (at most len) from the front. */
void tg_buf_consume(struct tg_buf *b, size_t n);

/* The contents as a span, lent. */
static inline struct tg_str tg_buf_str(const struct tg_buf *b)
{
    return (struct tg_str){b->data, b->len};
}

/* The contents as a NUL-terminated string, lent; NULL when out of memory. The NUL is not counted in len. */
const char *tg_buf_cstr(struct tg_buf *b);

/* Moves the storage to the caller (free with tg_free; NUL-terminated; length in *len if not NULL). NULL when
 * out of memory, and then the buffer keeps its contents. */
char *tg_buf_take(struct tg_buf *b, size_t *len);

#endif
