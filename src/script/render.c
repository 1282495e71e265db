#include "base/digest.h"
#include "base/json.h"
#include "base/mask.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/coverage.h"
#include "script/host_impl.h"
#include "script/render_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN_MAX = TG_RENDER_MAX, REQUESTS_MAX = 1024 };

#define TOKEN "{\"access_token\":\"made-up-token\",\"token_type\":\"bearer\",\"expires_in\":3600}"

struct shown {
    const struct tg_render_in *in;
    struct tg_run *run;
    struct tg_request *requests[REQUESTS_MAX], *joined[REQUESTS_MAX]; /* joined: of a batch, as if alone */
    size_t n_requests, n_answered;
    bool ended;
    const char *outcome;
    char reason[TG_REASON_MAX];
    char *message;
    int rc;
};

/* --- the engine's part, in small --- */

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    struct shown *s = arg;
    s->run = run;
    if (s->n_requests < REQUESTS_MAX)
        s->requests[s->n_requests++] = request;
    else
        tg_request_free(&request);
}

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

static void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    struct shown *s = arg;
    s->run = run;
    s->ended = true;
    s->outcome = tg_render_end_word(result->end);
    (void)snprintf(s->reason, sizeof s->reason, "%s", result->reason ? result->reason : "");
    tg_render_note_reason(s->in->dest, s->outcome, s->reason);
    if (result->message && !(s->message = tg_strdup(result->message)))
        s->rc = TG_NOMEM;
}

static void set_end(struct shown *s, const char *outcome, const char *reason, const char *message)
{
    s->ended = true;
    s->outcome = outcome;
    if (reason != s->reason)
        (void)snprintf(s->reason, sizeof s->reason, "%s", reason);
    tg_free(s->message);
    s->message = message ? tg_strdup(message) : NULL;
}

/* A request of a batch gets the body that it would have alone. False: join has failed. */
static bool join_alone(struct shown *s, size_t i)
{
    struct tg_err err;
    if (!s->requests[i]->batch || s->joined[i] ||
        !tg_dest_join(s->in->dest, &s->requests[i], 1, &s->joined[i], &err))
        return true;
    set_end(s, "error", "script_error", err.msg);
    return false;
}

static const struct tg_request *sent(const struct shown *s, size_t i)
{
    return s->joined[i] ? s->joined[i] : s->requests[i];
}

/* What becomes of a delivery that got this answer, as in the engine; but a judge or split that fails is shown
 * to its author, where the engine goes by the status and warns. */
static int judge(struct shown *s, size_t i, const struct tg_response *response, struct tg_verdict *v,
                 struct tg_err *err)
{
    struct tg_verdict alone;
    struct tg_dest *dest = s->in->dest;
    int rc = TG_OK;
    tg_verdict_of_status(response->status, v);
    if (response->status)
        rc = tg_verdict_judge(dest, sent(s, i), response, v, err);
    if (rc || !tg_verdict_splits(dest, s->requests[i]->batch, v->outcome))
        return rc;
    rc = tg_verdict_split(dest, &s->requests[i], 1, response, v, &alone, err);
    if (rc > 0)
        *v = alone;
    return rc < 0 ? rc : TG_OK;
}

/* What the partner answers to delivery i. */
static const struct tg_response *response_to(const struct shown *s, size_t i)
{
    static const struct tg_response fine = {.status = 200};
    static const struct tg_response token = {
        .status = 200,
        .body = {TOKEN, sizeof TOKEN - 1},
    };
    if (i < s->in->n_responses)
        return &s->in->responses[i];
    return s->in->assume_success && s->requests[i]->repeatable ? &token : &fine;
}

/* Answers the oldest delivery that has none. False when the event is over by that. */
static bool answer_one(struct shown *s)
{
    size_t i = s->n_answered++;
    const struct tg_response *response = response_to(s, i);
    struct tg_verdict v;
    struct tg_err err;
    if (!join_alone(s, i))
        return false;
    if (i >= s->in->n_responses && s->in->assume_success) {
        tg_run_settle(s->run, s->requests[i]->call, response);
        return true;
    }
    if (judge(s, i, response, &v, &err)) {
        set_end(s, "error", "script_error", err.msg);
        return false;
    }
    if (v.outcome != TG_OUTCOME_OK) {
        const char *word = tg_render_outcome_word(v.outcome);
        tg_render_note_reason(s->in->dest, v.outcome == TG_OUTCOME_PARK ? "park" : word, v.reason);
        set_end(s, word, v.reason, v.message[0] ? v.message : NULL);
        return false;
    }
    tg_run_settle(s->run, s->requests[i]->call, response);
    return true;
}

/* --- as JSON --- */

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
    struct tg_buf masked = TG_BUF_INIT(SHOWN_MAX);
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
    struct tg_buf b = TG_BUF_INIT(SHOWN_MAX);
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
    struct tg_buf masked = TG_BUF_INIT(SHOWN_MAX);
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

static int show(struct shown *s, struct tg_buf *json)
{
    for (size_t i = 0; i < s->n_requests; i++)
        (void)join_alone(s, i);
    struct out o = {json, s->in->reveal, s->rc};
    put(&o, "{\"outcome\":");
    put_text(&o, tg_str_of(s->outcome));
    put(&o, ",\"reason\":");
    if (strcmp(s->outcome, "deliver") != 0)
        put_text(&o, tg_str_of(s->reason));
    else
        put(&o, "null");
    if (s->message) {
        put(&o, ",\"message\":");
        put_text(&o, tg_str_of(s->message));
    }
    put(&o, ",\"requests\":[");
    for (size_t i = 0; i < s->n_requests; i++) {
        put(&o, i ? "," : "");
        put_request(&o, sent(s, i));
    }
    put(&o, "]}");
    return o.rc;
}

int tg_render(const struct tg_render_in *in, struct tg_buf *json, struct tg_err *err)
{
    static const struct tg_run_ops ops = {on_deliver, on_end};
    struct shown *s = tg_calloc(1, sizeof *s);
    if (!s)
        return tg_fail(err, TG_NOMEM, "no memory to render an event");
    s->in = in;
    struct tg_str options = tg_json_get(
        in->event->integrations.n ? in->event->integrations : tg_json_get(in->event->body, "integrations"),
        in->dest->integration);
    int rc = tg_run_start(in->dest, in->event, 0, options, TG_STR(""), &ops, s, &s->run, err);
    if (rc == TG_UNSUPPORTED) {
        set_end(s, "skip", "type_not_accepted", NULL);
        rc = TG_OK;
    }
    while (!rc && s->n_answered < s->n_requests && answer_one(s))
        ;
    tg_run_free(&s->run);
    if (!rc && !s->ended)
        rc = tg_fail(err, TG_SCRIPT, "the handler waits for a delivery that was never made");
    if (!rc && (rc = show(s, json)))
        (void)tg_fail(err, rc, "rendering: %s", tg_code_text(rc));
    for (size_t i = 0; i < s->n_requests; i++) {
        tg_request_free(&s->requests[i]);
        tg_request_free(&s->joined[i]);
    }
    tg_free(s->message);
    tg_free(s);
    return rc;
}

/* --- scripted responses --- */

static char *text_of(struct tg_str value)
{
    struct tg_buf b = TG_BUF_INIT(SHOWN_MAX);
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
