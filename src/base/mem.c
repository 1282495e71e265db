#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long countdown; /* 0: off; n: the n-th allocation fails; negative: every one fails */
static atomic_int refused;

static int refuse(void)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) == 0)
        return 0;
    long left = atomic_load(&countdown);
    if (left > 1) {
        atomic_fetch_sub(&countdown, 1);
        return 0;
    }
    atomic_store(&countdown, -1);
    atomic_store(&refused, 1);
    return 1;
}

void tg_mem_fail_after(long n)
{
    atomic_store(&countdown, n);
    atomic_store(&refused, 0);
}

int tg_mem_failed(void)
{
    return atomic_load(&refused);
}

bool tg_mem_refuses(void)
{
    return refuse();
}

void *tg_malloc(size_t size)
{
    return refuse() ? NULL : malloc(size ? size : 1);
}

void *tg_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || refuse())
        return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *tg_realloc(void *p, size_t size)
{
    return refuse() ? NULL : realloc(p, size ? size : 1);
}

void *tg_realloc_vital(void *p, size_t size)
{
    return realloc(p, size ? size : 1);
}

void tg_free(void *p)
{
    free(p);
}

void *tg_memdup(const void *p, size_t n)
{
    void *copy = tg_malloc(n);
    if (copy && n)
        memcpy(copy, p, n);
    return copy;
}

char *tg_strndup(const char *s, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *copy = tg_malloc(n + 1);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *tg_strdup(const char *s)
{
    return tg_strndup(s, strlen(s));
}
