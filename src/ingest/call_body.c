#include "ingest/call_body.h"

#include "base/gzip.h"
#include "base/json.h"
#include "ingest/answer.h"
#include "ingest/pixel.h"
#include "ingest/request.h"

static int inflate_body(struct tg_call *c, bool deflate)
{
    struct tg_inflate *z;
    int rc = tg_inflate_new(&z, deflate);
    if (rc)
        return rc;
    tg_buf_clear(&c->in->body);
    size_t most = c->in->body.max;
    if (c->source && c->source->body_bytes < most)
        c->in->body.max = c->source->body_bytes;
    rc = tg_inflate_feed(z, c->body, &c->in->body, NULL);
    c->in->body.max = most;
    if (!rc && !tg_inflate_complete(z))
        rc = TG_INVALID;
    tg_inflate_free(&z);
    c->body = tg_buf_str(&c->in->body);
    return rc;
}

bool tg_call_body_fits(const struct tg_call *c)
{
    return !c->source || c->body.n <= c->source->body_bytes ||
           tg_refuse(c, 400, "payload_too_large", "the body exceeds this source's limits.body");
}

static bool decode_body(struct tg_call *c)
{
    struct tg_str coding = tg_http_header(c->msg, "Content-Encoding");
    c->body = c->msg->body;
    if (coding.n == 0 || tg_str_ieq(coding, "identity"))
        return tg_call_body_fits(c);
    bool deflate = tg_str_ieq(coding, "deflate");
    if (!deflate && !tg_str_ieq(coding, "gzip") && !tg_str_ieq(coding, "x-gzip"))
        return tg_refuse(c, 415, "unsupported_encoding",
                         "Content-Encoding must be gzip, deflate or identity");
    switch (inflate_body(c, deflate)) {
    case TG_OK:
        return true;
    case TG_TOOBIG:
        return tg_refuse(c, 400, "payload_too_large", "the decompressed body exceeds the limit");
    case TG_NOMEM:
        return tg_refuse_unready(c, TG_NOMEM, NULL, 0);
    default:
        return tg_refuse(c, 400, "invalid_compression", "the body does not decompress");
    }
}

static bool make_pixel_body(struct tg_call *c)
{
    tg_buf_clear(&c->in->body);
    int rc = tg_pixel_event(&c->in->body, c->msg->query);
    c->body = tg_buf_str(&c->in->body);
    return rc ? tg_refuse(c, 400, "invalid_pixel", "the query holds neither base64 data nor parameters")
              : true;
}

static bool parse_body(struct tg_call *c)
{
    struct tg_request_fault fault;
    if (tg_body_parse(c->body, TG_JSON_MAX_DEPTH, &c->body, &fault))
        return tg_refuse(c, 400, fault.code, fault.err.msg);
    return true;
}

bool tg_call_body(struct tg_call *c)
{
    bool pixel = c->route.kind == TG_ROUTE_PIXEL;
    return (pixel ? make_pixel_body(c) : decode_body(c)) && parse_body(c);
}
