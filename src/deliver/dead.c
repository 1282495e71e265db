#include "deliver/dead.h"

#include "base/clock.h"
#include "base/mask.h"
#include "base/mem.h"

#include <stdio.h>

enum {
    REQUEST_BODY_MAX = 64 << 10,
    RESPONSE_BODY_MAX = 4096,
    MESSAGE_MAX = 16 << 10,
    TEXT_MAX = 256 << 10,
    SECRET_MIN = 4,
    SECRET_MAX = 4096
};

static struct tg_str first(struct tg_str s, size_t n)
{
    return tg_str_n(s.p, s.n < n ? s.n : n);
}

static int add_headers(struct tg_buf *out, const struct tg_header *headers, size_t n)
{
    int rc = TG_OK;
    for (size_t i = 0; i < n && rc == TG_OK; i++) {
        rc = tg_buf_printf(out, "%s: ", headers[i].name);
        if (rc == TG_OK && tg_mask_header(tg_str_of(headers[i].name)))
            rc = tg_buf_adds(out, "***");
        else if (rc == TG_OK)
            rc = tg_mask_text(out, tg_str_of(headers[i].value));
        if (rc == TG_OK)
            rc = tg_buf_addc(out, '\n');
    }
    return rc;
}

/* At most `max` bytes of it. A secret that the cut would halve was not masked: what it can be part of goes
 * too. */
static int add_cut(struct tg_buf *out, struct tg_str text, size_t max)
{
    size_t from = out->len;
    int rc = tg_mask_text(out, first(text, max + SECRET_MAX));
    if (rc == TG_OK && text.n > max + SECRET_MAX)
        out->len -= out->len - from < SECRET_MAX ? out->len - from : SECRET_MAX;
    return rc;
}

static int add_body(struct tg_buf *out, struct tg_str body, size_t max)
{
    if (!body.n)
        return TG_OK;
    int rc = tg_buf_addc(out, '\n');
    return rc == TG_OK ? add_cut(out, body, max) : rc;
}

static int add_request(struct tg_buf *out, const struct tg_request *r)
{
    int rc = tg_buf_printf(out, "%s ", r->method);
    if (rc == TG_OK)
        rc = tg_mask_text(out, tg_str_of(r->url));
    if (rc == TG_OK)
        rc = tg_buf_addc(out, '\n');
    if (rc == TG_OK)
        rc = add_headers(out, r->headers, r->n_headers);
    return rc == TG_OK ? add_body(out, tg_str_n(r->body, r->body ? r->body_len : 0), REQUEST_BODY_MAX) : rc;
}

static int add_response(struct tg_buf *out, const struct tg_response *r)
{
    int rc = r->status ? tg_buf_printf(out, "%d\n", r->status) : tg_mask_text(out, tg_str_of(r->error));
    if (rc == TG_OK)
        rc = add_headers(out, r->headers, r->n_headers);
    return rc == TG_OK ? add_body(out, r->body, RESPONSE_BODY_MAX) : rc;
}

/* Replaces each `secret` in text by three asterisks. */
static void hide(struct tg_buf *text, struct tg_str secret)
{
    if (secret.n < SECRET_MIN || !text->len)
        return;
    char *to = text->data, *from = text->data, *end = text->data + text->len, *found;
    while ((found = memmem(from, (size_t)(end - from), secret.p, secret.n))) {
        memmove(to, from, (size_t)(found - from));
        to += found - from;
        memcpy(to, "***", 3);
        to += 3;
        from = found + secret.n;
    }
    memmove(to, from, (size_t)(end - from));
    text->len = (size_t)(to - text->data) + (size_t)(end - from);
}

/* A partner may say what it was given, and credentials that a script built itself are known by their header
 * only. Nor is there a name for what it made up, such as a password: it says so in `secret`. */
static void hide_credentials(struct tg_buf *text, const struct tg_request *r)
{
    if (r->secret)
        hide(text, tg_str_of(r->secret));
    for (size_t i = 0; i < r->n_headers; i++) {
        struct tg_str value = tg_str_of(r->headers[i].value);
        const char *space = value.n ? memchr(value.p, ' ', value.n) : NULL;
        if (!tg_mask_header(tg_str_of(r->headers[i].name)))
            continue;
        hide(text, value);
        if (space) /* without its scheme */
            hide(text, tg_str_n(space + 1, value.n - (size_t)(space + 1 - value.p)));
    }
}

