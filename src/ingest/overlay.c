/* The index is a sorted array and not a hash: no sender can make it slow by choosing keys, and the cost of an
 * item is its own keys times a logarithm, plus the members that it really gains (which max_bytes bounds). */
#include "ingest/overlay.h"

#include <assert.h>
#include <stdlib.h>

struct tg_overlay_member {
    struct tg_str name;  /* decoded */
    struct tg_str whole; /* "name":value as sent */
    struct tg_str value;
    uint64_t taken; /* the round in which an item had this member itself */
};

/* --- the index --- */

static int compare(struct tg_str a, struct tg_str b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n ? memcmp(a.p, b.p, a.n) : 0;
}

static int by_name_then_place(const void *pa, const void *pb)
{
    const struct tg_overlay_member *a = *(struct tg_overlay_member *const *)pa;
    const struct tg_overlay_member *b = *(struct tg_overlay_member *const *)pb;
    int c = compare(a->name, b->name);
    return c ? c : (a > b) - (a < b);
}

/* The text of a key: a span of it, or decoded into the arena. */
static bool key_text(struct tg_str key, struct tg_arena *arena, struct tg_str *text)
{
    if (tg_json_plain(key, text))
        return true;
    struct tg_buf decoded = TG_BUF_INIT(SIZE_MAX);
    bool good = tg_json_text(key, &decoded) == TG_OK;
    if (good) {
        *text = tg_arena_copy(arena, tg_buf_str(&decoded));
        good = text->p != NULL;
    }
    tg_buf_fini(&decoded);
    return good;
}

static size_t count_members(struct tg_str object)
{
    size_t n = 0;
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w))
        n++;
    return n;
}

/* Of members of one name only the last stays, in `sorted` as in `members`. */
static void drop_earlier_duplicates(struct tg_overlay *o)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->n; i++) {
        struct tg_overlay_member *m = o->sorted[i];
        if (i + 1 < o->n && compare(m->name, o->sorted[i + 1]->name) == 0)
            m->whole.n = 0;
        else
            o->sorted[kept++] = m;
    }
    o->n = kept;
}

/* Takes what was dropped out of the members too. Each item walks over them: one name written a hundred
 * thousand times would otherwise cost every item of a batch as many steps. */
static void close_gaps(struct tg_overlay *o, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (o->members[i].whole.n)
            o->members[kept++] = o->members[i];
    }
    o->members[kept] = (struct tg_overlay_member){0}; /* its whole.p marks the end */
    if (kept == n)
        return;
    for (size_t i = 0; i < kept; i++)
        o->sorted[i] = &o->members[i];
    qsort(o->sorted, kept, sizeof(*o->sorted), by_name_then_place);
}

int tg_overlay_init(struct tg_overlay *o, struct tg_str object, struct tg_arena *arena)
{
    *o = (struct tg_overlay){0};
    if (!object.n || tg_json_type(object) != TG_JSON_OBJECT)
        return TG_OK;
    size_t n = count_members(object);
    if (!n)
        return TG_OK;
    o->members = tg_arena_alloc(arena, (n + 1) * sizeof *o->members);
    o->sorted = tg_arena_alloc(arena, n * sizeof(*o->sorted));
    if (!o->members || !o->sorted)
        return TG_NOMEM;
    struct tg_json_walk w = tg_json_walk(object);
    for (; tg_json_next(&w); o->n++) {
        struct tg_overlay_member *m = &o->members[o->n];
        *m = (struct tg_overlay_member){.whole = w.whole, .value = w.value};
        if (!key_text(w.key, arena, &m->name))
            return TG_NOMEM;
        o->sorted[o->n] = m;
    }
    qsort(o->sorted, o->n, sizeof(*o->sorted), by_name_then_place);
    drop_earlier_duplicates(o);
    close_gaps(o, n);
    o->object = object;
    return TG_OK;
}

