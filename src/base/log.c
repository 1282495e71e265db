#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mask.h"
#include "base/time.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 * 1024 };

static atomic_int least = TG_LOG_INFO;
static atomic_bool as_json;
static const char *_Atomic process_name;
static atomic_int out_fd = 2;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void tg_log_set_level(enum tg_log_level level)
{
    atomic_store(&least, (int)level);
}

bool tg_log_level_parse(const char *name, enum tg_log_level *level)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum tg_log_level)i;
            return true;
        }
    }
    return false;
}

void tg_log_set_json(bool on)
{
    atomic_store(&as_json, on);
}

void tg_log_set_process(const char *name)
{
    atomic_store(&process_name, name);
}

void tg_log_set_fd(int fd)
{
    atomic_store(&out_fd, fd);
}

static bool needs_quotes(struct tg_str s)
{
    if (s.n == 0)
        return true;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return true;
    }
    return false;
}

static int add_text(struct tg_buf *line, struct tg_str s, bool json)
{
    return json || needs_quotes(s) ? tg_json_quote(line, s) : tg_buf_addstr(line, s);
}

static int add_key(struct tg_buf *line, const char *key, bool json)
{
    const char *sep = line->len == 0 ? (json ? "{" : "") : (json ? "," : " ");
    return json ? tg_buf_printf(line, "%s\"%s\":", sep, key) : tg_buf_printf(line, "%s%s=", sep, key);
}

static int add_field(struct tg_buf *line, const struct tg_field *f, bool json)
{
    int rc = add_key(line, f->key, json);
    if (rc)
        return rc;
    switch (f->kind) {
    case TG_FIELD_INT:
        return tg_buf_printf(line, "%" PRId64, f->i);
    case TG_FIELD_NUM:
        return tg_json_number(line, f->d);
    case TG_FIELD_BOOL:
        return tg_buf_adds(line, f->i ? "true" : "false");
    case TG_FIELD_STR:
    default:
        return add_text(line, f->s, json);
    }
}

static int format(struct tg_buf *line, enum tg_log_level level, const char *msg,
                  const struct tg_field *fields, bool json)
{
    char now[TG_TIME_LEN + 1];
    tg_time_format(tg_wall_ms(), now);
    const char *process = atomic_load(&process_name);
    struct tg_field head[] = {TG_FS("time", now), TG_FS("level", level_names[level]),
                              TG_FS("worker", process), TG_FS("msg", msg)};
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
        if (head[i].s.p && add_field(line, &head[i], json))
            return TG_TOOBIG;
    }
    for (; fields->key; fields++) {
        if (add_field(line, fields, json))
            return TG_TOOBIG;
    }
    return json ? tg_buf_addc(line, '}') : TG_OK;
}

void tg_log_fields(enum tg_log_level level, const char *msg, const struct tg_field *fields)
{
    int fd = atomic_load(&out_fd);
    if ((int)level < atomic_load(&least) || fd < 0)
        return;
    bool json = atomic_load(&as_json);
    struct tg_buf line = TG_BUF_INIT(LINE_MAX_BYTES);
    struct tg_buf masked = TG_BUF_INIT(2 * LINE_MAX_BYTES);
    const struct tg_field none = {.key = NULL};
    /* A line that is too long, or for which there is no memory, is said without its fields rather than not at
     * all. */
    if (format(&line, level, msg, fields, json)) {
        tg_buf_clear(&line);
        if (format(&line, level, msg, &none, json))
            tg_buf_clear(&line);
    }
    if (line.len && tg_mask_text(&masked, tg_buf_str(&line)) == TG_OK &&
        tg_buf_addc(&masked, '\n') == TG_OK) {
        ssize_t n = write(fd, masked.data, masked.len);
        (void)n; /* nobody is left to tell */
    }
    tg_buf_fini(&line);
    tg_buf_fini(&masked);
}
