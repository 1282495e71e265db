#include "script/render.h"

#include "base/json.h"
#include "base/mem.h"
#include "script/render_show.h"
#include "script/run.h"
#include "script/verdict.h"

#include <stdio.h>
#include <stdlib.h>

enum { REQUESTS_MAX = 1024 };

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

static int show(struct shown *s, struct tg_buf *json)
{
    for (size_t i = 0; i < s->n_requests; i++)
        (void)join_alone(s, i);
    bool reveal = s->in->reveal;
    int rc = s->rc ? s->rc : tg_buf_addc(json, '{');
    if (!rc)
        rc = tg_render_outcome(s->outcome, s->reason, s->message, reveal, json);
    if (!rc)
        rc = tg_buf_adds(json, ",\"requests\":[");
    for (size_t i = 0; !rc && i < s->n_requests; i++) {
        rc = i ? tg_buf_addc(json, ',') : TG_OK;
        if (!rc)
            rc = tg_render_request(sent(s, i), reveal, json);
    }
    return rc ? rc : tg_buf_adds(json, "]}");
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