/* What cannot be kept for lack of memory is left out: the event itself matters more. */
void tg_dead_note(struct item *item, const char *place, const struct tg_request *request,
                  const struct tg_response *response)
{
    tg_buf_clear(&item->request_text);
    tg_buf_clear(&item->response_text);
    item->request_text.max = item->response_text.max = TEXT_MAX;
    if (request && (tg_buf_adds(&item->request_text, place) != TG_OK ||
                    add_request(&item->request_text, request) != TG_OK))
        tg_buf_clear(&item->request_text);
    if (response && add_response(&item->response_text, response) != TG_OK)
        tg_buf_clear(&item->response_text);
    if (request) {
        hide_credentials(&item->request_text, request);
        hide_credentials(&item->response_text, request);
    }
}

void tg_dead_answer(const struct tg_request *request, const struct tg_response *response,
                    char text[TG_MESSAGE_MAX])
{
    struct tg_buf url = TG_BUF_INIT(TEXT_MAX);
    char status[16] = "no answer";
    if (response->status)
        snprintf(status, sizeof status, "%d", response->status);
    if (tg_mask_text(&url, tg_str_of(request->url)) != TG_OK)
        tg_buf_clear(&url);
    hide_credentials(&url, request);
    const char *query = url.len ? memchr(url.data, '?', url.len) : NULL;
    if (query) /* after masking: all of the address may be the secret */
        url.len = (size_t)(query - url.data);
    snprintf(text, TG_MESSAGE_MAX, "%s from %s %.*s", status, request->method, TG_STR_ARG(tg_buf_str(&url)));
    tg_buf_fini(&url);
}

struct texts {
    struct tg_buf all;
    size_t source, message_id, name, message;
};

/* Each text NUL-terminated behind the other; offsets, because the buffer moves as it grows. */
static int add_text(struct tg_buf *all, struct tg_str text, size_t *at)
{
    *at = all->len;
    int rc = tg_buf_addstr(all, text);
    return rc == TG_OK ? tg_buf_addc(all, 0) : rc;
}

static int gather(struct texts *t, const struct item *item)
{
    struct tg_buf masked = TG_BUF_INIT(TEXT_MAX);
    tg_buf_init(&t->all, 16 << 20);
    /* A script may complain with all that it has got. */
    int rc = add_cut(&masked, tg_str_of(item->message ? item->message : ""), MESSAGE_MAX);
    if (rc == TG_OK)
        rc = add_text(&t->all, item->event.source, &t->source);
    if (rc == TG_OK)
        rc = add_text(&t->all, item->event.message_id, &t->message_id);
    if (rc == TG_OK)
        rc = add_text(&t->all, item->event.name, &t->name);
    if (rc == TG_OK)
        rc = add_text(&t->all, tg_buf_str(&masked), &t->message);
    tg_buf_fini(&masked);
    return rc;
}

int tg_dead_put(struct item *item, tg_state_done *done)
{
    struct tg_engine *e = item->outlet->engine;
    struct texts t;
    int64_t now = tg_wall_ms();
    int rc = gather(&t, item);
    if (rc == TG_OK) {
        struct tg_dead dead = {
            .destination = item->outlet->name,
            .source = t.all.data + t.source,
            .message_id = t.all.data + t.message_id,
            .type = item->event.message_id.n ? tg_event_type_name(item->event.type) : "",
            .event_name = t.all.data + t.name,
            .reason = item->reason,
            .message = t.all.data + t.message,
            .status = item->status,
            .attempts = item->attempts,
            .received_at = item->received_at,
            .first = item->first_failure ? item->first_failure : now,
            .last = now,
            .header = item->header,
            .body = item->body,
            .request = tg_buf_str(&item->request_text),
            .response = tg_buf_str(&item->response_text),
            .generation = e->generation,
            .partition = item->partition,
            .seq = item->seq,
        };
        rc = item->write == WRITE_RETRY_TO_DEAD
                 ? tg_state_retry_to_dead(e->o.state, item->retry_id, &dead, done, item)
                 : tg_state_put_dead(e->o.state, &dead, done, item);
    }
    tg_buf_fini(&t.all);
    return rc;
}
