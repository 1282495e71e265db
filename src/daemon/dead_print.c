#include "daemon/dead_print.h"

#include "base/clock.h"
#include "base/event.h"
#include "base/json.h"
#include "base/time.h"

#include <stdio.h>

/* --- pieces --- */

static struct tg_str first_line(const char *text)
{
    struct tg_str line = tg_str_of(text);
    const char *end = line.n ? memchr(line.p, '\n', line.n) : NULL;
    if (end)
        line.n = (size_t)(end - line.p);
    return tg_str_trim(line);
}

static bool empty(const char *z)
{
    return !z || !*z;
}

/* "script_error: init.lua:12: …"; the word alone when the script said nothing more. */
static int put_reason(struct tg_buf *out, const struct tg_dead *d)
{
    struct tg_str said = first_line(d->message);
    int rc = tg_buf_adds(out, d->reason);
    if (!rc && said.n && !tg_str_is(said, d->reason))
        rc = tg_buf_printf(out, ": %.*s", TG_STR_ARG(said));
    return rc;
}

/* Line feeds stand only between the tokens of JSON text, never in its strings: spaces do as well there. */
static void onto_one_line(struct tg_buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
}

/* The event as JSON text: as it is forwarded; else the body if that is JSON; else a string of it; null
 * without one. */
static int put_event(struct tg_buf *out, const struct tg_dead *d)
{
    struct tg_event ev;
    struct tg_str value;
    size_t from = out->len;
    int rc = TG_INVALID;
    if (!d->body.n)
        return tg_buf_adds(out, "null");
    if (tg_json_validate(d->body, TG_JSON_MAX_DEPTH, &value, NULL))
        return tg_json_quote(out, d->body);
    if (d->header.n && tg_json_type(value) == TG_JSON_OBJECT && !tg_event_decode(d->header, value, &ev, NULL))
        rc = tg_event_forward(&ev, out);
    if (rc && rc != TG_NOMEM && rc != TG_TOOBIG) {
        out->len = from;
        rc = tg_buf_addstr(out, value);
    }
    onto_one_line(out, from);
    return rc;
}

/* --- JSON --- */

static int put_key(struct tg_buf *out, const char *key)
{
    return tg_buf_printf(out, "%s\"%s\":", out->len ? "," : "{", key);
}

static int put_text_member(struct tg_buf *out, const char *key, struct tg_str text)
{
    int rc = put_key(out, key);
    if (rc)
        return rc;
    return text.n ? tg_json_quote(out, text) : tg_buf_adds(out, "null");
}

static int put_number_member(struct tg_buf *out, const char *key, int64_t n)
{
    int rc = put_key(out, key);
    return rc ? rc : tg_buf_printf(out, "%lld", (long long)n);
}

static int put_time_member(struct tg_buf *out, const char *key, int64_t ms)
{
    char text[TG_TIME_LEN + 1];
    tg_time_format(ms, text);
    return put_text_member(out, key, tg_str_of(text));
}

static int put_reason_member(struct tg_buf *out, const struct tg_dead *d)
{
    struct tg_buf reason = TG_BUF_INIT(out->max);
    int rc = put_reason(&reason, d);
    if (!rc)
        rc = put_text_member(out, "reason", tg_buf_str(&reason));
    tg_buf_fini(&reason);
    return rc;
}

static int put_status_member(struct tg_buf *out, int status)
{
    return status ? put_number_member(out, "status", status)
                  : put_text_member(out, "status", tg_str_of(NULL));
}

static int put_event_member(struct tg_buf *out, const struct tg_dead *d)
{
    int rc = put_key(out, "event");
    return rc ? rc : put_event(out, d);
}

static int put_more_members(struct tg_buf *out, const struct tg_dead *d)
{
    int rc = put_text_member(out, "type", tg_str_of(d->type));
    if (!rc)
        rc = put_text_member(out, "name", tg_str_of(d->event_name));
    if (!rc)
        rc = put_text_member(out, "message", tg_str_of(d->message));
    if (!rc)
        rc = put_time_member(out, "receivedAt", d->received_at);
    if (!rc)
        rc = put_number_member(out, "generation", d->generation);
    if (!rc)
        rc = put_text_member(out, "request", d->request);
    if (!rc)
        rc = put_text_member(out, "response", d->response);
    return rc;
}

