#include "script/json_order.h"

#include "base/mem.h"

#include <endian.h>
#include <stdlib.h>

enum {
    KEEP_BYTES = 256 << 10, /* above these tg_members_trim gives back */
    KEEP_MEMBERS = 4096,
    SMALL_SORT = 12
};

void tg_members_init(struct tg_members *m, size_t max_bytes)
{
    *m = (struct tg_members){0};
    tg_buf_init(&m->spare, max_bytes);
}

static void free_members(struct tg_members *m)
{
    tg_free(m->v);
    m->v = NULL;
    m->n = m->cap = 0;
}

void tg_members_fini(struct tg_members *m)
{
    tg_buf_fini(&m->spare);
    free_members(m);
}

void tg_members_trim(struct tg_members *m)
{
    if (m->spare.cap > KEEP_BYTES)
        tg_buf_fini(&m->spare);
    if (m->cap > KEEP_MEMBERS)
        free_members(m);
}

static uint64_t head_of(const char *p, size_t n)
{
    uint64_t head = 0;
    if (n >= sizeof head) {
        memcpy(&head, p, sizeof head);
        return be64toh(head);
    }
    if (n >= 4) { /* two halves, which may overlap */
        uint32_t first, last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + n - 4, sizeof last);
        return (uint64_t)be32toh(first) << 32 | (uint64_t)be32toh(last) << (64 - 8 * n);
    }
    for (size_t i = 0; i < 4; i++)
        head = head << 8 | (i < n ? (unsigned char)p[i] : 0);
    return head << 32;
}

static int more_members(struct tg_members *m)
{
    size_t cap = m->cap ? 2 * m->cap : 64;
    struct tg_member *more = tg_realloc(m->v, cap * sizeof *more);
    if (!more)
        return TG_NOMEM;
    m->v = more;
    m->cap = cap;
    return TG_OK;
}

int tg_members_open(struct tg_members *m, struct tg_str key, size_t at, size_t *number)
{
    if (m->n == m->cap && more_members(m))
        return TG_NOMEM;
    *number = m->n++;
    m->v[*number] = (struct tg_member){.key = key, .head = head_of(key.p, key.n), .at = at};
    return TG_OK;
}

static inline int compare(const struct tg_member *a, const struct tg_member *b)
{
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    size_t n = a->key.n < b->key.n ? a->key.n : b->key.n;
    int c = memcmp(a->key.p, b->key.p, n);
    return c ? c : (a->key.n > b->key.n) - (a->key.n < b->key.n);
}

static int compare_members(const void *a, const void *b)
{
    return compare(a, b);
}

static void sort(struct tg_member *v, size_t n)
{
    if (n > SMALL_SORT) {
        qsort(v, n, sizeof *v, compare_members);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct tg_member one = v[i];
        size_t j = i;
        for (; j > 0 && compare(&one, &v[j - 1]) < 0; j--)
            v[j] = v[j - 1];
        v[j] = one;
    }
}

int tg_members_order(struct tg_members *m, size_t first, struct tg_buf *out)
{
    struct tg_member *v = m->v + first;
    size_t n = m->n - first, begin = v[0].at, size = out->len - begin, sorted = 1;
    m->n = first;
    while (sorted < n && compare(&v[sorted - 1], &v[sorted]) < 0)
        sorted++;
    if (sorted >= n)
        return TG_OK;
    tg_buf_clear(&m->spare);
    int rc = tg_buf_reserve(&m->spare, size);
    if (rc)
        return rc;
    memcpy(m->spare.data, out->data + begin, size);
    sort(v, n);
    char *to = out->data + begin;
    for (size_t i = 0; i < n; i++) {
        memcpy(to, m->spare.data + (v[i].at - begin), v[i].n);
        to += v[i].n;
    }
    return TG_OK;
}
