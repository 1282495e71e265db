/* Log lines on stderr: levelled key=value pairs, or JSON objects by option. One write(2) a line, so that
 * lines of several processes do not mix. Thread-safe. Secrets registered with tg_mask (base/mask.h) are
 * printed as ***.
 *
 *     tg_warn("destination parked", TG_FS("destination", name), TG_FI("status", 401));
 *     time=2026-01-02T03:04:05.678Z level=warn worker=0 msg="destination parked" destination=impact
 * status=401 */
#ifndef TG_BASE_LOG_H
#define TG_BASE_LOG_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum tg_log_level { TG_LOG_DEBUG, TG_LOG_INFO, TG_LOG_WARN, TG_LOG_ERROR };

struct tg_field {
    const char *key; /* NULL ends the list */
    enum { TG_FIELD_STR, TG_FIELD_INT, TG_FIELD_NUM, TG_FIELD_BOOL } kind;
    struct tg_str s;
    int64_t i;
    double d;
};

#define TG_FS(k, z)                                                                                          \
    {                                                                                                        \
        .key = (k), .kind = TG_FIELD_STR, .s = tg_str_of(z)                                                  \
    }
#define TG_FSTR(k, v)                                                                                        \
    {                                                                                                        \
        .key = (k), .kind = TG_FIELD_STR, .s = (v)                                                           \
    }
#define TG_FI(k, v)                                                                                          \
    {                                                                                                        \
        .key = (k), .kind = TG_FIELD_INT, .i = (int64_t)(v)                                                  \
    }
#define TG_FD(k, v)                                                                                          \
    {                                                                                                        \
        .key = (k), .kind = TG_FIELD_NUM, .d = (v)                                                           \
    }
#define TG_FB(k, v)                                                                                          \
    {                                                                                                        \
        .key = (k), .kind = TG_FIELD_BOOL, .i = (v)                                                          \
    }

#ifdef TG_CPPCHECK /* it does not know __VA_OPT__ */
#define tg_log(level, ...) ((void)(level))
#else
#define tg_log(level, msg, ...)                                                                              \
    tg_log_fields((level), (msg), (struct tg_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = 0}})
#endif
#define tg_debug(...) tg_log(TG_LOG_DEBUG, __VA_ARGS__)
#define tg_info(...)  tg_log(TG_LOG_INFO, __VA_ARGS__)
#define tg_warn(...)  tg_log(TG_LOG_WARN, __VA_ARGS__)
#define tg_error(...) tg_log(TG_LOG_ERROR, __VA_ARGS__)

void tg_log_fields(enum tg_log_level level, const char *msg, const struct tg_field *fields);

void tg_log_set_level(enum tg_log_level least);
bool tg_log_level_parse(const char *name, enum tg_log_level *level);
void tg_log_set_json(bool on);
/* "supervisor", "0", "1" … put into every line as worker=; NULL for none. The string is kept by pointer. */
void tg_log_set_process(const char *name);
/* Where lines go; 2 unless told. Negative: nowhere (unit tests of error paths). */
void tg_log_set_fd(int fd);

#endif
