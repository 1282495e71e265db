/* The text is not parsed as Lua is: strings and comments are stepped over, brackets are counted, and the
 * field `expect` of the outermost table is found. That is enough, because the file has been read as a fixture
 * before. */
#include "daemon/fixture_edit.h"

#include "base/json.h"

#include <ctype.h>
#include <string.h>

enum { WIDTH = 110, JSON_MAX = 64 << 20 };

/* --- JSON as Lua --- */

struct writer {
    struct tg_buf *out;
    struct tg_err *err;
};

static int quote(struct tg_buf *out, struct tg_str text)
{
    int rc = tg_buf_addc(out, '"');
    for (size_t i = 0; !rc && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\')
            rc = tg_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            rc = tg_buf_adds(out, "\\n");
        else if (c < 32 || c == 127)
            rc = tg_buf_printf(out, "\\%03u", c);
        else
            rc = tg_buf_addc(out, (char)c);
    }
    return rc ? rc : tg_buf_addc(out, '"');
}

static bool is_name(struct tg_str s)
{
    static const char *const words[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (tg_str_is(s, words[i]))
            return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_' && !isalpha((unsigned char)s.p[i]) && (i == 0 || !isdigit((unsigned char)s.p[i])))
            return false;
    return s.n > 0;
}

static int put_key(struct writer *w, struct tg_str json)
{
    struct tg_buf text = TG_BUF_INIT(JSON_MAX);
    int rc = tg_json_text(json, &text);
    bool name = !rc && is_name(tg_buf_str(&text));
    if (name)
        rc = tg_buf_addstr(w->out, tg_buf_str(&text));
    else if (!rc)
        rc = tg_buf_addc(w->out, '[');
    if (!rc && !name)
        rc = quote(w->out, tg_buf_str(&text));
    if (!rc && !name)
        rc = tg_buf_addc(w->out, ']');
    tg_buf_fini(&text);
    return rc;
}

/* A text of several lines, one a line: "a\n" .. "b\n". It does not go into one line (TG_TOOBIG). */
static int put_lines(struct writer *w, struct tg_str text, int indent)
{
    int rc = indent < 0 ? TG_TOOBIG : TG_OK;
    for (bool first = true; !rc && text.n; first = false) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) + 1 : text.n;
        if (!first)
            rc = tg_buf_printf(w->out, "\n%*s.. ", indent + 2, "");
        if (!rc)
            rc = quote(w->out, tg_str_n(text.p, n));
        text = tg_str_n(text.p + n, text.n - n);
    }
    return rc;
}

static int put_string(struct writer *w, struct tg_str json, int indent)
{
    struct tg_buf text = TG_BUF_INIT(JSON_MAX);
    int rc = tg_json_text(json, &text);
    const char *end = rc || !text.len ? NULL : memchr(text.data, '\n', text.len);
    bool lines = end && end + 1 < text.data + text.len;
    if (!rc)
        rc = lines ? put_lines(w, tg_buf_str(&text), indent) : quote(w->out, tg_buf_str(&text));
    tg_buf_fini(&text);
    return rc;
}

static int put_value(struct writer *w, struct tg_str json, int indent);

/* indent < 0: all in one line. */
static int put_table(struct writer *w, struct tg_str json, int indent)
{
    struct tg_json_walk walk = tg_json_walk(json);
    bool any = false;
    int rc = tg_buf_adds(w->out, "{"), deeper = indent < 0 ? indent : indent + 2;
    while (!rc && tg_json_next(&walk)) {
        if (indent < 0)
            rc = tg_buf_adds(w->out, any ? ", " : " ");
        else
            rc = tg_buf_printf(w->out, "\n%*s", deeper, "");
        if (!rc && walk.key.n)
            rc = put_key(w, walk.key);
        if (!rc && walk.key.n)
            rc = tg_buf_adds(w->out, " = ");
        if (!rc)
            rc = put_value(w, walk.value, deeper);
        if (!rc && indent >= 0)
            rc = tg_buf_addc(w->out, ',');
        any = true;
    }
    if (!rc && any && indent < 0)
        rc = tg_buf_addc(w->out, ' ');
    else if (!rc && any)
        rc = tg_buf_printf(w->out, "\n%*s", indent, "");
    return rc ? rc : tg_buf_addc(w->out, '}');
}

