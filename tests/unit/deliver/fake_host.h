/* A script host whose handlers are C functions, so that the engine is tested without Lua. Defines all of
 * script/host.h that the engine calls. */
#ifndef TG_TEST_FAKE_HOST_H
#define TG_TEST_FAKE_HOST_H

#include "base/buf.h"
#include "script/host.h"

#include <stdio.h>
#include <stdlib.h>

struct fake {
    struct tg_dest dest;
    void (*handler)(struct fake *fake, struct tg_run *run);
    void (*resumed)(struct fake *fake, struct tg_run *run, unsigned call); /* a delivery succeeded */
    int (*split)(struct tg_request *const *requests, size_t n, const struct tg_response *response,
                 struct tg_verdict *each);
    int (*judge)(const struct tg_response *response, struct tg_verdict *verdict);
    int (*filter)(const struct tg_event *event, struct tg_buf *spec, bool *passes);
    char url[128];
    void *arg;
    int token; /* that is good now */
    int started, joined, freed_runs;
    size_t most_joined; /* more items are too much for its memory; 0: none are */
    int *freed;         /* set to 1 by tg_dest_free */
};

struct tg_run {
    struct fake *fake;
    const struct tg_event *event;
    const struct tg_run_ops *ops;
    void *arg;
    unsigned calls;
    bool done[16], ended;
    int token; /* that it was given; 0: none */
    struct tg_str options;
};

/* The filter function: what `fake->filter` says. */
int tg_dest_filter(struct tg_dest *dest, const struct tg_event *event, uint64_t seq, struct tg_buf *spec,
                   bool *passes, struct tg_err *err)
{
    struct fake *f = dest->impl;
    (void)seq;
    (void)err;
    return f->filter(event, spec, passes);
}

static inline struct fake *fake_new(const char *name, int port,
                                    void (*handler)(struct fake *, struct tg_run *))
{
    struct fake *f = calloc(1, sizeof *f);
    f->dest = (struct tg_dest){.name = strdup(name),
                               .script = strdup("fake"),
                               .integration = strdup("Fake"),
                               .accepts = 1u << TG_TRACK,
                               .impl = f};
    f->handler = handler;
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/%s", port, name);
    return f;
}

/* What a handler does. */
struct fake_ask {
    const char *body, *batch, *key, *rate, *secret;
    bool repeatable, share, authorized; /* authorized: with the fake's token */
};
static inline void fake_deliver(struct tg_run *run, struct fake_ask ask)
{
    unsigned call = ++run->calls;
    if (run->done[call] && !ask.repeatable)
        return;
    struct tg_request *r = calloc(1, sizeof *r);
    r->call = call;
    r->method = strdup("POST");
    r->url = strdup(run->fake->url);
    r->headers = calloc(1, sizeof *r->headers);
    r->headers[0] = (struct tg_header){strdup("Authorization"), strdup("Bearer secret-token")};
    r->n_headers = 1;
    r->body_kind = TG_BODY_JSON;
    r->body = strdup(ask.body);
    r->body_len = strlen(ask.body);
    r->batch = ask.batch ? strdup(ask.batch) : NULL;
    r->key = ask.key ? strdup(ask.key) : NULL;
    r->rate = ask.rate ? strdup(ask.rate) : NULL;
    r->secret = ask.secret ? strdup(ask.secret) : NULL;
    r->repeatable = ask.repeatable;
    r->share = ask.share;
    run->token = ask.authorized ? run->fake->token : run->token;
    run->ops->deliver(run->arg, run, r);
}

static inline void fake_end(struct tg_run *run, enum tg_run_end end, const char *reason)
{
    bool lost = reason && strcmp(reason, "state_rebuilt") == 0;
    struct tg_run_result result = {
        .end = end, .reason = reason, .message = reason, .retry_after_ms = lost ? TG_RUN_LOST : 0};
    run->ended = true;
    run->ops->end(run->arg, run, &result);
}

