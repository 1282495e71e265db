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
    case 304:
        return "Not Modified";
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

/* No printf, and room is asked for once: this is done for every request. */
static char *put(char *to, struct tg_str s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *put_number(char *to, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return put(to, tg_str_n(digits + at, sizeof digits - at));
}

static char *put_status_line(char *to, int status)
{
    to = put(to, TG_STR("HTTP/1.1 "));
    to = put_number(to, (size_t)status);
    to = put(to, TG_STR(" "));
    to = put(to, tg_str_of(status_text(status)));
    return put(to, TG_STR("\r\n"));
}

int tg_http_reply_head(struct tg_buf *out, struct tg_http_date *date, const struct tg_http_reply *r,
                       bool keep, bool http10)
{
    enum { ALL_ELSE = 256 }; /* status line, names, the length's digits, Connection */
    struct tg_str day = tg_str_of(http_date(date)), type = tg_str_of(r->content_type);
    int rc = tg_buf_reserve(out, ALL_ELSE + day.n + type.n + r->headers.n);
    if (rc)
        return rc;
    char *start = out->data + out->len, *to = put(put_status_line(start, r->status), day);
    if (type.n)
        to = put(put(put(to, TG_STR("Content-Type: ")), type), TG_STR("\r\n"));
    if (r->status != 204 && r->status != 304)
        to = put(put_number(put(to, TG_STR("Content-Length: ")), r->body.n), TG_STR("\r\n"));
    to = put(to, r->headers);
    if (!keep)
        to = put(to, TG_STR("Connection: close\r\n"));
    else if (http10)
        to = put(to, TG_STR("Connection: keep-alive\r\n"));
    to = put(to, TG_STR("\r\n"));
    out->len += (size_t)(to - start);
    return TG_OK;
}
