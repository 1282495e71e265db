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

/* Cuts the first line off; false when nothing is left. A text that ends in a line feed has no line after it.
 */
static bool next_line(struct tg_str *text, struct tg_str *line)
{
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    *line = end ? tg_str_n(text->p, (size_t)(end - text->p)) : *text;
    bool any = text->n > 0;
    *text = end ? tg_str_n(end + 1, text->n - line->n - 1) : TG_STR("");
    return any;
}

/* One line of two texts; JSON of one line a value (NDJSON) as what it is, unless only its writing differs. */
static void compare_line(struct diff *d, struct tg_str want, struct tg_str got)
{
    struct tg_str a, b;
    unsigned before = d->n;
    if (!tg_json_validate(want, TG_JSON_MAX_DEPTH, &a, NULL) &&
        !tg_json_validate(got, TG_JSON_MAX_DEPTH, &b, NULL) && tg_json_type(a) == TG_JSON_OBJECT)
        compare(d, a, b);
    if (d->n == before)
        add(d, "expected %.*s, got %.*s", want, got);
}

static void compare_texts(struct diff *d, struct tg_str want, struct tg_str got)
{
    struct tg_str a, b;
    unsigned before = d->n;
    for (unsigned i = 1;; i++) {
        bool more_a = next_line(&want, &a), more_b = next_line(&got, &b);
        if (!more_a && !more_b)
            break;
        size_t back = strlen(d->path);
        (void)snprintf(d->path + back, PATH_SIZE - back, "%sline %u", back ? " " : "", i);
        if (!more_b)
            add(d, "expected %.*s, got nothing%.*s", a, TG_STR(""));
        else if (!more_a)
            add(d, "got %.*s, which is not expected%.*s", b, TG_STR(""));
        else if (!tg_str_eq(a, b))
            compare_line(d, a, b);
        d->path[back] = '\0';
    }
    if (d->n == before)
        add(d, "only one of the two ends in a line feed%.*s%.*s", TG_STR(""), TG_STR(""));
}

static bool has_lines(struct tg_str text)
{
    return text.n && memchr(text.p, '\n', text.n);
}

/* Two strings that differ: texts of several lines line by line, others as they are. */
static void compare_strings(struct diff *d, struct tg_str want, struct tg_str got)
{
    struct tg_buf x = TG_BUF_INIT(64 << 20), y = TG_BUF_INIT(64 << 20);
    bool lines = !tg_json_text(want, &x) && !tg_json_text(got, &y) &&
                 (has_lines(tg_buf_str(&x)) || has_lines(tg_buf_str(&y)));
    if (lines)
        compare_texts(d, tg_buf_str(&x), tg_buf_str(&y));
    else
        add(d, "expected %.*s, got %.*s", want, got);
    tg_buf_fini(&x);
    tg_buf_fini(&y);
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
    if (same && type == TG_JSON_STRING) {
        if (!same_text(want, got))
            compare_strings(d, want, got);
        return;
    }
    if (same && type == TG_JSON_NUMBER)
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
