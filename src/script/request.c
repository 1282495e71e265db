#include "script/request.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

enum { TEXT_ROOM = 512 };

/* A request and room for its short texts, which nearly always suffices: one allocation instead of ten. */
struct roomy {
    struct tg_request pub;
    size_t used;
    _Alignas(struct tg_header) char room[TEXT_ROOM];
};

/* n bytes of the request; NULL when there is no memory. */
static void *take_room(struct tg_request *r, size_t n)
{
    struct roomy *own = (struct roomy *)r;
    size_t at = (own->used + _Alignof(struct tg_header) - 1) & ~(_Alignof(struct tg_header) - 1);
    if (n > TEXT_ROOM || at > TEXT_ROOM - n)
        return tg_malloc(n);
    own->used = at + n;
    return own->room + at;
}

static void free_text(struct tg_request *r, void *p)
{
    const struct roomy *own = (struct roomy *)r;
    if ((uintptr_t)p - (uintptr_t)own->room >= TEXT_ROOM)
        tg_free(p);
}

struct tg_request *tg_request_new(void)
{
    struct roomy *own = tg_malloc(sizeof *own);
    if (!own)
        return NULL;
    own->pub = (struct tg_request){0};
    own->used = 0;
    return &own->pub;
}

char *tg_request_text(struct tg_request *r, struct tg_str s)
{
    char *text = take_room(r, s.n + 1);
    if (!text)
        return NULL;
    if (s.n)
        memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return text;
}

void tg_request_free(struct tg_request **request)
{
    struct tg_request *r = *request;
    if (!r)
        return;
    for (size_t i = 0; i < r->n_headers; i++) {
        free_text(r, r->headers[i].name);
        free_text(r, r->headers[i].value);
    }
    free_text(r, r->headers);
    free_text(r, r->method);
    free_text(r, r->url);
    free_text(r, r->rate);
    free_text(r, r->batch);
    free_text(r, r->key);
    free_text(r, r->secret);
    tg_free(r->body);
    tg_free((void *)(uintptr_t)r->item);
    tg_free(r);
    *request = NULL;
}

/* --- headers --- */

bool tg_request_has_header(const struct tg_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

/* A new header, which is freed even when nothing comes into it; NULL when out of memory. Room grows at 4, 8,
 * 16 … headers. */
static struct tg_header *next_header(struct tg_request *r)
{
    size_t n = r->n_headers;
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
        struct tg_header *more = take_room(r, (n ? 2 * n : 4) * sizeof *more);
        if (!more)
            return NULL;
        if (n)
            memcpy(more, r->headers, n * sizeof *more);
        free_text(r, r->headers);
        r->headers = more;
    }
    r->headers[n] = (struct tg_header){NULL, NULL};
    r->n_headers++;
    return &r->headers[n];
}

int tg_request_set_header(struct tg_request *r, struct tg_str name, struct tg_str value)
{
    struct tg_header *header = NULL;
    for (size_t i = 0; i < r->n_headers && !header; i++)
        if (tg_str_ieq(name, r->headers[i].name))
            header = &r->headers[i];
    if (header) {
        free_text(r, header->value);
        header->value = NULL;
    } else {
        header = next_header(r);
        if (header)
            header->name = tg_request_text(r, name);
    }
    if (!header || !header->name)
        return TG_NOMEM;
    header->value = tg_request_text(r, value);
    return header->value ? TG_OK : TG_NOMEM;
}
