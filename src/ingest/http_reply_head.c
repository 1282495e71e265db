#include "ingest/http_reply_head.h"

#include "base/clock.h"
#include "base/time.h"

#include <string.h>

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 415:
        return "Unsupported Media Type";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static const char *http_date(struct tg_http_date *d)
{
    int64_t second = tg_wall_ms() / 1000;
    if (second == d->second)
        return d->text;
    struct tg_buf text = TG_BUF_INIT(sizeof d->text - 1);
    d->text[0] = '\0';
    if (!tg_buf_adds(&text, "Date: ") &&
        !tg_time_strftime(&text, "%a, %d %b %Y %H:%M:%S GMT\r\n", second * 1000)) {
        memcpy(d->text, text.data, text.len);
        d->text[text.len] = '\0';
        d->second = second;
    }
    tg_buf_fini(&text);
    return d->text;
}

/* No printf: this is done for every request. */
static int add_number(struct tg_buf *out, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return tg_buf_add(out, digits + at, sizeof digits - at);
}

static int add_status_line(struct tg_buf *out, int status)
{
    int rc = tg_buf_adds(out, "HTTP/1.1 ");
    if (!rc)
        rc = add_number(out, (size_t)status);
    if (!rc)
        rc = tg_buf_addc(out, ' ');
    if (!rc)
        rc = tg_buf_adds(out, status_text(status));
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static int add_type(struct tg_buf *out, const char *type)
{
    int rc = tg_buf_adds(out, "Content-Type: ");
    if (!rc)
        rc = tg_buf_adds(out, type);
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static int add_length(struct tg_buf *out, size_t n)
{
    int rc = tg_buf_adds(out, "Content-Length: ");
    if (!rc)
        rc = add_number(out, n);
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

int tg_http_reply_head(struct tg_buf *out, struct tg_http_date *date, const struct tg_http_reply *r,
                       bool keep, bool http10)
{
    int rc = add_status_line(out, r->status);
    if (!rc)
        rc = tg_buf_adds(out, http_date(date));
    if (!rc && r->content_type)
        rc = add_type(out, r->content_type);
    if (!rc && r->status != 204)
        rc = add_length(out, r->body.n);
    if (!rc && r->headers.n)
        rc = tg_buf_addstr(out, r->headers);
    if (!rc && (!keep || http10))
        rc = tg_buf_adds(out, keep ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
    return rc ? rc : tg_buf_adds(out, "\r\n");
}
