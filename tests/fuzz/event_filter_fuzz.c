/* Filters of destinations against events. Input: one byte of switches, the filter's JSON, a NUL, the event's
 * body and, after another NUL, a completed context. A filter that is accepted must decide, the same way each
 * time, and leave valid JSON that is no longer than what there was; what it drops must be gone. */
#include "base/clock.h"
#include "base/event_filter.h"
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 100 };

static void check(bool good)
{
    if (!good)
        abort();
}

/* Takes what stands before the next NUL off the input; empty unless it is valid JSON. */
static struct tg_str take_json(struct tg_str *rest)
{
    const char *end = rest->n ? memchr(rest->p, 0, rest->n) : NULL;
    struct tg_str part = tg_str_n(rest->p, end ? (size_t)(end - rest->p) : rest->n), value;
    size_t used = part.n + (end != NULL);
    *rest = tg_str_n(rest->p + used, rest->n - used);
    return tg_json_validate(part, DEPTH, &value, NULL) ? tg_str_n(NULL, 0) : value;
}

/* Follows a path of plain keys to where it ends. */
static struct tg_str follow(struct tg_str object, struct tg_str path)
{
    while (object.n && path.n) {
        const char *dot = memchr(path.p, '.', path.n);
        size_t n = dot ? (size_t)(dot - path.p) : path.n;
        struct tg_str found = {0};
        for (struct tg_json_walk w = tg_json_walk(object);
             tg_json_type(object) == TG_JSON_OBJECT && tg_json_next(&w);) {
            struct tg_str key;
            if (tg_json_plain(w.key, &key) && key.n == n && memcmp(key.p, path.p, n) == 0)
                found = w.value;
        }
        object = found;
        n += dot != NULL;
        path = tg_str_n(path.p + n, path.n - n);
    }
    return object;
}

static void check_dropped(struct tg_str spec, struct tg_str body)
{
    struct tg_str list = tg_json_get(spec, "drop"), path;
    if (!list.n)
        return;
    for (struct tg_json_walk w = tg_json_walk(list); tg_json_next(&w);) {
        /* A path that ends with a dot names the member "", which this reader takes for the object around it.
         */
        if (tg_json_plain(w.value, &path) && path.p[path.n - 1] != '.')
            check(!follow(body, path).n);
    }
}

static void check_outcome(struct tg_str spec, const struct tg_event *ev, const struct tg_event *out)
{
    check(tg_json_validate(out->body, DEPTH, NULL, NULL) == TG_OK && out->body.n <= ev->body.n);
    check(tg_json_type(out->body) == TG_JSON_OBJECT);
    check(!out->context.n || tg_json_validate(out->context, DEPTH, NULL, NULL) == TG_OK);
    check(out->context.n <= ev->context.n);
    check_dropped(spec, out->body);
    struct tg_buf forward = TG_BUF_INIT(1 << 24);
    check(tg_event_forward(out, &forward) == TG_OK);
    check(tg_json_validate(tg_buf_str(&forward), DEPTH, NULL, NULL) == TG_OK);
    tg_buf_fini(&forward);
}

static void apply(struct tg_str spec, const struct tg_event *ev)
{
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX), again = TG_BUF_INIT(SIZE_MAX);
    struct tg_event out, second;
    const char *held = NULL, *held_again = NULL;
    check(tg_filter_apply(spec, ev, &bytes, &out, &held) == TG_OK);
    if (!held)
        check_outcome(spec, ev, &out);
    /* What has been pruned once has nothing left to lose. */
    check(tg_filter_apply(spec, &out, &again, &second, &held_again) == TG_OK);
    check(held == held_again);
    check(held || (second.body.n == out.body.n && memcmp(second.body.p, out.body.p, out.body.n) == 0));
    tg_buf_fini(&bytes);
    tg_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct tg_str rest = tg_str_n((const char *)data + 1, size - 1);
    struct tg_str spec = take_json(&rest), body = take_json(&rest), context = take_json(&rest);
    struct tg_err err = {0};
    if (!spec.n)
        return 0;
    if (tg_filter_check(spec, &err)) {
        check(err.msg[0]);
        return 0;
    }
    if (!body.n || tg_json_type(body) != TG_JSON_OBJECT)
        return 0;
    if (context.n && tg_json_type(context) != TG_JSON_OBJECT)
        context = tg_str_n(NULL, 0);
    const struct tg_event ev = {.type = (enum tg_event_type)(data[0] % TG_EVENT_TYPES),
                                .source = TG_STR("s"),
                                .message_id =
                                    tg_str_n((const char *)data, 1 + size % 4 < size ? 1 + size % 4 : 1),
                                .name = data[0] & 128 ? TG_STR("E") : TG_STR("a\0b"),
                                .received_at = 1767323046000,
                                .timestamp = 1767323046000,
                                .original_timestamp = TG_NO_TIME,
                                .sent_at = TG_NO_TIME,
                                .context = context,
                                .body = body};
    apply(spec, &ev);
    return 0;
}
