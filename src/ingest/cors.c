#include "ingest/cors.h"

#include "base/url.h"

/* Chrome's cap; others cap lower by themselves. */
#define MAX_AGE "7200"

int tg_cors_answer(struct tg_buf *lines, struct tg_str origin)
{
    int rc = tg_buf_adds(lines, "Vary: Origin\r\n");
    if (rc || origin.n == 0 || tg_has_header_break(origin))
        return rc;
    rc = tg_buf_adds(lines, "Access-Control-Allow-Origin: ");
    if (!rc)
        rc = tg_buf_addstr(lines, origin);
    return rc ? rc
              : tg_buf_adds(lines, "\r\nAccess-Control-Allow-Credentials: true\r\n"
                                   "Access-Control-Expose-Headers: Retry-After\r\n");
}

int tg_cors_preflight(struct tg_buf *lines, const struct tg_http_msg *msg)
{
    int rc = tg_cors_answer(lines, tg_http_header(msg, "Origin"));
    if (!rc)
        rc = tg_buf_adds(lines, "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
                                "Access-Control-Max-Age: " MAX_AGE "\r\n");
    struct tg_str wanted = tg_http_header(msg, "Access-Control-Request-Headers");
    if (rc || wanted.n == 0 || tg_has_header_break(wanted))
        return rc;
    rc = tg_buf_adds(lines, "Access-Control-Allow-Headers: ");
    if (!rc)
        rc = tg_buf_addstr(lines, wanted);
    return rc ? rc : tg_buf_adds(lines, "\r\n");
}
