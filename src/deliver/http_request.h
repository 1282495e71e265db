/* A script's request, as curl is told it: method, address, headers, body. */
#ifndef TG_DELIVER_HTTP_REQUEST_H
#define TG_DELIVER_HTTP_REQUEST_H

#include "deliver/http_call.h"
#include "script/host.h"

/* `request` is lent until the transfer has ended. TG_INVALID: it cannot be sent, and *err says why. */
TG_MUST_CHECK int tg_http_request_set(struct tg_http_call *call, const struct tg_request *request,
                                      int64_t timeout_ms, struct tg_err *err);

#endif
