#include "daemon/request_lines.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"

#include <stdlib.h>

enum { TEXT_MAX = 64 << 20, LINES_MAX = 2000, PATH_MAX_BYTES = 2048 };

/* --- lines --- */

static bool next_line(struct tg_str *text, struct tg_str *line)
{
    if (!text->n)
        return false;
    const char *end = memchr(text->p, '\n', text->n);
    line->p = text->p;
    line->n = end ? (size_t)(end - text->p) : text->n;
    size_t step = line->n + (end ? 1 : 0);
    text->p += step;
    text->n -= step;
    return true;
}

static size_t count_lines(struct tg_str text)
{
    struct tg_str line;
    size_t n = 0;
    while (next_line(&text, &line))
        n++;
    return n;
}

static struct tg_str *split_lines(struct tg_str text, size_t *n)
{
    *n = count_lines(text);
    struct tg_str *lines = tg_calloc(*n ? *n : 1, sizeof *lines);
    for (size_t i = 0; lines && next_line(&text, &lines[i]); i++)
        ;
    return lines;
}

static int by_text(const void *a, const void *b)
{
    const struct tg_str *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* Sorts the lines behind `from`. */
static int sort_lines(struct tg_buf *out, size_t from)
{
    struct tg_buf copy = TG_BUF_INIT(TEXT_MAX);
    size_t n = 0;
    int rc = tg_buf_add(&copy, out->data + from, out->len - from);
    struct tg_str *lines = rc ? NULL : split_lines(tg_buf_str(&copy), &n);
    if (!rc && !lines)
        rc = TG_NOMEM;
    if (!rc && n)
        qsort(lines, n, sizeof *lines, by_text);
    if (!rc)
        out->len = from;
    for (size_t i = 0; i < n && !rc; i++) {
        rc = tg_buf_addstr(out, lines[i]);
        if (!rc)
            rc = tg_buf_addc(out, '\n');
    }
    tg_free(lines);
    tg_buf_fini(&copy);
    return rc;
}

/* Line feeds within a value would look like lines. */
static int add_value(struct tg_buf *out, struct tg_str text)
{
    size_t from = out->len;
    int rc = tg_buf_addstr(out, text);
    for (size_t i = from; i < out->len; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    return rc ? rc : tg_buf_addc(out, '\n');
}

static int add_pair(struct tg_buf *out, const char *kind, struct tg_str name, struct tg_str value)
{
    int rc = tg_buf_printf(out, "%s %.*s = ", kind, TG_STR_ARG(name));
    return rc ? rc : add_value(out, value);
}

/* --- JSON bodies --- */

static int add_json(struct tg_buf *out, struct tg_buf *path, struct tg_str value)
{
    enum tg_json_type type = tg_json_type(value);
    bool empty = true;
    int rc = TG_OK;
    if (type == TG_JSON_OBJECT || type == TG_JSON_ARRAY) {
        struct tg_json_walk w = tg_json_walk(value);
        size_t back = path->len;
        for (unsigned i = 1; !rc && tg_json_next(&w); i++) {
            empty = false;
            if (type == TG_JSON_ARRAY)
                rc = tg_buf_printf(path, "[%u]", i);
            else
                rc = tg_buf_printf(path, "%s%.*s", path->len ? "." : "", (int)w.key.n - 2, w.key.p + 1);
            if (!rc)
                rc = add_json(out, path, w.value);
            path->len = back;
        }
    }
    if (!empty)
        return rc;
    rc = tg_buf_printf(out, "json %.*s%s", TG_STR_ARG(tg_buf_str(path)), path->len ? " = " : "");
    return rc ? rc : add_value(out, value);
}

static int add_json_body(struct tg_buf *out, struct tg_str value)
{
    struct tg_buf path = TG_BUF_INIT((size_t)PATH_MAX_BYTES * TG_JSON_MAX_DEPTH);
    size_t from = out->len;
    int rc = add_json(out, &path, value);
    tg_buf_fini(&path);
    /* Members have no order; arrays keep theirs, because their numbers are part of the line. */
    return rc ? rc : sort_lines(out, from);
}

/* --- of a dead letter --- */

static int add_form(struct tg_buf *out, const char *kind, struct tg_str text)
{
    struct tg_buf name = TG_BUF_INIT(TEXT_MAX), value = TG_BUF_INIT(TEXT_MAX);
    struct tg_form_walk w = tg_form_walk(text);
    size_t from = out->len;
    int rc = TG_OK;
    while (!rc && tg_form_next(&w)) {
        tg_buf_clear(&name);
        tg_buf_clear(&value);
        rc = tg_url_decode(&name, w.name, true);
        if (!rc)
            rc = tg_url_decode(&value, w.value, true);
        if (!rc)
            rc = add_pair(out, kind, tg_buf_str(&name), tg_buf_str(&value));
    }
    tg_buf_fini(&name);
    tg_buf_fini(&value);
    return rc ? rc : sort_lines(out, from);
}

static int add_body(struct tg_buf *out, struct tg_str body, bool form)
{
    struct tg_str value;
    if (form)
        return add_form(out, "form", body);
    if (tg_json_validate(body, TG_JSON_MAX_DEPTH, &value, NULL) == TG_OK)
        return add_json_body(out, value);
    int rc = TG_OK;
    while (!rc && next_line(&body, &value)) {
        rc = tg_buf_adds(out, "body ");
        if (!rc)
            rc = add_value(out, value);
    }
    return rc;
}

static bool starts(struct tg_str text, const char *with)
{
    size_t n = strlen(with);
    return text.n >= n && strncasecmp(text.p, with, n) == 0;
}

int tg_request_lines_of_text(struct tg_str text, struct tg_buf *out)
{
    struct tg_str line, url = {0};
    bool form = false;
    if (starts(text, "# ")) /* its place in a batch */
        (void)next_line(&text, &line);
    if (!next_line(&text, &line))
        return TG_OK;
    const char *mark = memchr(line.p, '?', line.n);
    if (mark) {
        url = tg_str_n(mark + 1, line.n - (size_t)(mark + 1 - line.p));
        line.n = (size_t)(mark - line.p);
    }
    int rc = add_value(out, line);
    size_t from = out->len;
    while (!rc && next_line(&text, &line) && line.n) {
        form = form || starts(line, "content-type: application/x-www-form-urlencoded");
        rc = tg_buf_adds(out, "header ");
        if (!rc)
            rc = add_value(out, line);
    }
    if (!rc)
        rc = sort_lines(out, from);
    if (!rc && mark)
        rc = add_form(out, "query", url);
    return rc || !text.n ? rc : add_body(out, text, form);
}

/* --- of what tg_render shows ------------------------------------------------------------------------------
 */

static int add_text(struct tg_buf *out, struct tg_str string)
{
    struct tg_buf text = TG_BUF_INIT(TEXT_MAX);
    int rc =
        tg_json_type(string) == TG_JSON_STRING ? tg_json_text(string, &text) : tg_buf_addstr(&text, string);
    if (!rc)
        rc = tg_buf_addstr(out, tg_buf_str(&text));
    tg_buf_fini(&text);
    return rc;
}

static int add_member(struct tg_buf *out, const char *kind, const char *sign, struct tg_str key,
                      struct tg_str value)
{
    struct tg_buf text = TG_BUF_INIT(TEXT_MAX);
    int rc = tg_buf_printf(out, "%s ", kind);
    if (!rc)
        rc = add_text(out, key);
    if (!rc)
        rc = tg_buf_adds(out, sign);
    if (!rc)
        rc = add_text(&text, value);
    if (!rc)
        rc = add_value(out, tg_buf_str(&text));
    tg_buf_fini(&text);
    return rc;
}

/* {"a":"1","b":["1","2"]} */
static int add_members(struct tg_buf *out, const char *kind, const char *sign, struct tg_str object)
{
    size_t from = out->len;
    int rc = TG_OK;
    if (!object.n)
        return TG_OK;
    struct tg_json_walk w = tg_json_walk(object);
    while (!rc && tg_json_next(&w)) {
        if (tg_json_type(w.value) != TG_JSON_ARRAY) {
            rc = add_member(out, kind, sign, w.key, w.value);
            continue;
        }
        struct tg_json_walk items = tg_json_walk(w.value);
        while (!rc && tg_json_next(&items))
            rc = add_member(out, kind, sign, w.key, items.value);
    }
    return rc ? rc : sort_lines(out, from);
}

static int add_rendered_body(struct tg_buf *out, struct tg_str request)
{
    struct tg_str json = tg_json_get(request, "json"), raw = tg_json_get(request, "body"),
                  bytes = tg_json_get(request, "body64");
    struct tg_buf text = TG_BUF_INIT(TEXT_MAX);
    int rc = TG_OK;
    if (json.n && tg_json_type(json) != TG_JSON_STRING)
        return add_json_body(out, json);
    if (bytes.n)
        rc = tg_buf_printf(out, "body (base64) %.*s\n", TG_STR_ARG(bytes));
    else if (json.n || raw.n)
        rc = add_text(&text, json.n ? json : raw);
    if (!rc && text.len)
        rc = add_body(out, tg_buf_str(&text), false);
    tg_buf_fini(&text);
    return rc;
}

int tg_request_lines_of_json(struct tg_str request, struct tg_buf *out)
{
    int rc = add_text(out, tg_json_get(request, "method"));
    if (!rc)
        rc = tg_buf_addc(out, ' ');
    if (!rc)
        rc = add_text(out, tg_json_get(request, "url"));
    if (!rc)
        rc = tg_buf_addc(out, '\n');
    if (!rc)
        rc = add_members(out, "header", ": ", tg_json_get(request, "headers"));
    if (!rc)
        rc = add_members(out, "query", " = ", tg_json_get(request, "query"));
    if (!rc)
        rc = add_members(out, "form", " = ", tg_json_get(request, "form"));
    return rc ? rc : add_rendered_body(out, request);
}

/* --- what changes ----------------------------------------------------------------------------------------
 */

struct diff {
    struct tg_str *a, *b;
    size_t n, m;
    unsigned short *common; /* longest common rest from (i, j): (n + 1) * (m + 1); NULL: nothing is common */
    struct tg_buf *out;
};

static unsigned short *rest(const struct diff *d, size_t i, size_t j)
{
    return &d->common[i * (d->m + 1) + j];
}

static void measure(struct diff *d)
{
    for (size_t i = d->n; i-- > 0;)
        for (size_t j = d->m; j-- > 0;) {
            unsigned short down = *rest(d, i + 1, j), right = *rest(d, i, j + 1);
            if (tg_str_eq(d->a[i], d->b[j]))
                *rest(d, i, j) = (unsigned short)(*rest(d, i + 1, j + 1) + 1);
            else
                *rest(d, i, j) = down > right ? down : right;
        }
}

static int add_line(struct diff *d, const char *sign, struct tg_str line)
{
    int rc = tg_buf_adds(d->out, sign);
    return rc ? rc : add_value(d->out, line);
}

static int print_diff(struct diff *d)
{
    size_t i = 0, j = 0;
    int rc = TG_OK;
    while (!rc && (i < d->n || j < d->m)) {
        bool both = d->common && i < d->n && j < d->m;
        if (both && tg_str_eq(d->a[i], d->b[j])) {
            rc = add_line(d, "  ", d->a[i++]);
            j++;
        } else if (i < d->n && (!both || *rest(d, i + 1, j) >= *rest(d, i, j + 1))) {
            rc = add_line(d, "- ", d->a[i++]);
        } else {
            rc = add_line(d, "+ ", d->b[j++]);
        }
    }
    return rc;
}

int tg_line_diff(struct tg_str before, struct tg_str after, struct tg_buf *out)
{
    struct diff d = {.out = out};
    d.a = split_lines(before, &d.n);
    d.b = split_lines(after, &d.m);
    bool compared = d.n <= LINES_MAX && d.m <= LINES_MAX;
    if (compared)
        d.common = tg_calloc((d.n + 1) * (d.m + 1), sizeof *d.common);
    int rc = d.a && d.b && (d.common || !compared) ? TG_OK : TG_NOMEM;
    if (!rc && compared)
        measure(&d);
    if (!rc)
        rc = print_diff(&d);
    tg_free(d.common);
    tg_free(d.a);
    tg_free(d.b);
    return rc;
}
