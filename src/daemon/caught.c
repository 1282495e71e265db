/* How a caught request is shown. */
#include "base/json.h"
#include "base/time.h"
#include "base/url.h"
#include "daemon/catcher.h"

enum { TARGET_MAX = 1024 * 1024 };

static int newline(struct tg_buf *out, unsigned depth)
{
    int rc = tg_buf_addc(out, '\n');
    for (unsigned i = 0; !rc && i < depth; i++)
        rc = tg_buf_adds(out, "  ");
    return rc;
}

/* Depth is bounded by the validation before. */
static int add_pretty(struct tg_buf *out, struct tg_str value, unsigned depth)
{
    enum tg_json_type type = tg_json_type(value);
    if (type != TG_JSON_OBJECT && type != TG_JSON_ARRAY)
        return tg_buf_addstr(out, value);
    int rc = tg_buf_addc(out, type == TG_JSON_OBJECT ? '{' : '[');
    struct tg_json_walk w = tg_json_walk(value);
    bool any = false;
    while (!rc && tg_json_next(&w)) {
        if (any)
            rc = tg_buf_addc(out, ',');
        any = true;
        if (!rc)
            rc = newline(out, depth + 1);
        if (!rc && w.key.n)
            rc = tg_buf_printf(out, "%.*s: ", TG_STR_ARG(w.key));
        if (!rc)
            rc = add_pretty(out, w.value, depth + 1);
    }
    if (!rc && any)
        rc = newline(out, depth);
    return rc ? rc : tg_buf_addc(out, type == TG_JSON_OBJECT ? '}' : ']');
}

static int add_form(struct tg_buf *out, struct tg_str form)
{
    struct tg_form_walk w = tg_form_walk(form);
    int rc = TG_OK;
    while (!rc && tg_form_next(&w)) {
        rc = tg_url_decode(out, w.name, true);
        if (!rc)
            rc = tg_buf_adds(out, " = ");
        if (!rc)
            rc = tg_url_decode(out, w.value, true);
        if (!rc)
            rc = tg_buf_addc(out, '\n');
    }
    return rc;
}

static int add_decoded(struct tg_buf *out, struct tg_str form)
{
    int rc = tg_buf_addstr(out, form);
    if (!rc)
        rc = tg_buf_adds(out, "\n\n(the form, decoded)\n");
    return rc ? rc : add_form(out, form);
}

static int add_body(struct tg_buf *out, const struct tg_caught *c)
{
    struct tg_str value;
    int rc;
    if (c->body.n == 0)
        return TG_OK;
    if (tg_json_validate(c->body, TG_JSON_MAX_DEPTH, &value, NULL) == TG_OK)
        rc = add_pretty(out, value, 0);
    else if (tg_str_starts(tg_http_header(c->msg, "Content-Type"), "application/x-www-form-urlencoded"))
        rc = add_decoded(out, c->body);
    else
        rc = tg_buf_addstr(out, c->body);
    if (!rc && out->data[out->len - 1] != '\n')
        rc = tg_buf_addc(out, '\n');
    return rc;
}

static int add_target(struct tg_buf *out, const struct tg_http_msg *m)
{
    int rc = tg_buf_addstr(out, m->path);
    return rc || !m->query.p ? rc : tg_buf_printf(out, "?%.*s", TG_STR_ARG(m->query));
}

int tg_caught_print(const struct tg_caught *c, struct tg_buf *out)
{
    const struct tg_http_msg *m = c->msg;
    int rc = tg_buf_printf(out, "%s http://%.*s", m->method_name, TG_STR_ARG(tg_http_header(m, "Host")));
    if (!rc)
        rc = add_target(out, m);
    if (!rc)
        rc = tg_buf_addc(out, '\n');
    for (size_t i = 0; !rc && i < m->n_headers; i++)
        rc = tg_buf_printf(out, "%.*s: %.*s\n", TG_STR_ARG(m->headers[i].name),
                           TG_STR_ARG(m->headers[i].value));
    if (!rc && m->query.p)
        rc = tg_buf_adds(out, "\n(the query, decoded)\n");
    if (!rc && m->query.p)
        rc = add_form(out, m->query);
    if (!rc && c->body.n)
        rc = tg_buf_addc(out, '\n');
    return rc ? rc : add_body(out, c);
}

static int add_member(struct tg_buf *out, const char *name, struct tg_str value)
{
    int rc = tg_buf_printf(out, ",\"%s\":", name);
    return rc ? rc : tg_json_quote(out, value);
}

int tg_caught_json(const struct tg_caught *c, struct tg_buf *out)
{
    const struct tg_http_msg *m = c->msg;
    struct tg_buf target = TG_BUF_INIT(TARGET_MAX);
    char at[TG_TIME_LEN + 1];
    tg_time_format(c->at, at);
    int rc = tg_buf_printf(out, "{\"number\":%u,\"at\":\"%s\"", c->number, at);
    if (!rc)
        rc = add_member(out, "method", tg_str_of(m->method_name));
    if (!rc)
        rc = add_member(out, "host", tg_http_header(m, "Host"));
    if (!rc)
        rc = add_target(&target, m);
    if (!rc)
        rc = add_member(out, "target", tg_buf_str(&target));
    if (!rc)
        rc = tg_buf_adds(out, ",\"headers\":{");
    for (size_t i = 0; !rc && i < m->n_headers; i++) {
        rc = i ? tg_buf_addc(out, ',') : TG_OK;
        if (!rc)
            rc = tg_json_quote(out, m->headers[i].name);
        if (!rc)
            rc = tg_buf_addc(out, ':');
        if (!rc)
            rc = tg_json_quote(out, m->headers[i].value);
    }
    if (!rc)
        rc = tg_buf_addc(out, '}');
    if (!rc)
        rc = add_member(out, "body", c->body);
    tg_buf_fini(&target);
    return rc ? rc : tg_buf_printf(out, ",\"status\":%d}", c->status);
}
