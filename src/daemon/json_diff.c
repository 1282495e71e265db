#include "daemon/json_diff.h"

#include "base/json.h"

#include <stdio.h>

enum { PATH_SIZE = 512, SHOWN = 300 };

struct diff {
    struct tg_buf *out;
    unsigned n, most;
    char path[PATH_SIZE];
};

static void add(struct diff *d, const char *format, struct tg_str a, struct tg_str b)
{
    if (d->n++ >= d->most)
        return;
    char text[2 * SHOWN + 100];
    if (a.n > SHOWN)
        a.n = SHOWN;
    if (b.n > SHOWN)
        b.n = SHOWN;
    (void)snprintf(text, sizeof text, format, (int)a.n, a.n ? a.p : "", (int)b.n, b.n ? b.p : "");
    if (tg_buf_printf(d->out, "      %s%s%s\n", d->path, *d->path ? ": " : "", text))
        d->most = 0; /* full: the count says the rest */
}

static bool same_text(struct tg_str a, struct tg_str b)
{
    struct tg_buf x = TG_BUF_INIT(64 << 20), y = TG_BUF_INIT(64 << 20);
    bool same = !tg_json_text(a, &x) && !tg_json_text(b, &y) && tg_str_eq(tg_buf_str(&x), tg_buf_str(&y));
    tg_buf_fini(&x);
    tg_buf_fini(&y);
    return same;
}

static bool same_number(struct tg_str a, struct tg_str b)
{
    double x, y;
    return tg_str_eq(a, b) || (tg_json_exact(a, &x) && tg_json_exact(b, &y) && x == y);
}

static bool is_empty(struct tg_str v)
{
    if (tg_json_type(v) != TG_JSON_ARRAY && tg_json_type(v) != TG_JSON_OBJECT)
        return false;
    struct tg_json_walk w = tg_json_walk(v);
    return !tg_json_next(&w);
}

static void compare(struct diff *d, struct tg_str want, struct tg_str got);

/* Goes into a step of the path; the caller cuts the path back to the length returned. */
static size_t enter_name(struct diff *d, struct tg_str key)
{
    size_t n = strlen(d->path);
    (void)snprintf(d->path + n, PATH_SIZE - n, "%s%.*s", n ? "." : "", (int)key.n - 2, key.p + 1);
    return n;
}

static size_t enter_index(struct diff *d, unsigned index)
{
    size_t n = strlen(d->path);
    (void)snprintf(d->path + n, PATH_SIZE - n, "[%u]", index);
    return n;
}

/* The member with this key (with quotes). */
static struct tg_str member(struct tg_str object, struct tg_str key)
{
    struct tg_str found = {NULL, 0};
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w))
        if (tg_str_eq(w.key, key) || same_text(w.key, key))
            found = w.value;
    return found;
}

static void compare_objects(struct diff *d, struct tg_str want, struct tg_str got)
{
    struct tg_json_walk w = tg_json_walk(want);
    while (tg_json_next(&w)) {
        size_t back = enter_name(d, w.key);
        struct tg_str other = member(got, w.key);
        if (other.n)
            compare(d, w.value, other);
        else
            add(d, "expected %.*s, got nothing%.*s", w.value, TG_STR(""));
        d->path[back] = '\0';
    }
    w = tg_json_walk(got);
    while (tg_json_next(&w)) {
        if (member(want, w.key).n)
            continue;
        size_t back = enter_name(d, w.key);
        add(d, "got %.*s, which is not expected%.*s", w.value, TG_STR(""));
        d->path[back] = '\0';
    }
}

static void compare_arrays(struct diff *d, struct tg_str want, struct tg_str got)
{
    struct tg_json_walk a = tg_json_walk(want), b = tg_json_walk(got);
    for (unsigned i = 1;; i++) {
        bool more_a = tg_json_next(&a), more_b = tg_json_next(&b);
        if (!more_a && !more_b)
            return;
        size_t back = enter_index(d, i);
        if (!more_b)
            add(d, "expected %.*s, got nothing%.*s", a.value, TG_STR(""));
        else if (!more_a)
            add(d, "got %.*s, which is not expected%.*s", b.value, TG_STR(""));
        else
            compare(d, a.value, b.value);
        d->path[back] = '\0';
    }
}

static void compare(struct diff *d, struct tg_str want, struct tg_str got)
{
    enum tg_json_type type = tg_json_type(want);
    bool same = type == tg_json_type(got);
    if (is_empty(want) && is_empty(got))
        return;
    if (same && type == TG_JSON_OBJECT) {
        compare_objects(d, want, got);
        return;
    }
    if (same && type == TG_JSON_ARRAY) {
        compare_arrays(d, want, got);
        return;
    }
    if (same && type == TG_JSON_STRING)
        same = same_text(want, got);
    else if (same && type == TG_JSON_NUMBER)
        same = same_number(want, got);
    else if (same)
        same = tg_str_eq(want, got);
    if (!same)
        add(d, "expected %.*s, got %.*s", want, got);
}

unsigned tg_json_diff(struct tg_str expected, struct tg_str got, unsigned most, struct tg_buf *out)
{
    struct diff d = {.out = out, .most = most};
    compare(&d, expected, got);
    return d.n;
}
