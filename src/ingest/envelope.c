#include "ingest/envelope.h"

#include "base/clock.h"
#include "base/json.h"
#include "ingest/item_values.h"

static bool is_true(struct tg_str json)
{
    return tg_str_is(json, "true");
}

static int quoted(struct tg_items *items, struct tg_str text, struct tg_str *json)
{
    tg_buf_clear(&items->scratch);
    int rc = tg_json_quote(&items->scratch, text);
    return rc ? rc : tg_items_keep_scratch(items, json);
}

int tg_envelope_of_connection(struct tg_envelope *e, const struct tg_normalise_in *in, struct tg_items *items)
{
    *e = (struct tg_envelope){.sent_at = tg_item_time_of_text(in->sent_at_header)};
    int rc = TG_OK;
    if (in->trusted)
        return rc;
    if (in->record_ip && in->client_ip.n)
        rc = quoted(items, in->client_ip, &e->ip);
    if (!rc && in->browser && in->user_agent.n)
        rc = quoted(items, in->user_agent, &e->user_agent);
    return rc;
}

static int too_large(struct tg_request_fault *fault, const char *member, size_t n, size_t max)
{
    (void)tg_fail(&fault->err, TG_INVALID, "%s: %zu bytes; it may have %zu", member, n, max);
    return tg_request_fault(fault, "envelope_too_large");
}

int tg_envelope_use(struct tg_envelope *e, const struct tg_envelope_text *text,
                    const struct tg_normalise_in *in, struct tg_items *items, struct tg_request_fault *fault)
{
    if (text->context.n > in->max_event_bytes)
        return too_large(fault, "context", text->context.n, in->max_event_bytes);
    if (text->integrations.n > in->max_event_bytes)
        return too_large(fault, "integrations", text->integrations.n, in->max_event_bytes);
    int64_t sent_at = tg_item_time(text->sent_at);
    if (sent_at != TG_NO_TIME)
        e->sent_at = sent_at;
    e->direct = is_true(tg_json_get(text->context, "direct")); /* once: it may be large, the items many */
    int rc = tg_overlay_init(&e->context, text->context, &items->arena);
    return rc ? rc : tg_overlay_init(&e->integrations, text->integrations, &items->arena);
}

static bool wants_ip(const struct tg_envelope *e, const struct tg_event *ev, bool browser)
{
    if (!e->ip.n)
        return false;
    if (browser)
        return true;
    struct tg_str own = {NULL, 0};
    if (tg_json_may_have(ev->context, TG_STR("\"direct\"")))
        own = tg_json_get(ev->context, "direct");
    return own.n ? is_true(own) : e->direct;
}

static int merge(struct tg_envelope *e, struct tg_event *ev, bool browser, size_t max_bytes,
                 struct tg_arena *arena)
{
    struct tg_extra extras[2];
    size_t n = 0;
    if (wants_ip(e, ev, browser))
        extras[n++] = (struct tg_extra){"ip", e->ip};
    if (e->user_agent.n)
        extras[n++] = (struct tg_extra){"userAgent", e->user_agent};
    struct tg_str context = ev->context, integrations = ev->integrations;
    int rc = tg_overlay_apply(&e->context, context, extras, n, max_bytes, arena, &ev->context);
    if (rc)
        return rc;
    return tg_overlay_apply(&e->integrations, integrations, NULL, 0, max_bytes, arena, &ev->integrations);
}

int tg_envelope_complete(struct tg_envelope *e, struct tg_event *ev, const struct tg_normalise_in *in,
                         struct tg_items *items, struct tg_request_fault *fault)
{
    if (ev->timestamp == TG_NO_TIME) {
        if (ev->sent_at == TG_NO_TIME)
            ev->sent_at = e->sent_at;
        ev->timestamp = tg_item_corrected_time(ev->received_at, ev->sent_at, ev->original_timestamp);
    }
    size_t left = in->max_total_bytes - items->total;
    int rc = merge(e, ev, in->browser, left, &items->arena);
    size_t size = ev->body.n + ev->context.n + ev->integrations.n;
    if (rc == TG_TOOBIG || (!rc && size > left)) {
        (void)tg_fail(
            &fault->err, TG_INVALID,
            "with the envelope's context and integrations in every item the batch would be larger than "
            "%zu bytes; send smaller batches",
            in->max_total_bytes);
        return tg_request_fault(fault, "request_too_large");
    }
    items->total += size;
    return rc;
}
