/* Requests' JSON into events. Input: one byte of switches, then the body. Every event that comes out must be
 * whole: an id, valid JSON in its parts, spans inside the body, forward bytes that are one object, and the
 * stored header must read back. */
#include "base/json.h"
#include "ingest/normalise.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static void check_json(struct tg_str s)
{
    check(!s.n || tg_json_validate(s, 200, NULL, NULL) == TG_OK);
}

static void check_text(struct tg_str s)
{
    check(!s.n || tg_json_utf8(s.p, s.n) == s.n);
}

static void check_inside(struct tg_str inner, struct tg_str outer)
{
    check(inner.n && inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n);
}

static void check_event(const struct tg_event *ev, struct tg_str body)
{
    check(ev->message_id.n > 0 && ev->message_id.n <= 256);
    check((unsigned)ev->type < TG_EVENT_TYPES);
    check_text(ev->message_id);
    check_text(ev->user_id);
    check_text(ev->anonymous_id);
    check_text(ev->name);
    check_json(ev->context);
    check_json(ev->integrations);
    check_json(ev->bundled);
    check_inside(ev->body, body);
    struct tg_buf header = TG_BUF_INIT(1 << 24), out = TG_BUF_INIT(1 << 24);
    struct tg_event again;
    check(tg_event_encode(ev, &header) == TG_OK);
    check(tg_event_decode(tg_buf_str(&header), ev->body, &again, NULL) == TG_OK);
    check(tg_event_forward(&again, &out) == TG_OK);
    check_json(tg_buf_str(&out));
    tg_buf_fini(&header);
    tg_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct tg_normalise_in in = {
        .batch = data[0] & 1,
        .route_type = (enum tg_event_type)((data[0] >> 1) % TG_EVENT_TYPES),
        .source = TG_STR("s"),
        .received_at = 1767323046000,
        .trusted = data[0] & 16,
        .browser = data[0] & 32,
        .record_ip = data[0] & 64,
        .allow_delete = data[0] & 128,
        .client_ip = TG_STR("192.0.2.1"),
        .user_agent = TG_STR("agent \"x\""),
        .max_event_bytes = 4096,
        .max_items = 100,
        .max_total_bytes = 32768,
    };
    static struct tg_items items;
    if (!items.scratch.max)
        tg_items_init(&items);
    struct tg_request_fault fault = {0};
    if (tg_body_parse(tg_str_n((const char *)data + 1, size - 1), 32, &in.body, &fault)) {
        check(fault.code && fault.err.msg[0]);
        return 0;
    }
    struct tg_buf key = TG_BUF_INIT(1 << 20);
    if (tg_body_write_key(in.body, &key) == TG_OK)
        check_text(tg_buf_str(&key));
    tg_buf_fini(&key);
    int rc = tg_normalise(&in, &items, &fault);
    check(rc == TG_OK || (rc == TG_INVALID && fault.code && fault.err.msg[0]));
    check(rc == TG_OK || items.n_events + items.n_bad == 0);
    for (size_t i = 0; i < items.n_events; i++)
        check_event(&items.events[i], in.body);
    for (size_t i = 0; i < items.n_bad; i++) {
        check(items.bad[i].reason.n && items.bad[i].detail.n);
        check_text(items.bad[i].detail);
        check_text(items.bad[i].message_id);
        check_json(items.bad[i].body);
        check_inside(items.bad[i].body, in.body);
    }
    return 0;
}
