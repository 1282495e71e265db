/* Errors: a code for the program, a message for the person.
 *
 * Functions that can fail return 0 (TG_OK) or one of the negative codes below and, where they take a
 * `struct tg_err *`, say what went wrong and where. Each level may prefix its own name, so that the line that
 * a person reads goes from the outside in: "destination impact: settings: campaignId: required". `err` may
 * always be NULL. */
#ifndef TG_BASE_ERR_H
#define TG_BASE_ERR_H

#define TG_ERR_MAP(X)                                                                                        \
    X(TG_NOMEM, -1, "out of memory")                                                                         \
    X(TG_IO, -2, "input/output error")                                                                       \
    X(TG_FULL, -3, "full")                                                                                   \
    X(TG_INVALID, -4, "invalid")                                                                             \
    X(TG_NOTFOUND, -5, "not found")                                                                          \
    X(TG_TOOBIG, -6, "too big")                                                                              \
    X(TG_BUSY, -7, "busy")                                                                                   \
    X(TG_CORRUPT, -8, "corrupt")                                                                             \
    X(TG_BADVERSION, -9, "unsupported version")                                                              \
    X(TG_SCRIPT, -10, "script error")                                                                        \
    X(TG_CLOSED, -11, "closed")                                                                              \
    X(TG_NETWORK, -12, "network error")                                                                      \
    X(TG_UNSUPPORTED, -13, "unsupported")                                                                    \
    X(TG_EXISTS, -14, "exists already")                                                                      \
    X(TG_QUOTA, -15, "quota used up")

enum tg_code {
    TG_OK = 0,
#define X(name, value, text) name = value,
    TG_ERR_MAP(X)
#undef X
};

struct tg_err {
    int code;
    char msg[1024];
};

/* Marks results that must be looked at. */
#define TG_MUST_CHECK        __attribute__((warn_unused_result))
#define TG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* The short text of a code ("out of memory"). Never NULL. */
const char *tg_code_text(int code);

/* Sets code and message; returns `code`, so that `return tg_fail(err, TG_INVALID, "…")` reads well. `code` is
 * never 0, and the wrapper lets the compiler and the analyzers know. */
int tg_fail_set(struct tg_err *err, int code, const char *fmt, ...) TG_PRINTF(3, 4);
#define tg_fail(err, code, ...) tg_not_ok(tg_fail_set((err), (code), __VA_ARGS__))

/* As tg_fail with TG_IO (TG_FULL for ENOSPC and EDQUOT, TG_NOMEM for ENOMEM, TG_NOTFOUND for ENOENT), and ":
 * " and strerror(errnum) behind the message. */
int tg_fail_errno_set(struct tg_err *err, int errnum, const char *fmt, ...) TG_PRINTF(3, 4);
#define tg_fail_errno(err, errnum, ...) tg_not_ok(tg_fail_errno_set((err), (errnum), __VA_ARGS__))

static inline int tg_not_ok(int code)
{
    if (code == TG_OK)
        __builtin_unreachable();
    return code;
}

/* Puts "<text>: " before the message that is there. Cuts at the end of the buffer. Returns err's code (0 if
 * NULL). */
int tg_err_prefix(struct tg_err *err, const char *fmt, ...) TG_PRINTF(2, 3);

#endif
