#include "ingest/settings_reply.h"

#include "base/json.h"

/* Whether a Host header, or host and path of a URL, may be handed back in an answer. */
static bool is_base(struct tg_str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '-' || c == '_' || c == ':' || c == '[' || c == ']' || c == '/' || c == '~' ||
                    c == '%';
        if (!good)
            return false;
    }
    return host.n > 0 && host.n <= 255;
}

/* "Segment.io" must be there, or the browser SDK sends to its vendor whatever the page says. */
int tg_settings_segment(struct tg_buf *out, struct tg_str write_key, struct tg_str base, bool https)
{
    int rc = tg_buf_adds(out, "{\"integrations\":{\"Segment.io\":{\"apiKey\":");
    if (!rc)
        rc = tg_json_quote(out, write_key);
    if (!rc && is_base(base))
        rc = tg_buf_printf(out, ",\"apiHost\":\"%.*s/v1\",\"protocol\":\"%s\"", TG_STR_ARG(base),
                           https ? "https" : "http");
    return rc ? rc
              : tg_buf_adds(out, "}},\"plan\":{\"track\":{\"__default\":{\"enabled\":true}}},"
                                 "\"metrics\":{\"sampleRate\":0}}");
}

int tg_settings_rudder(struct tg_buf *out, struct tg_str source, struct tg_str write_key)
{
    int rc = tg_buf_adds(out, "{\"source\":{\"id\":");
    if (!rc)
        rc = tg_json_quote(out, source);
    if (!rc)
        rc = tg_buf_adds(out, ",\"name\":");
    if (!rc)
        rc = tg_json_quote(out, source);
    if (!rc)
        rc = tg_buf_adds(out, ",\"writeKey\":");
    if (!rc)
        rc = tg_json_quote(out, write_key);
    return rc ? rc
              : tg_buf_adds(
                    out,
                    ",\"enabled\":true,\"workspaceId\":\"tidegate\",\"destinations\":[],\"connections\":[],"
                    "\"config\":{\"statsCollection\":{\"errors\":{\"enabled\":false},"
                    "\"metrics\":{\"enabled\":false}}},\"dataplanes\":{}},"
                    "\"updatedAt\":\"1970-01-01T00:00:00.000Z\"}");
}