static struct tg_overlay_member *find(const struct tg_overlay *o, struct tg_str name)
{
    size_t low = 0, high = o->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare(name, o->sorted[middle]->name);
        if (c == 0)
            return o->sorted[middle];
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* --- one merge --- */

struct merge {
    struct tg_overlay *overlay;
    struct tg_str own;
    const struct tg_extra *extras;
    size_t n_extras;
    struct tg_arena *arena;
    bool has_value[TG_EXTRAS_MAX]; /* somebody gave that extra a value */
    bool own_gives_way;            /* some member of `own` is an extra's name without a value */
    size_t own_members;
    size_t lent; /* bytes of members that the overlay adds, with a comma each */
};

static bool no_value(struct tg_str json)
{
    return tg_json_type(json) == TG_JSON_NULL || tg_str_is(json, "\"\"");
}

/* Which extra has this name; n_extras when none. */
static size_t extra_named(const struct merge *m, struct tg_str name)
{
    size_t i = 0;
    while (i < m->n_extras && !tg_str_is(name, m->extras[i].name))
        i++;
    return i;
}

/* Whether a member is left out because an extra takes its place. */
static bool gives_way(const struct merge *m, struct tg_str name, struct tg_str value)
{
    return no_value(value) && extra_named(m, name) < m->n_extras;
}

static int look_at_own(struct merge *m)
{
    struct tg_json_walk w = tg_json_walk(m->own);
    while (tg_json_next(&w)) {
        struct tg_str name;
        if (!key_text(w.key, m->arena, &name))
            return TG_NOMEM;
        m->own_members++;
        struct tg_overlay_member *lent = find(m->overlay, name);
        size_t extra = extra_named(m, name);
        if (extra < m->n_extras) {
            m->has_value[extra] = !no_value(w.value); /* the last of duplicates counts */
            m->own_gives_way |= no_value(w.value);
        }
        if (lent && (extra == m->n_extras || m->has_value[extra]))
            lent->taken = m->overlay->round;
    }
    return TG_OK;
}

static bool is_lent(const struct merge *m, const struct tg_overlay_member *member)
{
    return member->taken != m->overlay->round && !gives_way(m, member->name, member->value);
}

static int look_at_lent(struct merge *m, size_t max_bytes)
{
    if (!m->overlay->object.n)
        return TG_OK;
    for (struct tg_overlay_member *l = m->overlay->members; l->whole.p; l++) {
        if (is_lent(m, l)) {
            size_t extra = extra_named(m, l->name);
            if (extra < m->n_extras)
                m->has_value[extra] = true;
            m->lent += l->whole.n + 1;
            if (m->lent > max_bytes)
                return TG_TOOBIG;
        }
    }
    return TG_OK;
}

struct writer {
    char *at;
    bool any;
};

static void put(struct writer *w, struct tg_str s)
{
    memcpy(w->at, s.p, s.n);
    w->at += s.n;
}

static void put_member(struct writer *w, struct tg_str member)
{
    if (w->any)
        *w->at++ = ',';
    w->any = true;
    put(w, member);
}

static void put_own(struct writer *w, const struct merge *m)
{
    if (!m->own_members)
        return;
    if (!m->own_gives_way) {
        put_member(w, tg_str_trim(tg_str_n(m->own.p + 1, m->own.n - 2)));
        return;
    }
    struct tg_json_walk walk = tg_json_walk(m->own);
    while (tg_json_next(&walk)) {
        struct tg_str name;
        bool plain = tg_json_plain(walk.key, &name);
        bool out = no_value(walk.value) && plain && extra_named(m, name) < m->n_extras;
        for (size_t i = 0; !plain && i < m->n_extras; i++)
            out |= no_value(walk.value) && tg_json_key_is(walk.key, m->extras[i].name);
        if (!out)
            put_member(w, walk.whole);
    }
}

static void put_extra(struct writer *w, const struct tg_extra *extra)
{
    if (w->any)
        *w->at++ = ',';
    w->any = true;
    *w->at++ = '"';
    put(w, tg_str_of(extra->name));
    *w->at++ = '"';
    *w->at++ = ':';
    put(w, extra->json);
}

static int compose(const struct merge *m, size_t added, size_t max_bytes, struct tg_str *merged)
{
    size_t most = 2 + m->own.n + m->lent + added;
    if (most > max_bytes)
        return TG_TOOBIG;
    char *text = tg_arena_alloc(m->arena, most);
    if (!text)
        return TG_NOMEM;
    struct writer w = {.at = text};
    *w.at++ = '{';
    put_own(&w, m);
    for (struct tg_overlay_member *l = m->overlay->members; m->lent && l->whole.p; l++) {
        if (is_lent(m, l))
            put_member(&w, l->whole);
    }
    for (size_t i = 0; i < m->n_extras; i++) {
        if (!m->has_value[i])
            put_extra(&w, &m->extras[i]);
    }
    *w.at++ = '}';
    assert((size_t)(w.at - text) <= most);
    *merged = tg_str_n(text, (size_t)(w.at - text));
    return TG_OK;
}

int tg_overlay_apply(struct tg_overlay *o, struct tg_str own, const struct tg_extra *extras, size_t n_extras,
                     size_t max_bytes, struct tg_arena *arena, struct tg_str *merged)
{
    assert(n_extras <= TG_EXTRAS_MAX);
    *merged = (struct tg_str){0};
    if (!o->object.n && !n_extras)
        return TG_OK;
    o->round++;
    struct merge m = {.overlay = o, .own = own, .extras = extras, .n_extras = n_extras, .arena = arena};
    int rc = look_at_own(&m);
    if (!rc)
        rc = look_at_lent(&m, max_bytes);
    if (rc)
        return rc;
    size_t added = 0;
    for (size_t i = 0; i < n_extras; i++)
        added += m.has_value[i] ? 0 : strlen(extras[i].name) + extras[i].json.n + 4;
    if (!m.lent && !added)
        return TG_OK;
    /* A member of the envelope that gives way does so to an extra, which then counts as added. */
    if (!m.own_members && !added) {
        *merged = o->object;
        return o->object.n > max_bytes ? TG_TOOBIG : TG_OK;
    }
    return compose(&m, added, max_bytes, merged);
}
