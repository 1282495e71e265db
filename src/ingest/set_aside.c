#include "ingest/set_aside.h"

#include <assert.h>
#include <stdio.h>

enum { SHOWN_BYTES = 40, PATH_BYTES = 48, SENTENCE_BYTES = 512 };

struct tg_str tg_shown(struct tg_str json)
{
    if (json.n > SHOWN_BYTES) {
        json.n = SHOWN_BYTES;
        while (json.n && ((unsigned char)json.p[json.n] & 0xc0) == 0x80)
            json.n--;
    }
    return json;
}

/* "batch[3]" or "event". */
static void path_of(const struct tg_item *it, char path[PATH_BYTES])
{
    if (it->in->batch)
        (void)snprintf(path, PATH_BYTES, "batch[%zu]", it->index);
    else
        (void)snprintf(path, PATH_BYTES, "event");
}

int tg_set_aside(struct tg_item *it, const char *reason, const char *what, const char *fmt, ...)
{
    char path[PATH_BYTES], text[SENTENCE_BYTES];
    path_of(it, path);
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(text, sizeof text, "%s%s: ", path, what);
    n += vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    assert(n > 0 && (size_t)n < sizeof text);
    struct tg_str detail = tg_arena_copy(&it->items->arena, tg_str_n(text, (size_t)n));
    if (!detail.p)
        return TG_NOMEM;
    const struct tg_setaside bad = {
        .source = it->ev.source,
        .reason = tg_str_of(reason),
        .detail = detail,
        .message_id = it->ev.message_id,
        .body = it->ev.body,
        .received_at = it->ev.received_at,
    };
    int rc = tg_items_add_bad(it->items, &bad);
    return rc ? rc : TG_ITEM_DONE;
}
