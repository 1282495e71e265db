#include "ingest/pixel.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"

struct parameter {
    size_t name, name_len, value, value_len; /* in the buffer of decoded text: it moves while it grows */
};

struct parameters {
    struct tg_buf text;
    size_t n;
    struct parameter list[TG_PIXEL_MAX_PARAMETERS];
};

static struct tg_str name_of(const struct parameters *ps, size_t i)
{
    return tg_str_n(ps->text.data + ps->list[i].name, ps->list[i].name_len);
}

static struct tg_str value_of(const struct parameters *ps, size_t i)
{
    return tg_str_n(ps->text.data + ps->list[i].value, ps->list[i].value_len);
}

static int read_parameters(struct parameters *ps, struct tg_str query)
{
    struct tg_form_walk w = tg_form_walk(query);
    while (tg_form_next(&w)) {
        if (w.name.n == 0)
            continue;
        if (ps->n == TG_PIXEL_MAX_PARAMETERS)
            return TG_TOOBIG;
        struct parameter *p = &ps->list[ps->n];
        p->name = ps->text.len;
        int rc = tg_url_decode(&ps->text, w.name, true);
        p->name_len = ps->text.len - p->name;
        p->value = ps->text.len;
        if (!rc)
            rc = tg_url_decode(&ps->text, w.value, true);
        p->value_len = ps->text.len - p->value;
        if (rc)
            return rc;
        ps->n++;
    }
    return ps->n ? TG_OK : TG_INVALID;
}

/* The part of parameter i's name between the prefix and the next dot; *leaf: there is none. */
static struct tg_str step_of(const struct parameters *ps, size_t i, size_t prefix, unsigned depth, bool *leaf)
{
    struct tg_str name = name_of(ps, i);
    struct tg_str rest = tg_str_n(name.p + prefix, name.n - prefix);
    const char *dot = depth + 1 < TG_PIXEL_MAX_DEPTH && rest.n ? memchr(rest.p, '.', rest.n) : NULL;
    *leaf = !dot;
    return dot ? tg_str_n(rest.p, (size_t)(dot - rest.p)) : rest;
}

/* Whether parameter i belongs to the object that parameter `first` opened: equal up to the prefix. */
static bool within(const struct parameters *ps, size_t i, size_t first, size_t prefix)
{
    struct tg_str a = name_of(ps, i), b = name_of(ps, first);
    return a.n >= prefix && (prefix == 0 || memcmp(a.p, b.p, prefix) == 0);
}

/* Whether a member of this name was written for an earlier parameter of the object. */
static bool written(const struct parameters *ps, size_t i, size_t first, size_t prefix, unsigned depth)
{
    bool leaf;
    struct tg_str step = step_of(ps, i, prefix, depth, &leaf);
    for (size_t k = first; k < i; k++) {
        if (within(ps, k, first, prefix) && tg_str_eq(step_of(ps, k, prefix, depth, &leaf), step))
            return true;
    }
    return false;
}

/* The object of all parameters that share the first `prefix` bytes of parameter `first`. Recursion ends at
 * the depth limit. */
static int write_object(struct tg_buf *out, const struct parameters *ps, size_t first, size_t prefix,
                        unsigned depth)
{
    int rc = tg_buf_addc(out, '{');
    bool comma = false;
    for (size_t i = first; !rc && i < ps->n; i++) {
        if (!within(ps, i, first, prefix) || written(ps, i, first, prefix, depth))
            continue;
        bool leaf;
        struct tg_str step = step_of(ps, i, prefix, depth, &leaf);
        rc = comma ? tg_buf_addc(out, ',') : TG_OK;
        comma = true;
        if (!rc)
            rc = tg_json_quote(out, step);
        if (!rc)
            rc = tg_buf_addc(out, ':');
        if (!rc)
            rc = leaf ? tg_json_quote(out, value_of(ps, i))
                      : write_object(out, ps, i, prefix + step.n + 1, depth + 1);
    }
    return rc ? rc : tg_buf_addc(out, '}');
}

static int flat_event(struct tg_buf *out, struct tg_str query)
{
    struct parameters *ps = tg_calloc(1, sizeof *ps);
    if (!ps)
        return TG_NOMEM;
    tg_buf_init(&ps->text, query.n);
    int rc = read_parameters(ps, query);
    if (!rc)
        rc = write_object(out, ps, 0, 0, 0);
    tg_buf_fini(&ps->text);
    tg_free(ps);
    return rc;
}

/* '+' may be base64's own, unescaped: it is not a space here. */
static int data_event(struct tg_buf *out, struct tg_str data)
{
    struct tg_buf text = TG_BUF_INIT(data.n);
    int rc = tg_url_decode(&text, data, false);
    if (!rc)
        rc = tg_unbase64(out, tg_buf_str(&text));
    tg_buf_fini(&text);
    return rc;
}

int tg_pixel_event(struct tg_buf *out, struct tg_str query)
{
    struct tg_form_walk w = tg_form_walk(query);
    while (tg_form_next(&w)) {
        if (tg_str_is(w.name, "data"))
            return data_event(out, w.value);
    }
    return flat_event(out, query);
}
