#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

enum { FIRST_CAP = 256 };

void tg_buf_init(struct tg_buf *b, size_t max)
{
    *b = TG_BUF_INIT(max);
}

void tg_buf_fini(struct tg_buf *b)
{
    tg_free(b->data);
    *b = TG_BUF_INIT(b->max);
}

void tg_buf_clear(struct tg_buf *b)
{
    b->len = 0;
}

static int grow_to(struct tg_buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need)
        cap = cap > (size_t)-1 / 2 ? need : cap * 2;
    char *data = tg_realloc(b->data, cap);
    if (!data)
        return TG_NOMEM;
    b->data = data;
    b->cap = cap;
    return TG_OK;
}

int tg_buf_reserve(struct tg_buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n)
        return TG_TOOBIG;
    if (b->data && n <= b->cap - b->len)
        return TG_OK;
    return grow_to(b, b->len + n);
}

int tg_buf_add(struct tg_buf *b, const void *p, size_t n)
{
    int rc = tg_buf_reserve(b, n);
    if (rc)
        return rc;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    return TG_OK;
}

int tg_buf_adds(struct tg_buf *b, const char *z)
{
    return tg_buf_add(b, z, strlen(z));
}

int tg_buf_addstr(struct tg_buf *b, struct tg_str s)
{
    return tg_buf_add(b, s.p, s.n);
}

int tg_buf_addc(struct tg_buf *b, char c)
{
    return tg_buf_add(b, &c, 1);
}

int tg_buf_vprintf(struct tg_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    int rc = n < 0 ? TG_INVALID : tg_buf_reserve(b, (size_t)n);
    /* vsnprintf wants room for its NUL, which does not count against the ceiling. */
    if (!rc && b->cap - b->len < (size_t)n + 1)
        rc = grow_to(b, b->len + (size_t)n + 1);
    if (!rc) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return rc;
}

int tg_buf_printf(struct tg_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = tg_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return rc;
}

void tg_buf_consume(struct tg_buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

const char *tg_buf_cstr(struct tg_buf *b)
{
    if ((!b->data || b->len == b->cap) && grow_to(b, b->len + 1))
        return NULL;
    b->data[b->len] = '\0';
    return b->data;
}

char *tg_buf_take(struct tg_buf *b, size_t *len)
{
    if (!tg_buf_cstr(b))
        return NULL;
    char *data = b->data;
    if (len)
        *len = b->len;
    *b = TG_BUF_INIT(b->max);
    return data;
}