static int put_members(struct tg_buf *out, const struct tg_dead *d)
{
    int rc = put_number_member(out, "id", d->id);
    if (!rc)
        rc = put_text_member(out, "destination", tg_str_of(d->destination));
    if (!rc)
        rc = put_text_member(out, "messageId", tg_str_of(d->message_id));
    if (!rc)
        rc = put_text_member(out, "source", tg_str_of(d->source));
    if (!rc)
        rc = put_reason_member(out, d);
    if (!rc)
        rc = put_status_member(out, d->status);
    if (!rc)
        rc = put_number_member(out, "attempts", d->attempts);
    if (!rc)
        rc = put_time_member(out, "first", d->first);
    if (!rc)
        rc = put_time_member(out, "last", d->last);
    if (!rc)
        rc = put_event_member(out, d);
    return rc;
}

int tg_dead_print_json(struct tg_buf *out, const struct tg_dead *d, bool whole)
{
    tg_buf_clear(out);
    int rc = put_members(out, d);
    if (!rc && whole)
        rc = put_more_members(out, d);
    return rc ? rc : tg_buf_adds(out, "}\n");
}

/* --- for people --- */

/* Control characters, C0 and (in UTF-8) C1, of what senders and partners wrote must not reach a terminal. */
static void disarm(struct tg_buf *out, size_t from, bool keep_lines)
{
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        bool c1 = c == 0xc2 && i + 1 < out->len && ((unsigned char)out->data[i + 1] & 0xe0) == 0x80;
        if (c1)
            out->data[i] = out->data[i + 1] = '?';
        else if ((c < 0x20 || c == 0x7f) && !(keep_lines && (c == '\n' || c == '\t')))
            out->data[i] = '?';
    }
}

/* A cell: at most `width` characters, padded to it when there are fewer. 0: as it is. */
static int put_cell(struct tg_buf *out, struct tg_str text, size_t width)
{
    size_t from = out->len, chars = 0, n = 0;
    for (; n < text.n; n++)
        if (((unsigned char)text.p[n] & 0xc0) != 0x80 && ++chars > width && width)
            break;
    int rc = tg_buf_addstr(out, tg_str_n(text.p, n));
    if (rc)
        return rc;
    disarm(out, from, false);
    for (; chars < width && !rc; chars++)
        rc = tg_buf_addc(out, ' ');
    return rc ? rc : tg_buf_adds(out, "  ");
}

enum {
    ID_WIDTH = 8,
    TIME_WIDTH = TG_TIME_LEN,
    DESTINATION_WIDTH = 16,
    SOURCE_WIDTH = 12,
    EVENT_WIDTH = 24,
    SMALL_WIDTH = 6
};

static int put_cells(struct tg_buf *out, const struct tg_str cells[7])
{
    static const size_t width[7] = {ID_WIDTH,    TIME_WIDTH,  DESTINATION_WIDTH, SOURCE_WIDTH,
                                    EVENT_WIDTH, SMALL_WIDTH, SMALL_WIDTH};
    int rc = TG_OK;
    for (size_t i = 0; i < 7 && !rc; i++)
        rc = put_cell(out, cells[i], width[i]);
    return rc;
}

int tg_dead_print_head(struct tg_buf *out)
{
    tg_buf_clear(out);
    static const struct tg_str cells[7] = {TG_STR("ID"),     TG_STR("LAST"),  TG_STR("DESTINATION"),
                                           TG_STR("SOURCE"), TG_STR("EVENT"), TG_STR("STATUS"),
                                           TG_STR("TRIES")};
    int rc = put_cells(out, cells);
    return rc ? rc : tg_buf_adds(out, "REASON\n");
}

static const char *event_label(const struct tg_dead *d)
{
    return empty(d->event_name) ? d->type : d->event_name;
}

