#include "ingest/reply.h"

#include "base/json.h"

static const char pixel[] =
    "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    "!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;";

const struct tg_str tg_reply_success = {"{\"success\":true}", 16};
const struct tg_str tg_reply_pixel = {pixel, sizeof pixel - 1};

int tg_reply_error(struct tg_buf *out, const char *code, struct tg_str message)
{
    int rc = tg_buf_printf(out, "{\"success\":false,\"code\":\"%s\",\"message\":", code);
    if (!rc)
        rc = tg_json_quote(out, message);
    if (!rc)
        rc = tg_buf_adds(out, ",\"error\":");
    if (!rc)
        rc = tg_json_quote(out, message);
    return rc ? rc : tg_buf_addc(out, '}');
}
