/* What accepting costs before the disk: one body of 100 track events of about 1.1 KB each is validated, taken
 * apart and normalised, and every event's header is encoded. Prints microseconds of CPU per event for each
 * step, the best of several rounds, with an envelope that lends a context and without.
 *
 *     make build/release/libingest.a build/release/libbase.a
 *     cc -O2 -D_GNU_SOURCE -Isrc tests/bench/ingest_bench.c build/release/libingest.a build/release/libbase.a
 * \ -lcrypto -lz -lm -o build/ingest_bench */
#include "ingest/normalise.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ITEMS = 100, ROUNDS = 9, REPEATS = 100 };

static const char item[] =
    "{\"anonymousId\":\"f0a1c2d3-1111-4222-8333-abcdefabcdef\",\"userId\":\"user-90210\",\"messageId\":"
    "\"ajs-next-1712345678901-7b3c1f0e-aaaa-bbbb-cccc-%012d\",\"type\":\"track\",\"event\":\"Order "
    "Completed\",\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"properties\":{\"order_id\":"
    "\"50314b8e9bcf000000000000\",\"total\":27.5,\"subtotal\":22.5,\"revenue\":25.0,\"shipping\":3,\"tax\":2,"
    "\"discount\":2.5,\"coupon\":\"hasbros\",\"currency\":\"USD\",\"products\":[{\"product_id\":"
    "\"507f1f77bcf86cd799439011\",\"sku\":\"45790-32\",\"name\":\"Monopoly: 3rd Edition\",\"price\":19,"
    "\"quantity\":1,\"category\":\"Games\"},{\"product_id\":\"505bd76785ebb509fc183733\",\"sku\":"
    "\"46493-32\",\"name\":\"Uno Card Game\",\"price\":3.99,\"quantity\":2}]},\"context\":{\"ip\":"
    "\"203.0.113.7\",\"locale\":\"en-GB\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) "
    "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36\",\"library\":{\"name\":"
    "\"analytics.js\",\"version\":\"next-1.70.0\"},\"page\":{\"path\":\"/checkout/done\",\"referrer\":"
    "\"https://shop.example/cart\",\"search\":\"?irclickid=abc\",\"title\":\"Thank you\",\"url\":"
    "\"https://shop.example/checkout/done?irclickid=abc\"}},\"integrations\":{\"All\":true}}";

struct cost {
    double validate, normalise, encode;
};

static double now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(int rc)
{
    if (rc) {
        (void)fprintf(stderr, "ingest_bench: %s\n", tg_code_text(rc));
        exit(1);
    }
}

static void make_body(struct tg_buf *body, const char *envelope)
{
    must(tg_buf_adds(body, "{\"batch\":["));
    for (int i = 0; i < ITEMS; i++) {
        must(tg_buf_adds(body, i ? "," : ""));
        must(tg_buf_printf(body, item, i));
    }
    must(tg_buf_printf(body, "],%s\"sentAt\":\"2026-01-02T03:04:06.001Z\",\"writeKey\":\"key\"}", envelope));
}

static void one(struct tg_str text, struct tg_items *items, struct tg_buf *header, struct cost *cost)
{
    struct tg_request_fault fault;
    struct tg_str body;
    double at = now_us();
    must(tg_body_parse(text, TG_JSON_MAX_DEPTH, &body, &fault));
    double next = now_us();
    cost->validate += next - at;
    const struct tg_normalise_in in = {
        .body = body,
        .batch = true,
        .source = TG_STR("web"),
        .received_at = INT64_C(1767323047000),
        .record_ip = true,
        .client_ip = TG_STR("203.0.113.9"),
        .max_event_bytes = 512 * 1024,
        .max_items = 20000,
        .max_total_bytes = 16 * 1024 * 1024,
    };
    at = next;
    must(tg_normalise(&in, items, &fault));
    next = now_us();
    cost->normalise += next - at;
    at = next;
    tg_buf_clear(header);
    for (size_t i = 0; i < items->n_events; i++)
        must(tg_event_encode(&items->events[i], header));
    cost->encode += now_us() - at;
    if (items->n_events != ITEMS)
        must(TG_INVALID);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static void measure(const char *what, const char *envelope)
{
    struct tg_buf body = TG_BUF_INIT(SIZE_MAX), header = TG_BUF_INIT(SIZE_MAX);
    struct tg_items items;
    struct cost best = {1e9, 1e9, 1e9};
    tg_items_init(&items);
    make_body(&body, envelope);
    for (int round = 0; round < ROUNDS; round++) {
        struct cost cost = {0};
        for (int i = 0; i < REPEATS; i++)
            one(tg_buf_str(&body), &items, &header, &cost);
        best.validate = least(best.validate, cost.validate);
        best.normalise = least(best.normalise, cost.normalise);
        best.encode = least(best.encode, cost.encode);
    }
    double n = (double)ITEMS * REPEATS;
    (void)printf("%-22s %4zu B/event  validate %.3f  normalise %.3f  encode %.3f  sum %.3f us/event\n", what,
                 body.len / ITEMS, best.validate / n, best.normalise / n, best.encode / n,
                 (best.validate + best.normalise + best.encode) / n);
    tg_items_fini(&items);
    tg_buf_fini(&body);
    tg_buf_fini(&header);
}

int main(void)
{
    measure("plain envelope", "");
    measure("envelope with context", "\"context\":{\"library\":{\"name\":\"go\",\"version\":\"3.0\"},\"app\":"
                                     "{\"name\":\"shop\",\"build\":\"17\"}},");
    return 0;
}
