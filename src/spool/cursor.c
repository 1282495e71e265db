#include "spool/cursor.h"

#include "base/mem.h"
#include "spool/cursors_state.h"

#include <assert.h>
#include <string.h>

_Static_assert(TG_CURSOR_WINDOW_BYTES * 8 == TG_CURSOR_WINDOW, "a bit for each sequence of the window");

static bool bit(const struct tg_cursor *c, uint64_t seq)
{
    return c->window[seq % TG_CURSOR_WINDOW / 8] >> seq % 8 & 1;
}

static void clear_bit(struct tg_cursor *c, uint64_t seq)
{
    c->window[seq % TG_CURSOR_WINDOW / 8] &= (unsigned char)~(1U << seq % 8);
}

static void advance(struct tg_cursor *c)
{
    while (bit(c, c->low))
        clear_bit(c, c->low++);
    if (c->above < c->low)
        c->above = c->low;
}

const char *tg_cursor_name(const struct tg_cursor *c)
{
    return c->name;
}

uint64_t tg_cursor_low(const struct tg_cursor *c)
{
    return c->low;
}

uint64_t tg_cursor_limit(const struct tg_cursor *c)
{
    return c->low + TG_CURSOR_WINDOW;
}

bool tg_cursor_settled(const struct tg_cursor *c, uint64_t seq)
{
    return seq < c->low || (seq < tg_cursor_limit(c) && bit(c, seq));
}

uint64_t tg_cursor_settled_above(const struct tg_cursor *cursor)
{
    uint64_t n = 0;
    for (size_t i = 0; i < TG_CURSOR_WINDOW_BYTES; i++)
        n += (uint64_t)__builtin_popcount(cursor->window[i]);
    return n;
}

void tg_cursor_settle(struct tg_cursor *cursor, uint64_t seq)
{
    if (tg_cursor_settled(cursor, seq))
        return;
    assert(seq < tg_cursor_limit(cursor));
    cursor->window[seq % TG_CURSOR_WINDOW / 8] |= (unsigned char)(1U << seq % 8);
    if (cursor->above <= seq)
        cursor->above = seq + 1;
    advance(cursor);
    cursor->owner->dirty = true;
}

void tg_cursor_settle_below(struct tg_cursor *cursor, uint64_t upto)
{
    if (upto <= cursor->low)
        return;
    uint64_t end = upto < tg_cursor_limit(cursor) ? upto : tg_cursor_limit(cursor);
    for (uint64_t seq = cursor->low; seq < end; seq++)
        clear_bit(cursor, seq);
    cursor->low = upto;
    advance(cursor);
    cursor->owner->dirty = true;
}

void tg_cursor_set_removed_at(struct tg_cursor *cursor, int64_t ms)
{
    if (cursor->removed_at != ms)
        cursor->owner->dirty = true;
    cursor->removed_at = ms;
}

int64_t tg_cursor_removed_at(const struct tg_cursor *cursor)
{
    return cursor->removed_at;
}

/* --- for the set --- */

struct tg_cursor *tg_cursor_new(struct tg_cursors *c, struct tg_str name, uint64_t low)
{
    struct tg_cursor *cursor = tg_calloc(1, sizeof *cursor + name.n + 1);
    if (!cursor)
        return NULL;
    memcpy(cursor->name, name.p, name.n);
    cursor->owner = c;
    cursor->low = cursor->above = cursor->saved_low = low;
    *c->last = cursor;
    c->last = &cursor->next;
    return cursor;
}

/* Bytes of the window up to the last bit that is set, counted from low. */
size_t tg_cursor_window_bytes(const struct tg_cursor *c)
{
    return (size_t)(c->above - c->low + 7) / 8;
}

void tg_cursor_put_window(const struct tg_cursor *c, unsigned char *out, size_t n)
{
    memset(out, 0, n);
    for (uint64_t seq = c->low; seq < c->above; seq++)
        if (bit(c, seq))
            out[(seq - c->low) / 8] |= (unsigned char)(1U << (seq - c->low) % 8);
}

void tg_cursor_get_window(struct tg_cursor *c, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n * 8; i++)
        if (in[i / 8] >> i % 8 & 1) {
            uint64_t seq = c->low + i;
            c->window[seq % TG_CURSOR_WINDOW / 8] |= (unsigned char)(1U << seq % 8);
            c->above = seq + 1;
        }
    advance(c);
}
