/* Several events at once without sending, for what only shows then: batches, and what one answer means for
 * each item.
 *
 * The engine in small: all handlers start, and what they ask for waits. Requests that are not of a batch go
 * first, in the order in which they were asked for, those that share an answer as one; when there is none
 * left a batch goes, with as many items as it may have. Each answer may make handlers go on. A batch that is
 * rejected as a whole is halved, and its halves go before other batches. An event ends with the first of its
 * requests that fails. */
#include "script/render_many.h"

#include "base/json.h"
#include "base/mem.h"
#include "script/render_show.h"
#include "script/run.h"
#include "script/same_request.h"
#include "script/verdict.h"

#include <stdio.h>

enum { ASKED_MAX = 4096 };

struct many;
struct one { /* an event */
    struct many *all;
    struct tg_run *run;
    bool ended, over; /* the handler has ended; so has the event: nothing more of it counts */
    const char *outcome;
    char reason[TG_REASON_MAX];
    char *message;
};

struct asked { /* a request that waits */
    struct one *by;
    struct tg_request *request; /* NULL: it waits no more */
    unsigned half;              /* of a batch that was halved: which; 0: it was not */
};

struct many {
    const struct tg_render_in *in;
    struct one *events;
    size_t n_events;
    struct asked asked[ASKED_MAX];
    size_t n_asked, n_sent; /* n_sent: HTTP requests so far */
    unsigned halves;
    struct tg_buf requests; /* those that went out, as JSON */
    int rc;
};

/* What goes out together. */
struct parcel {
    struct asked *list[ASKED_MAX];
    struct tg_request *requests[ASKED_MAX];
    struct tg_verdict each[ASKED_MAX];
    size_t n;
    struct tg_request *joined;
};

/* --- events --- */

static void end_event(struct one *e, const char *outcome, const char *reason, const char *message)
{
    e->outcome = outcome;
    if (reason != e->reason)
        (void)snprintf(e->reason, sizeof e->reason, "%s", reason);
    tg_free(e->message);
    e->message = message && *message ? tg_strdup(message) : NULL;
    if (message && *message && !e->message)
        e->all->rc = TG_NOMEM;
    tg_render_note_reason(e->all->in->dest, outcome, reason);
}

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    struct one *e = arg;
    struct many *m = e->all;
    e->run = run;
    if (e->over || m->n_asked == ASKED_MAX)
        tg_request_free(&request);
    else
        m->asked[m->n_asked++] = (struct asked){.by = e, .request = request};
}

static void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    struct one *e = arg;
    e->run = run;
    e->ended = true;
    if (!e->over)
        end_event(e, tg_render_end_word(result->end), result->reason ? result->reason : "", result->message);
    e->over = e->over || result->end != TG_RUN_DONE;
}

static void drop_asked(struct many *m, const struct one *by)
{
    for (size_t i = 0; i < m->n_asked; i++)
        if (m->asked[i].by == by && m->asked[i].request)
            tg_request_free(&m->asked[i].request);
}

static void start(struct many *m, struct one *e, const struct tg_event *event, struct tg_err *err)
{
    static const struct tg_run_ops ops = {on_deliver, on_end};
    struct tg_str options =
        tg_json_get(event->integrations.n ? event->integrations : tg_json_get(event->body, "integrations"),
                    m->in->dest->integration);
    e->all = m;
    int rc = tg_run_start(m->in->dest, event, 0, options, TG_STR(""), &ops, e, &e->run, err);
    if (rc == TG_UNSUPPORTED) {
        e->ended = e->over = true;
        end_event(e, "skip", "type_not_accepted", NULL);
        rc = TG_OK;
    }
    if (!m->rc)
        m->rc = rc;
    if (e->over) /* skipped or failed: nothing that it asked for goes out */
        drop_asked(m, e);
}

/* --- parcels --- */

static void put_in(struct parcel *p, struct asked *a)
{
    p->requests[p->n] = a->request;
    p->list[p->n++] = a;
}

static size_t max_items(const struct tg_dest *dest, const char *batch)
{
    for (size_t i = 0; i < dest->n_batches; i++)
        if (strcmp(dest->batches[i].name, batch) == 0 && dest->batches[i].max_items)
            return dest->batches[i].max_items;
    return SIZE_MAX;
}

