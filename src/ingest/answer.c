#include "ingest/answer.h"

#include "ingest/cors.h"
#include "ingest/reply.h"

#define JSON "application/json"

enum { RETRY_AFTER_MAX_S = 300 };

static int add_lines(struct tg_buf *lines, const struct tg_answer *a, struct tg_str origin)
{
    tg_buf_clear(lines);
    int rc = tg_cors_answer(lines, origin);
    if (!rc && a->retry_after)
        rc = tg_buf_printf(lines, "Retry-After: %d\r\n", a->retry_after);
    if (!rc && a->status == 429)
        rc = tg_buf_printf(lines, "X-RateLimit-Reset: %d\r\n", a->retry_after);
    if (!rc && a->allow)
        rc = tg_buf_printf(lines, "Allow: %s\r\n", a->allow);
    return rc;
}

void tg_answer_send(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin,
                    const struct tg_answer *a)
{
    if (add_lines(&in->lines, a, origin))
        tg_buf_clear(&in->lines); /* out of memory: the status still counts */
    const struct tg_http_reply reply = {
        .status = a->status, .content_type = a->type, .headers = tg_buf_str(&in->lines), .body = a->body};
    tg_http_reply(req, &reply);
}

void tg_answer_success(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, bool pixel)
{
    const struct tg_answer a = {
        .status = 200, .type = pixel ? "image/gif" : JSON, .body = pixel ? tg_reply_pixel : tg_reply_success};
    tg_answer_send(in, req, origin, &a);
}

static void count_refusal(struct tg_ingest *in, const char *code)
{
    struct tg_buf labels = TG_BUF_INIT(256);
    const char *z = tg_metric_label(&labels, "code", tg_str_of(code)) ? NULL : tg_buf_cstr(&labels);
    if (z)
        tg_count(tg_metric(in->metrics, TG_COUNTER, "tidegate_ingest_refused_total",
                           "Requests that were answered with an error, by its code.", z),
                 1);
    tg_buf_fini(&labels);
}

void tg_answer_error(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, struct tg_answer a,
                     const char *code, const char *message)
{
    count_refusal(in, code);
    tg_buf_clear(&in->text);
    if (tg_reply_error(&in->text, code, tg_str_of(message)))
        tg_buf_clear(&in->text);
    a.type = JSON;
    a.body = tg_buf_str(&in->text);
    tg_answer_send(in, req, origin, &a);
}

bool tg_refuse_with(const struct tg_call *c, struct tg_answer a, const char *code, const char *message)
{
    if (c->route.kind == TG_ROUTE_PIXEL) {
        count_refusal(c->in, code);
        tg_answer_success(c->in, c->req, c->origin, true);
    } else {
        tg_answer_error(c->in, c->req, c->origin, a, code, message);
    }
    return false;
}

bool tg_refuse(const struct tg_call *c, int status, const char *code, const char *message)
{
    return tg_refuse_with(c, (struct tg_answer){.status = status}, code, message);
}

struct unready {
    int status;
    const char *code, *message;
};

static struct unready unready_of(int rc)
{
    switch (rc) {
    case TG_BUSY:
        return (struct unready){429, "overloaded", "too many events wait for the disk"};
    case TG_FULL:
        return (struct unready){503, "disk_full", "there is no room for more events"};
    case TG_QUOTA:
        return (struct unready){503, "quota_full", "a quota is used up"};
    case TG_CLOSED:
        return (struct unready){503, "stopping", "the relay is stopping"};
    case TG_NOMEM:
        return (struct unready){503, "out_of_memory", "out of memory"};
    default:
        return (struct unready){503, "storage_error", "events cannot be written to disk"};
    }
}

bool tg_refuse_unready(const struct tg_call *c, int rc, const char *why, int retry_after)
{
    struct unready u = unready_of(rc);
    if (retry_after < 1 || retry_after > RETRY_AFTER_MAX_S)
        retry_after = TG_RETRY_AFTER_S;
    return tg_refuse_with(c, (struct tg_answer){.status = u.status, .retry_after = retry_after}, u.code,
                          why ? why : u.message);
}

void tg_answer_json(const struct tg_call *c, int rc, const struct tg_buf *text)
{
    if (rc) {
        (void)tg_refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    const struct tg_answer a = {.status = 200, .type = JSON, .body = tg_buf_str(text)};
    tg_answer_send(c->in, c->req, c->origin, &a);
}
