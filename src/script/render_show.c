#include "script/render_show.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mask.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/coverage.h"
#include "script/state.h"

#include <stdlib.h>
#include <string.h>

void tg_render_note_reason(const struct tg_dest *dest, const char *outcome, const char *reason)
{
    struct tg_coverage *coverage = ((const struct tg_dest_impl *)dest->impl)->host->options.coverage;
    if (coverage)
        tg_coverage_reason(coverage, outcome, reason);
}

const char *tg_render_end_word(enum tg_run_end end)
{
    static const char *const words[] = {
        [TG_RUN_DONE] = "deliver", [TG_RUN_SKIP] = "skip",   [TG_RUN_REJECT] = "reject",
        [TG_RUN_RETRY] = "retry",  [TG_RUN_ERROR] = "error", [TG_RUN_TIMEOUT] = "error",
        [TG_RUN_MEMORY] = "error"};
    return words[end];
}

const char *tg_render_outcome_word(enum tg_outcome outcome)
{
    static const char *const words[] = {[TG_OUTCOME_OK] = "deliver",
                                        [TG_OUTCOME_RETRY] = "retry",
                                        [TG_OUTCOME_REJECT] = "reject",
                                        [TG_OUTCOME_PARK] = "retry"};
    return words[outcome];
}

struct out {
    struct tg_buf *b;
    bool reveal;
    int rc;
};

static void put(struct out *o, const char *text)
{
    if (!o->rc)
        o->rc = tg_buf_adds(o->b, text);
}

static void put_text(struct out *o, struct tg_str text)
{
    struct tg_buf masked = TG_BUF_INIT(TG_RENDER_MAX);
    if (!o->rc && !o->reveal) {
        o->rc = tg_mask_text(&masked, text);
        text = tg_buf_str(&masked);
    }
    if (!o->rc)
        o->rc = tg_json_quote(o->b, text);
    tg_buf_fini(&masked);
}

static void put_name(struct out *o, bool *first, const char *name)
{
    put(o, *first ? "" : ",");
    *first = false;
    put_text(o, tg_str_of(name));
    put(o, ":");
}

struct pair {
    char *name, *value;
    size_t name_len, value_len;
    size_t at; /* where it stood: qsort keeps no order */
};

static int decode(struct tg_str text, char **out, size_t *len)
{
    struct tg_buf b = TG_BUF_INIT(TG_RENDER_MAX);
    int rc = tg_url_decode(&b, text, true);
    *out = rc ? NULL : tg_buf_take(&b, len);
    tg_buf_fini(&b);
    return *out ? TG_OK : rc ? rc : TG_NOMEM;
}

