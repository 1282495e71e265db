/* Stored event headers and forward bytes. Input: one byte with the header's length, the header, the body.
 * Whatever decodes must encode to a form that decodes to the same; whatever valid object is forwarded must be
 * a valid object again. */
#include "base/event.h"
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static void forward(const struct tg_event *decoded)
{
    static const struct tg_event plain = {.message_id = {"m", 1}};
    struct tg_event ev = decoded ? *decoded : plain;
    if (tg_json_validate(ev.body, 64, NULL, NULL))
        return;
    /* The spool hands out only what ingest wrote: valid JSON here, valid UTF-8 in the id. */
    if (ev.context.n && tg_json_validate(ev.context, 64, NULL, NULL))
        ev.context.n = 0;
    if (ev.integrations.n && tg_json_validate(ev.integrations, 64, NULL, NULL))
        ev.integrations.n = 0;
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    int rc = tg_event_forward(&ev, &out);
    bool object = tg_json_type(tg_str_trim(ev.body)) == TG_JSON_OBJECT;
    check((rc == TG_OK) == object);
    if (rc == TG_OK) {
        check(tg_json_validate(tg_buf_str(&out), 65, NULL, NULL) == TG_OK);
        check(tg_json_get(tg_buf_str(&out), "writeKey").n == 0);
        check(tg_json_get(tg_buf_str(&out), "_metadata").n == 0);
        check(tg_json_get(tg_buf_str(&out), "messageId").n > 0);
    }
    tg_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t n = data[0];
    if (n > size - 1)
        n = size - 1;
    struct tg_str header = tg_str_n((const char *)data + 1, n);
    struct tg_str body = tg_str_n((const char *)data + 1 + n, size - 1 - n);
    struct tg_event ev;
    if (tg_event_decode(header, body, &ev, NULL)) {
        struct tg_event any = {.message_id = TG_STR("m"), .body = body};
        forward(&any);
        return 0;
    }
    struct tg_buf again = TG_BUF_INIT(1 << 20), third = TG_BUF_INIT(1 << 20);
    struct tg_event second;
    check(tg_event_encode(&ev, &again) == TG_OK);
    check(tg_event_decode(tg_buf_str(&again), body, &second, NULL) == TG_OK);
    check(tg_event_encode(&second, &third) == TG_OK);
    check(tg_str_eq(tg_buf_str(&again), tg_buf_str(&third)));
    forward(&ev);
    tg_buf_fini(&again);
    tg_buf_fini(&third);
    return 0;
}
