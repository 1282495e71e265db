#include "ingest/http_msg.h"

void tg_http_msg_clear(struct tg_http_msg *msg)
{
    msg->n_headers = 0;
    msg->method = TG_HTTP_OTHER;
    msg->method_name = "";
    msg->path = msg->query = msg->body = tg_str_n(NULL, 0);
    msg->keep_alive = msg->http10 = false;
    msg->consumed = 0;
}

struct tg_str tg_http_header(const struct tg_http_msg *msg, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < msg->n_headers; i++) {
        if (msg->headers[i].name.n == n && strncasecmp(msg->headers[i].name.p, name, n) == 0)
            return msg->headers[i].value;
    }
    return tg_str_n(NULL, 0);
}