static int by_pair(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* {"a":"1","b":["1","2"]} of a=1&b=1&b=2, sorted by name. */
static void put_pairs(struct out *o, const struct pair *pairs, size_t n)
{
    put(o, "{");
    for (size_t i = 0; i < n;) {
        size_t same = 1;
        while (i + same < n && strcmp(pairs[i].name, pairs[i + same].name) == 0)
            same++;
        put(o, i ? "," : "");
        put_text(o, tg_str_n(pairs[i].name, pairs[i].name_len));
        put(o, same > 1 ? ":[" : ":");
        for (size_t j = 0; j < same; j++) {
            put(o, j ? "," : "");
            put_text(o, tg_str_n(pairs[i + j].value, pairs[i + j].value_len));
        }
        put(o, same > 1 ? "]" : "");
        i += same;
    }
    put(o, "}");
}

static void put_form(struct out *o, struct tg_str text)
{
    size_t n = 0, most = 1;
    for (size_t i = 0; i < text.n; i++)
        most += text.p[i] == '&';
    struct pair *pairs = tg_calloc(most, sizeof *pairs);
    if (!pairs) {
        o->rc = TG_NOMEM;
        return;
    }
    struct tg_form_walk w = tg_form_walk(text);
    while (!o->rc && n < most && tg_form_next(&w)) {
        o->rc = decode(w.name, &pairs[n].name, &pairs[n].name_len);
        if (!o->rc)
            o->rc = decode(w.value, &pairs[n].value, &pairs[n].value_len);
        pairs[n].at = n;
        n++;
    }
    if (!o->rc && n)
        qsort(pairs, n, sizeof *pairs, by_pair);
    if (!o->rc)
        put_pairs(o, pairs, n);
    for (size_t i = 0; i < n; i++) {
        tg_free(pairs[i].name);
        tg_free(pairs[i].value);
    }
    tg_free(pairs);
}

static void put_headers(struct out *o, const struct tg_request *r)
{
    put(o, ",\"headers\":{");
    bool first = true;
    for (size_t i = 0; i < r->n_headers; i++) {
        put_name(o, &first, r->headers[i].name);
        if (!o->reveal && tg_mask_header(tg_str_of(r->headers[i].name)))
            put(o, "\"***\"");
        else
            put_text(o, tg_str_of(r->headers[i].value));
    }
    put(o, "}");
}

/* JSON as it is; masked it may not be JSON any more, then as text. */
static void put_json(struct out *o, struct tg_str body)
{
    struct tg_buf masked = TG_BUF_INIT(TG_RENDER_MAX);
    struct tg_str text = body;
    if (!o->rc && !o->reveal) {
        o->rc = tg_mask_text(&masked, body);
        text = tg_buf_str(&masked);
    }
    if (!o->rc && tg_json_validate(text, TG_JSON_MAX_DEPTH, NULL, NULL))
        o->rc = tg_json_quote(o->b, text);
    else if (!o->rc)
        o->rc = tg_buf_addstr(o->b, text);
    tg_buf_fini(&masked);
}

static void put_body(struct out *o, const struct tg_request *r)
{
    struct tg_str body = tg_str_n(r->body, r->body_len);
    switch (r->body_kind) {
    case TG_BODY_NONE:
        return;
    case TG_BODY_JSON:
        put(o, ",\"json\":");
        put_json(o, body);
        return;
    case TG_BODY_FORM:
        put(o, ",\"form\":");
        put_form(o, body);
        return;
    case TG_BODY_RAW:
        if (tg_json_utf8(body.n ? body.p : "", body.n) == body.n) {
            put(o, ",\"body\":");
            put_text(o, body);
            return;
        }
        put(o, ",\"body64\":\"");
        if (!o->rc)
            o->rc = tg_base64(o->b, body.p, body.n, false, true);
        put(o, "\"");
    }
}

static void put_request(struct out *o, const struct tg_request *r)
{
    const char *mark = strchr(r->url, '?');
    put(o, "{\"method\":");
    put_text(o, tg_str_of(r->method));
    put(o, ",\"url\":");
    put_text(o, mark ? tg_str_n(r->url, (size_t)(mark - r->url)) : tg_str_of(r->url));
    if (mark) {
        put(o, ",\"query\":");
        put_form(o, tg_str_of(mark + 1));
    }
    if (r->n_headers)
        put_headers(o, r);
    put_body(o, r);
    if (r->batch) {
        put(o, ",\"batch\":");
        put_text(o, tg_str_of(r->batch));
    }
    put(o, "}");
}

int tg_render_request(const struct tg_request *r, bool reveal, struct tg_buf *json)
{
    struct out o = {json, reveal, TG_OK};
    put_request(&o, r);
    return o.rc;
}

int tg_render_text(struct tg_str text, bool reveal, struct tg_buf *json)
{
    struct out o = {json, reveal, TG_OK};
    put_text(&o, text);
    return o.rc;
}

int tg_render_outcome(const char *outcome, const char *reason, const char *message, bool reveal,
                      struct tg_buf *json)
{
    struct out o = {json, reveal, TG_OK};
    put(&o, "\"outcome\":");
    put_text(&o, tg_str_of(outcome));
    put(&o, ",\"reason\":");
    if (strcmp(outcome, "deliver") == 0)
        put(&o, "null");
    else
        put_text(&o, tg_str_of(reason));
    if (message) {
        put(&o, ",\"message\":");
        put_text(&o, tg_str_of(message));
    }
    return o.rc;
}