static bool belongs(const struct asked *first, const struct asked *a)
{
    if (!a->request || a->half != first->half)
        return false;
    return first->request->batch ? tg_same_group(first->request, a->request)
                                 : tg_may_share(first->request, a->request);
}

/* The first that waits: of those without a batch, of halves, of batches. */
static struct asked *first_waiting(struct many *m)
{
    struct asked *half = NULL, *batch = NULL;
    for (size_t i = 0; i < m->n_asked; i++) {
        struct asked *a = &m->asked[i];
        if (a->request && !a->request->batch)
            return a;
        if (a->request && a->half && !half)
            half = a;
        if (a->request && !batch)
            batch = a;
    }
    return half ? half : batch;
}

static bool next_parcel(struct many *m, struct parcel *p)
{
    struct asked *first = first_waiting(m);
    p->n = 0;
    p->joined = NULL;
    if (!first)
        return false;
    size_t most = first->request->batch ? max_items(m->in->dest, first->request->batch) : SIZE_MAX;
    put_in(p, first);
    for (struct asked *a = first + 1; a < m->asked + m->n_asked && p->n < most; a++)
        if (belongs(first, a))
            put_in(p, a);
    return true;
}

static void halve(struct many *m, struct parcel *p)
{
    unsigned low = ++m->halves, high = ++m->halves;
    for (size_t i = 0; i < p->n; i++)
        p->list[i]->half = i < p->n / 2 ? low : high;
}

/* --- answers --- */

static void settle(struct many *m, struct asked *a, const struct tg_verdict *v,
                   const struct tg_response *response)
{
    struct tg_request *request = a->request;
    struct one *e = a->by;
    a->request = NULL;
    if (v->outcome != TG_OUTCOME_OK) {
        e->over = true;
        end_event(e, tg_render_outcome_word(v->outcome), v->reason, v->message);
        if (v->outcome == TG_OUTCOME_PARK)
            tg_render_note_reason(m->in->dest, "park", v->reason);
        drop_asked(m, e);
    } else if (!e->over) {
        tg_run_settle(e->run, request->call, response);
        if (e->over)
            drop_asked(m, e);
    }
    tg_request_free(&request);
}

static void fail_all(struct many *m, struct parcel *p, const char *why)
{
    for (size_t i = 0; i < p->n; i++) {
        struct one *e = p->list[i]->by;
        e->over = true;
        end_event(e, "error", "script_error", why);
        drop_asked(m, e);
    }
}

/* 1: a verdict for each; 0: one for all, in *whole; negative: the script failed. */
static int judge(struct many *m, struct parcel *p, const struct tg_response *response,
                 struct tg_verdict *whole, struct tg_err *err)
{
    const struct tg_request *sent = p->joined ? p->joined : p->requests[0];
    struct tg_dest *dest = m->in->dest;
    int rc = TG_OK;
    tg_verdict_of_status(response->status, whole);
    if (response->status)
        rc = tg_verdict_judge(dest, sent, response, whole, err);
    if (rc || !p->joined || !tg_verdict_splits(dest, sent->batch, whole->outcome))
        return rc;
    return tg_verdict_split(dest, p->requests, p->n, response, whole, p->each, err);
}

static void answer(struct many *m, struct parcel *p)
{
    static const struct tg_response fine = {.status = 200};
    const struct tg_response *response =
        m->n_sent < m->in->n_responses ? &m->in->responses[m->n_sent] : &fine;
    struct tg_verdict whole;
    struct tg_err err;
    m->n_sent++;
    int rc = judge(m, p, response, &whole, &err);
    if (rc < 0) {
        fail_all(m, p, err.msg);
        return;
    }
    if (rc == 0 && p->joined && p->n > 1 && whole.outcome == TG_OUTCOME_REJECT) {
        halve(m, p);
        return;
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->list[i]->request) /* its event may have ended with one before it */
            settle(m, p->list[i], rc > 0 ? &p->each[i] : &whole, response);
}