/* In one line where that is short. */
static int put_container(struct writer *w, struct tg_str json, int indent)
{
    struct tg_buf *out = w->out, line = TG_BUF_INIT(WIDTH);
    if (indent < 0)
        return put_table(w, json, indent);
    w->out = &line;
    int rc = put_table(w, json, -1);
    w->out = out;
    if (!rc && line.len + (size_t)indent <= WIDTH - 30)
        rc = tg_buf_addstr(out, tg_buf_str(&line));
    else if (!rc || rc == TG_TOOBIG)
        rc = put_table(w, json, indent);
    tg_buf_fini(&line);
    return rc;
}

static int put_value(struct writer *w, struct tg_str json, int indent)
{
    switch (tg_json_type(json)) {
    case TG_JSON_NULL:
        return tg_fail(w->err, TG_INVALID, "the request holds null, which a fixture's table cannot say");
    case TG_JSON_STRING:
        return put_string(w, json, indent);
    case TG_JSON_ARRAY:
    case TG_JSON_OBJECT:
        return put_container(w, json, indent);
    default:
        return tg_buf_addstr(w->out, json);
    }
}

static int put_field(struct writer *w, const char *name, struct tg_str json)
{
    int rc = tg_buf_printf(w->out, "    %s = ", name);
    if (!rc)
        rc = put_value(w, json, 4);
    return rc ? rc : tg_buf_adds(w->out, ",\n");
}

/* "deliver", or { "reject", "reason", "message" }. */
static int put_outcome(struct writer *w, struct tg_str event)
{
    static const char *const parts[] = {"outcome", "reason", "message"};
    struct tg_str reason = tg_json_get(event, "reason");
    if (tg_json_type(reason) == TG_JSON_NULL)
        return put_value(w, tg_json_get(event, "outcome"), 4);
    int rc = tg_buf_adds(w->out, "{ ");
    for (int i = 0; i < 3 && !rc; i++) {
        struct tg_str part = tg_json_get(event, parts[i]);
        if (!part.n)
            continue;
        rc = i ? tg_buf_adds(w->out, ", ") : TG_OK;
        if (!rc)
            rc = put_value(w, part, -1);
    }
    return rc ? rc : tg_buf_adds(w->out, " }");
}

static int put_outcomes(struct writer *w, struct tg_str outcomes)
{
    struct tg_json_walk walk = tg_json_walk(outcomes);
    int rc = tg_buf_adds(w->out, "    outcomes = {\n");
    while (!rc && tg_json_next(&walk)) {
        rc = tg_buf_adds(w->out, "      ");
        if (!rc)
            rc = put_outcome(w, walk.value);
        if (!rc)
            rc = tg_buf_adds(w->out, ",\n");
    }
    return rc ? rc : tg_buf_adds(w->out, "    },\n");
}

static int put_expect(struct writer *w, struct tg_str got)
{
    struct tg_str reason = tg_json_get(got, "reason"), requests = tg_json_get(got, "requests");
    struct tg_json_walk walk = tg_json_walk(requests);
    struct tg_str outcomes = tg_json_get(got, "outcomes");
    int rc = tg_buf_adds(w->out, "{\n");
    if (!rc && outcomes.n)
        rc = put_outcomes(w, outcomes);
    else if (!rc)
        rc = put_field(w, "outcome", tg_json_get(got, "outcome"));
    if (!rc && reason.n && tg_json_type(reason) != TG_JSON_NULL)
        rc = put_field(w, "reason", reason);
    if (!rc && tg_json_next(&walk))
        rc = put_field(w, "requests", requests);
    return rc ? rc : tg_buf_adds(w->out, "  }");
}

/* --- the place in the text --- */

struct lexer {
    const char *at, *end;
};

/* [==[ … ]==] at p: behind it, or NULL. */
static const char *long_end(const char *p, const char *end)
{
    size_t level = 0;
    const char *q = p + 1;
    while (q < end && *q == '=')
        q++, level++;
    if (q >= end || *q != '[')
        return NULL;
    for (q++; q + level + 1 < end; q++) {
        size_t n = 1;
        while (*q == ']' && n <= level && q[n] == '=')
            n++;
        if (*q == ']' && n == level + 1 && q[n] == ']')
            return q + n + 1;
    }
    return end;
}

