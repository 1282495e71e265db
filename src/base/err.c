#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *tg_code_text(int code)
{
    switch (code) {
    case TG_OK:
        return "ok";
#define X(name, value, text)                                                                                 \
    case name:                                                                                               \
        return text;
        TG_ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

int tg_fail_set(struct tg_err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return TG_FULL;
    case ENOMEM:
        return TG_NOMEM;
    case ENOENT:
        return TG_NOTFOUND;
    default:
        return TG_IO;
    }
}

int tg_fail_errno_set(struct tg_err *err, int errnum, const char *fmt, ...)
{
    int code = code_of_errno(errnum);
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof err->msg)
            (void)snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", strerror(errnum));
        err->code = code;
    }
    return code;
}

int tg_err_prefix(struct tg_err *err, const char *fmt, ...)
{
    if (!err)
        return TG_OK;
    struct tg_err old = *err;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->msg)
        (void)snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %.*s",
                       (int)(sizeof err->msg - (size_t)n), old.msg);
    return err->code;
}
