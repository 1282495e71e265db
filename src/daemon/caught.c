/* How a caught request is shown. */
#include "base/json.h"
#include "base/time.h"
#include "base/url.h"
#include "daemon/catcher.h"

#include <inttypes.h>

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

static const char *header(const struct tg_caught *c, const char *name)
{
    for (size_t i = 0; i < c->n_headers; i++) {
        if (strcasecmp(c->headers[i].name, name) == 0)
            return c->headers[i].value;
    }
    return "";
}

static int add_body(struct tg_buf *out, const struct tg_caught *c)
{
    struct tg_str value;
    int rc;
    if (c->body.n == 0)
        return TG_OK;
    if (tg_json_validate(c->body, TG_JSON_MAX_DEPTH, &value, NULL) == TG_OK)
        rc = add_pretty(out, value, 0);
    else if (tg_str_starts(tg_str_of(header(c, "Content-Type")), "application/x-www-form-urlencoded"))
        rc = add_decoded(out, c->body);
    else
        rc = tg_buf_addstr(out, c->body);
    if (!rc && out->data[out->len - 1] != '\n')
        rc = tg_buf_addc(out, '\n');
    return rc;
}

int tg_caught_print(const struct tg_caught *c, struct tg_buf *out)
{
    const char *query = strchr(c->target, '?');
    int rc = tg_buf_printf(out, "%s http://%s%s\n", c->method, c->host, c->target);
    for (size_t i = 0; !rc && i < c->n_headers; i++)
        rc = tg_buf_printf(out, "%s: %s\n", c->headers[i].name, c->headers[i].value);
    if (!rc && query)
        rc = tg_buf_adds(out, "\n(the query, decoded)\n");
    if (!rc && query)
        rc = add_form(out, tg_str_of(query + 1));
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
    char at[TG_TIME_LEN + 1];
    tg_time_format(c->at, at);
    int rc = tg_buf_printf(out, "{\"number\":%u,\"at\":\"%s\"", c->number, at);
    if (!rc)
        rc = add_member(out, "method", tg_str_of(c->method));
    if (!rc)
        rc = add_member(out, "host", tg_str_of(c->host));
    if (!rc)
        rc = add_member(out, "target", tg_str_of(c->target));
    if (!rc)
        rc = tg_buf_adds(out, ",\"headers\":{");
    for (size_t i = 0; !rc && i < c->n_headers; i++) {
        rc = i ? tg_buf_addc(out, ',') : TG_OK;
        if (!rc)
            rc = tg_json_quote(out, tg_str_of(c->headers[i].name));
        if (!rc)
            rc = tg_buf_addc(out, ':');
        if (!rc)
            rc = tg_json_quote(out, tg_str_of(c->headers[i].value));
    }
    if (!rc)
        rc = tg_buf_addc(out, '}');
    if (!rc)
        rc = add_member(out, "body", c->body);
    return rc ? rc : tg_buf_printf(out, ",\"status\":%d}", c->status);
}