int tg_dead_print_row(struct tg_buf *out, const struct tg_dead *d)
{
    char id[24], last[TG_TIME_LEN + 1], status[16] = "-", tries[16];
    snprintf(id, sizeof id, "%lld", (long long)d->id);
    if (d->status)
        snprintf(status, sizeof status, "%d", d->status);
    snprintf(tries, sizeof tries, "%u", d->attempts);
    tg_time_format(d->last, last);
    const struct tg_str cells[7] = {
        tg_str_of(id),        tg_str_of(last),           tg_str_of(d->destination ? d->destination : "-"),
        tg_str_of(d->source), tg_str_of(event_label(d)), tg_str_of(status),
        tg_str_of(tries)};
    tg_buf_clear(out);
    int rc = put_cells(out, cells);
    size_t from = out->len;
    if (!rc)
        rc = put_reason(out, d);
    disarm(out, from, false);
    return rc ? rc : tg_buf_addc(out, '\n');
}

static int put_field(struct tg_buf *out, const char *name, const char *value)
{
    if (empty(value))
        return TG_OK;
    int rc = tg_buf_printf(out, "%-12s ", name);
    size_t from = out->len;
    if (!rc)
        rc = tg_buf_adds(out, value);
    disarm(out, from, false);
    return rc ? rc : tg_buf_addc(out, '\n');
}

static int put_number_field(struct tg_buf *out, const char *name, int64_t n)
{
    return n ? tg_buf_printf(out, "%-12s %lld\n", name, (long long)n) : TG_OK;
}

static int put_time_field(struct tg_buf *out, const char *name, int64_t ms)
{
    char text[TG_TIME_LEN + 1];
    tg_time_format(ms, text);
    return put_field(out, name, text);
}

static int put_section(struct tg_buf *out, const char *name, struct tg_str text)
{
    if (!text.n)
        return TG_OK;
    int rc = tg_buf_printf(out, "\n%s\n", name);
    size_t from = out->len;
    if (!rc)
        rc = tg_buf_addstr(out, text);
    disarm(out, from, true);
    if (!rc && text.p[text.n - 1] != '\n')
        rc = tg_buf_addc(out, '\n');
    return rc;
}

static int put_fields(struct tg_buf *out, const struct tg_dead *d)
{
    int rc = put_number_field(out, "id", d->id);
    if (!rc)
        rc = put_field(out, "destination", d->destination ? d->destination : "- (set aside by ingest)");
    if (!rc)
        rc = put_field(out, "source", d->source);
    if (!rc)
        rc = put_field(out, "message id", d->message_id);
    if (!rc)
        rc = put_field(out, "type", d->type);
    if (!rc)
        rc = put_field(out, "event", d->event_name);
    if (!rc)
        rc = put_field(out, "reason", d->reason);
    if (!rc)
        rc = put_number_field(out, "status", d->status);
    if (!rc)
        rc = put_number_field(out, "attempts", d->attempts);
    return rc;
}

static int put_times(struct tg_buf *out, const struct tg_dead *d)
{
    int rc = put_time_field(out, "received", d->received_at);
    if (!rc)
        rc = put_time_field(out, "first", d->first);
    if (!rc)
        rc = put_time_field(out, "last", d->last);
    if (!rc)
        rc = put_number_field(out, "generation", d->generation);
    return rc;
}

static int put_event_section(struct tg_buf *out, const struct tg_dead *d)
{
    struct tg_buf event = TG_BUF_INIT(out->max);
    int rc = put_event(&event, d);
    if (!rc)
        rc = put_section(out, "event", tg_buf_str(&event));
    tg_buf_fini(&event);
    return rc;
}

int tg_dead_print_page(struct tg_buf *out, const struct tg_dead *d)
{
    tg_buf_clear(out);
    int rc = put_fields(out, d);
    if (!rc)
        rc = put_times(out, d);
    if (!rc)
        rc = put_section(out, "message", tg_str_of(d->message));
    if (!rc)
        rc = put_section(out, "request", d->request);
    if (!rc)
        rc = put_section(out, "response", d->response);
    return rc ? rc : put_event_section(out, d);
}
