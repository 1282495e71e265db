#include "script/answers.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

enum { TEXT_MAX = 64 << 20 };

static char *text_of(struct tg_str value)
{
    struct tg_buf b = TG_BUF_INIT(TEXT_MAX);
    int rc = value.n == 0                            ? TG_OK
             : tg_json_type(value) == TG_JSON_STRING ? tg_json_text(value, &b)
                                                     : tg_buf_addstr(&b, value);
    char *text = rc ? NULL : tg_buf_take(&b, NULL);
    tg_buf_fini(&b);
    return text;
}

static int read_headers(struct tg_response *r, struct tg_str object)
{
    size_t n = 0;
    if (!object.n || tg_json_type(object) != TG_JSON_OBJECT)
        return TG_OK;
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w))
        n++;
    struct tg_header *headers = tg_calloc(n, sizeof *headers);
    if (!headers)
        return TG_NOMEM;
    r->headers = headers;
    w = tg_json_walk(object);
    while (tg_json_next(&w)) {
        struct tg_header *h = &headers[r->n_headers++];
        h->name = text_of(w.key);
        h->value = text_of(w.value);
        if (!h->name || !h->value)
            return TG_NOMEM;
    }
    return TG_OK;
}

static int read_response(struct tg_response *r, struct tg_str value)
{
    int64_t status = 200;
    struct tg_str given = tg_json_get(value, "status");
    if (tg_json_type(value) != TG_JSON_OBJECT ||
        (given.n && (!tg_json_int(given, &status) || status < 0 || status > 599)))
        return TG_INVALID;
    r->status = (int)status;
    char *body = text_of(tg_json_get(value, "body"));
    if (!body)
        return TG_NOMEM;
    r->body = tg_str_of(body);
    return read_headers(r, tg_json_get(value, "headers"));
}

void tg_render_responses_free(struct tg_response *responses, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < responses[i].n_headers; j++) {
            tg_free(responses[i].headers[j].name);
            tg_free(responses[i].headers[j].value);
        }
        tg_free((void *)responses[i].headers);
        tg_free((void *)responses[i].body.p);
    }
    tg_free(responses);
}

int tg_render_responses(struct tg_str json, struct tg_response **out, size_t *n, struct tg_err *err)
{
    struct tg_str array;
    *out = NULL;
    *n = 0;
    int rc = tg_json_validate(json, TG_JSON_MAX_DEPTH, &array, err);
    if (rc)
        return tg_err_prefix(err, "responses");
    if (tg_json_type(array) != TG_JSON_ARRAY)
        return tg_fail(err, TG_INVALID, "responses: a JSON array of {status, headers, body} is wanted");
    struct tg_json_walk w = tg_json_walk(array);
    while (!rc && tg_json_next(&w)) {
        struct tg_response *more = tg_realloc(*out, (*n + 1) * sizeof *more);
        if (more) {
            *out = more;
            more[*n] = (struct tg_response){0};
            rc = read_response(&more[(*n)++], w.value);
        } else {
            rc = TG_NOMEM;
        }
    }
    if (!rc)
        return TG_OK;
    (void)tg_fail(err, rc, "responses: item %zu: %s", *n,
                  rc == TG_INVALID ? "an object {status, headers, body} is wanted, status from 0 to 599"
                                   : "out of memory");
    tg_render_responses_free(*out, *n);
    *out = NULL;
    *n = 0;
    return rc;
}