void tg_request_free(struct tg_request **p)
{
    struct tg_request *r = *p;
    if (!r)
        return;
    *p = NULL;
    for (size_t i = 0; i < r->n_headers; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    free(r->headers);
    free(r->method);
    free(r->url);
    free(r->body);
    free(r->batch);
    free(r->key);
    free(r->rate);
    free(r->secret);
    free(r);
}

int tg_run_start(struct tg_dest *dest, const struct tg_event *event, uint64_t seq, struct tg_str options,
                 struct tg_str responses, const struct tg_run_ops *ops, void *arg, struct tg_run **out,
                 struct tg_err *err)
{
    (void)seq, (void)err;
    struct fake *f = dest->impl;
    struct tg_run *run = calloc(1, sizeof *run);
    *run = (struct tg_run){.fake = f, .event = event, .ops = ops, .arg = arg, .options = options};
    for (size_t i = 0; i < responses.n; i++)
        run->done[responses.p[i] - 'a'] = true;
    *out = run;
    f->started++;
    f->handler(f, run);
    return TG_OK;
}

void tg_run_settle(struct tg_run *run, unsigned call, const struct tg_response *response)
{
    (void)response;
    run->done[call] = true;
    if (run->fake->resumed)
        run->fake->resumed(run->fake, run, call);
}

int tg_run_responses(struct tg_run *run, struct tg_buf *json)
{
    for (unsigned i = 1; i < 16; i++)
        if (run->done[i] && tg_buf_addc(json, (char)('a' + i)) != TG_OK)
            return TG_NOMEM;
    return TG_OK;
}

void tg_run_free(struct tg_run **run)
{
    (*run)->fake->freed_runs++;
    free(*run);
    *run = NULL;
}

enum tg_tokens tg_run_tokens(const struct tg_run *run)
{
    return run->token == 0                  ? TG_TOKENS_NONE
           : run->token == run->fake->token ? TG_TOKENS_GOOD
                                            : TG_TOKENS_GONE;
}

bool tg_run_refuse_tokens(struct tg_run *run)
{
    run->fake->token += run->token && run->token == run->fake->token;
    return run->token != 0;
}

/* "[" bodies with commas "]". A body that holds "unjoinable" makes it fail. */
int tg_dest_join(struct tg_dest *dest, struct tg_request *const *requests, size_t n, struct tg_request **out,
                 struct tg_err *err)
{
    struct fake *f = dest->impl;
    f->joined++;
    for (size_t i = 0; i < n; i++)
        if (strstr(requests[i]->body, "unjoinable"))
            return tg_fail(err, TG_SCRIPT, "cannot join");
    if (f->most_joined && n > f->most_joined)
        return tg_fail(err, TG_NOMEM, "too much for the script's memory");
    char *body;
    size_t len;
    FILE *text = open_memstream(&body, &len);
    for (size_t i = 0; i < n; i++)
        fprintf(text, "%c%s", i ? ',' : '[', requests[i]->body);
    fprintf(text, "]");
    fclose(text);
    struct tg_request *r = calloc(1, sizeof *r);
    r->method = strdup("POST");
    r->url = strdup(requests[0]->url);
    r->body_kind = TG_BODY_JSON;
    r->body = body;
    r->body_len = len;
    *out = r;
    return TG_OK;
}

int tg_dest_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                  const struct tg_response *response, struct tg_verdict *each, struct tg_err *err)
{
    (void)err;
    struct fake *f = dest->impl;
    return f->split(requests, n, response, each);
}

int tg_dest_judge(struct tg_dest *dest, const struct tg_request *request, const struct tg_response *response,
                  struct tg_verdict *verdict, struct tg_err *err)
{
    (void)request, (void)err;
    struct fake *f = dest->impl;
    return f->judge ? f->judge(response, verdict) : 0;
}

void tg_dest_free(struct tg_dest **dest)
{
    struct fake *f = (*dest)->impl;
    if (f->freed)
        *f->freed = 1;
    free(f->dest.name);
    free(f->dest.script);
    free(f->dest.integration);
    free(f);
    *dest = NULL;
}

#endif
