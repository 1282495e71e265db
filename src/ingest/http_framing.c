#include "ingest/http_framing.h"

struct found {
    struct tg_str length, coding;
    unsigned lengths, codings, hosts;
    bool expects_continue;
};

static struct found find_headers(const struct tg_http_msg *msg)
{
    struct found f = {.lengths = 0};
    for (size_t i = 0; i < msg->n_headers; i++) {
        const struct tg_http_header *h = &msg->headers[i];
        if (h->name.n == 14 && tg_str_ieq(h->name, "Content-Length")) {
            f.length = h->value;
            f.lengths++;
        } else if (h->name.n == 17 && tg_str_ieq(h->name, "Transfer-Encoding")) {
            f.coding = h->value;
            f.codings++;
        } else if (h->name.n == 4 && tg_str_ieq(h->name, "Host")) {
            f.hosts++;
        } else if (h->name.n == 6 && tg_str_ieq(h->name, "Expect")) {
            f.expects_continue = tg_str_ieq(h->value, "100-continue");
        }
    }
    return f;
}

static bool parse_length(struct tg_str text, uint64_t *length)
{
    *length = 0;
    if (text.n == 0 || text.n > 18)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *length = *length * 10 + (uint64_t)(text.p[i] - '0');
    }
    return true;
}

static enum tg_http_parse malformed(struct tg_http_refusal *why, const char *reason)
{
    return tg_http_refuse(why, TG_HTTP_MALFORMED, reason);
}

enum tg_http_parse tg_http_framing(const struct tg_http_msg *msg, size_t body_limit,
                                   struct tg_http_framing *out, struct tg_http_refusal *why)
{
    struct found f = find_headers(msg);
    *out = (struct tg_http_framing){.chunked = f.codings > 0};
    if (f.hosts != 1 && !(msg->http10 && f.hosts == 0))
        return malformed(why, f.hosts ? "more than one Host header" : "no Host header");
    if (f.lengths && f.codings)
        return malformed(why, "Content-Length beside Transfer-Encoding");
    if (f.lengths > 1)
        return malformed(why, "more than one Content-Length");
    if (f.codings > 1 || (f.codings && (msg->http10 || !tg_str_ieq(f.coding, "chunked"))))
        return malformed(why, "the only Transfer-Encoding known is chunked, on HTTP/1.1");
    if (f.lengths && !parse_length(f.length, &out->length))
        return malformed(why, "Content-Length is not a number");
    if (out->length > body_limit)
        return tg_http_refuse(why, TG_HTTP_BODY_SIZE, "the body exceeds the limit");
    out->expects_continue = f.expects_continue && !msg->http10 && (f.codings || out->length);
    return TG_HTTP_DONE;
}