static const char *string_end(const char *p, const char *end)
{
    char mark = *p;
    for (p++; p < end && *p != mark; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static const char *comment_end(const char *p, const char *end)
{
    const char *q = p + 2 < end && p[2] == '[' ? long_end(p + 2, end) : NULL;
    if (q)
        return q;
    q = memchr(p, '\n', (size_t)(end - p));
    return q ? q + 1 : end;
}

/* The next token: a name as a whole, strings and other bytes too; comments and white space are passed over.
 */
static struct tg_str next_token(struct lexer *x)
{
    while (x->at < x->end) {
        const char *p = x->at, *q = NULL;
        if (isspace((unsigned char)*p)) {
            x->at++;
            continue;
        }
        if (*p == '-' && p + 1 < x->end && p[1] == '-') {
            x->at = comment_end(p, x->end);
            continue;
        }
        if (*p == '"' || *p == '\'')
            q = string_end(p, x->end);
        else if (*p == '[')
            q = long_end(p, x->end);
        else if (*p == '_' || isalnum((unsigned char)*p))
            for (q = p; q < x->end && (*q == '_' || *q == '.' || isalnum((unsigned char)*q));)
                q++;
        x->at = q ? q : p + 1;
        return tg_str_n(p, (size_t)(x->at - p));
    }
    return tg_str_n(NULL, 0);
}

struct place {
    const char *begin, *end; /* of the value of `expect`; equal: there is none */
    const char *close;       /* the closing bracket of the outermost table */
    const char *last;        /* behind the last token before it */
    bool comma;              /* that token ends a field, or opens the table */
};

static bool opens(struct tg_str t)
{
    return t.n == 1 && strchr("{([", *t.p);
}

static bool closes(struct tg_str t)
{
    return t.n == 1 && strchr("})]", *t.p);
}

/* Behind `expect =` at depth 1: up to the end of the field. */
static void take_value(struct lexer *x, struct place *place)
{
    int depth = 1;
    for (struct tg_str t = next_token(x); t.n; t = next_token(x)) {
        if (!place->begin)
            place->begin = t.p;
        if (depth == 1 && t.n == 1 && strchr(",;}", *t.p)) {
            x->at = t.p;
            return;
        }
        depth += opens(t) - closes(t);
        place->end = t.p + t.n;
    }
}

static bool find_place(struct tg_str source, struct place *place)
{
    struct lexer x = {source.p, source.p + source.n};
    struct tg_str before = {NULL, 0};
    int depth = 0;
    *place = (struct place){0};
    for (struct tg_str t = next_token(&x); t.n; t = next_token(&x)) {
        if (depth == 1 && tg_str_is(before, "expect") && tg_str_is(t, "=") && !place->begin) {
            take_value(&x, place);
            before = tg_str_n(place->begin, (size_t)(place->end - place->begin));
            continue;
        }
        depth += opens(t) - closes(t);
        if (depth == 0 && tg_str_is(t, "}")) {
            place->close = t.p;
            place->last = before.p ? before.p + before.n : t.p;
            place->comma = before.n == 1 && strchr("{,;", *before.p);
        }
        before = t;
    }
    return place->close && (!place->begin || place->end > place->begin);
}

int tg_fixture_edit(struct tg_str source, struct tg_str got, struct tg_buf *out, struct tg_err *err)
{
    struct place place;
    struct tg_err own = {0, ""};
    struct writer w = {out, &own};
    size_t before = out->len;
    if (!source.n || !find_place(source, &place))
        return tg_fail(err, TG_INVALID, "no table { event, expect, … } is found in it");
    const char *upto = place.begin ? place.begin : place.last, *rest = place.begin ? place.end : place.last;
    int rc = tg_buf_add(out, source.p, (size_t)(upto - source.p));
    if (!rc && !place.begin)
        rc = tg_buf_adds(out, place.comma ? "\n  expect = " : ",\n  expect = ");
    if (!rc)
        rc = put_expect(&w, got);
    if (!rc && !place.begin)
        rc = tg_buf_addc(out, ',');
    if (!rc)
        rc = tg_buf_add(out, rest, (size_t)(source.p + source.n - rest));
    if (rc)
        out->len = before;
    return rc ? tg_fail(err, rc, "%s", own.code ? own.msg : tg_code_text(rc)) : TG_OK;
}