static void show_sent(struct many *m, const struct tg_request *r)
{
    int rc = m->requests.len ? tg_buf_addc(&m->requests, ',') : TG_OK;
    if (!rc)
        rc = tg_render_request(r, m->in->reveal, &m->requests);
    m->rc = m->rc ? m->rc : rc;
}

/* Sends one parcel. */
static void send(struct many *m, struct parcel *p)
{
    struct tg_err err;
    if (p->requests[0]->batch && tg_dest_join(m->in->dest, p->requests, p->n, &p->joined, &err)) {
        if (p->n > 1)
            halve(m, p);
        else
            fail_all(m, p, err.msg);
        return;
    }
    show_sent(m, p->joined ? p->joined : p->requests[0]);
    answer(m, p);
    tg_request_free(&p->joined);
}

/* --- as JSON --- */

static int show_event(const struct one *e, bool reveal, struct tg_buf *json)
{
    int rc = tg_buf_addc(json, '{');
    if (!rc)
        rc = tg_render_outcome(e->outcome, e->reason, e->message, reveal, json);
    return rc ? rc : tg_buf_adds(json, "}");
}

/* The whole is an error when an event is: then its message is the first such event's. */
static int show(const struct many *m, struct tg_buf *json)
{
    const struct one *wrong = NULL;
    for (size_t i = 0; i < m->n_events && !wrong; i++)
        wrong = strcmp(m->events[i].outcome, "error") == 0 ? &m->events[i] : NULL;
    int rc = tg_buf_addc(json, '{');
    if (!rc)
        rc = tg_render_outcome(wrong ? "error" : "deliver", "script_error", wrong ? wrong->message : NULL,
                               m->in->reveal, json);
    if (!rc)
        rc = tg_buf_adds(json, ",\"outcomes\":[");
    for (size_t i = 0; i < m->n_events && !rc; i++) {
        rc = i ? tg_buf_addc(json, ',') : TG_OK;
        if (!rc)
            rc = show_event(&m->events[i], m->in->reveal, json);
    }
    if (!rc)
        rc = tg_buf_adds(json, "],\"requests\":[");
    if (!rc)
        rc = tg_buf_addstr(json, tg_buf_str(&m->requests));
    return rc ? rc : tg_buf_adds(json, "]}");
}

static int play(struct many *m, const struct tg_event *events, struct tg_err *err)
{
    struct parcel *p = tg_calloc(1, sizeof *p);
    m->rc = p ? TG_OK : tg_fail(err, TG_NOMEM, "no memory to render events");
    for (size_t i = 0; i < m->n_events && !m->rc; i++)
        start(m, &m->events[i], &events[i], err);
    int rc = m->rc;
    while (!m->rc && next_parcel(m, p))
        send(m, p);
    for (size_t i = 0; i < m->n_events && !m->rc; i++)
        if (!m->events[i].outcome)
            rc = m->rc = tg_fail(err, TG_SCRIPT, "a handler waits for a delivery that was never made");
    if (!rc && m->rc)
        rc = tg_fail(err, m->rc, "rendering: %s", tg_code_text(m->rc));
    tg_free(p);
    return rc;
}

int tg_render_many(const struct tg_render_in *in, size_t n_events, struct tg_buf *json, struct tg_err *err)
{
    struct many *m = tg_calloc(1, sizeof *m);
    struct one *events = tg_calloc(n_events ? n_events : 1, sizeof *events);
    int rc = m && events ? TG_OK : tg_fail(err, TG_NOMEM, "no memory to render events");
    if (m) {
        m->in = in;
        m->events = events;
        m->n_events = n_events;
        tg_buf_init(&m->requests, TG_RENDER_MAX);
    }
    if (!rc)
        rc = play(m, in->event, err);
    if (!rc && (rc = show(m, json)))
        (void)tg_fail(err, rc, "rendering: %s", tg_code_text(rc));
    for (size_t i = 0; m && events && i < n_events; i++) {
        if (events[i].run)
            tg_run_free(&events[i].run);
        tg_free(events[i].message);
    }
    for (size_t i = 0; m && i < m->n_asked; i++)
        tg_request_free(&m->asked[i].request);
    if (m)
        tg_buf_fini(&m->requests);
    tg_free(events);
    tg_free(m);
    return rc;
}
