#include "daemon/dead_trial.h"

#include "base/clock.h"
#include "base/json.h"
#include "daemon/preview.h"
#include "daemon/request_lines.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_MAX = 64 << 20 };

/* The request that the diff is of; those beside it are only named. */
struct match {
    struct tg_str request; /* JSON; empty: none */
    struct tg_buf diff;
};

/* How many begin with the mark; '\0': all. */
static size_t lines_of(struct tg_str diff, char mark)
{
    size_t n = 0;
    for (const char *p = diff.p, *end = diff.p + diff.n; p < end;) {
        n += !mark || *p == mark;
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p++)
            break;
    }
    return n;
}

/* The same request as the one that is held, as far as can be seen. */
static bool unchanged(const struct match *m)
{
    struct tg_str diff = tg_buf_str(&m->diff);
    return m->request.n && diff.n && lines_of(diff, ' ') == lines_of(diff, '\0');
}

/* What the old request has in common with this one; the diff is kept when that is the most so far. */
static int try_match(struct tg_str before, struct tg_str request, size_t *most, struct match *m)
{
    struct tg_buf after = TG_BUF_INIT(TEXT_MAX), diff = TG_BUF_INIT(TEXT_MAX);
    int rc = tg_request_lines_of_json(request, &after);
    if (!rc)
        rc = tg_line_diff(before, tg_buf_str(&after), &diff);
    size_t kept = rc ? 0 : lines_of(tg_buf_str(&diff), ' ');
    if (!rc && (!m->request.n || kept >= *most)) { /* the last of equals: calls before it only prepare it */
        struct tg_buf worse = m->diff;
        *m = (struct match){request, diff};
        diff = worse;
        *most = kept;
    }
    tg_buf_fini(&after);
    tg_buf_fini(&diff);
    return rc;
}

/* Of what would be sent now the request that is most like the old one. */
static int compare(const struct tg_dead *d, struct tg_str rendered, struct match *m)
{
    struct tg_buf before = TG_BUF_INIT(TEXT_MAX);
    size_t most = 0;
    bool sends = tg_str_is(tg_json_get(rendered, "outcome"), "\"deliver\"");
    int rc = tg_request_lines_of_text(d->request, &before);
    struct tg_json_walk w = tg_json_walk(tg_json_get(rendered, "requests"));
    while (!rc && sends && tg_json_next(&w))
        rc = try_match(tg_buf_str(&before), w.value, &most, m);
    if (!rc && !m->request.n)
        rc = tg_line_diff(tg_buf_str(&before), TG_STR(""), &m->diff);
    tg_buf_fini(&before);
    return rc;
}

static int add_json_text(struct tg_buf *out, const char *key, struct tg_str text)
{
    int rc = tg_buf_printf(out, ",\"%s\":", key);
    return rc ? rc : tg_json_quote(out, text);
}

static int add_json(struct tg_buf *out, const struct tg_dead *d, struct tg_str rendered, struct tg_str diff)
{
    int rc = tg_buf_printf(out, "{\"id\":%" PRId64, d->id);
    if (!rc)
        rc = add_json_text(out, "destination", tg_str_of(d->destination));
    if (!rc)
        rc = add_json_text(out, "messageId", tg_str_of(d->message_id));
    if (!rc)
        rc = tg_buf_printf(out, ",%.*s,\"diff\":[", (int)rendered.n - 2, rendered.p + 1);
    for (bool first = true; !rc && diff.n; first = false) {
        const char *end = memchr(diff.p, '\n', diff.n);
        size_t n = end ? (size_t)(end - diff.p) : diff.n;
        rc = first ? TG_OK : tg_buf_addc(out, ',');
        if (!rc)
            rc = tg_json_quote(out, tg_str_n(diff.p, n));
        n += end ? 1 : 0;
        diff = tg_str_n(diff.p + n, diff.n - n);
    }
    return rc ? rc : tg_buf_adds(out, "]}\n");
}

static int add_plain(struct tg_buf *out, struct tg_str json_string)
{
    struct tg_buf text = TG_BUF_INIT(TEXT_MAX);
    int rc = tg_json_type(json_string) == TG_JSON_STRING ? tg_json_text(json_string, &text) : TG_OK;
    if (!rc && text.len)
        rc = tg_buf_printf(out, ": %.*s", TG_STR_ARG(tg_buf_str(&text)));
    tg_buf_fini(&text);
    return rc;
}

/* Bytes that a terminal could take for commands. */
static void disarm(struct tg_buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
            out->data[i] = '?';
    }
}

/* "and POST https://…" of the requests that were not compared. */
static int add_others(struct tg_buf *out, struct tg_str rendered, const struct match *m)
{
    int rc = TG_OK;
    struct tg_json_walk w = tg_json_walk(tg_json_get(rendered, "requests"));
    while (!rc && m->request.n && tg_json_next(&w)) {
        if (w.value.p == m->request.p)
            continue;
        struct tg_buf lines = TG_BUF_INIT(TEXT_MAX);
        rc = tg_request_lines_of_json(w.value, &lines);
        const char *end = rc ? NULL : memchr(lines.data, '\n', lines.len);
        if (end)
            rc = tg_buf_printf(out, "  and %.*s\n", (int)(end - lines.data), lines.data);
        tg_buf_fini(&lines);
    }
    return rc;
}

/* Secrets are masked in both: another token looks like the old one. */
static int add_unchanged(struct tg_buf *out, const struct match *m)
{
    bool masked = memmem(m->diff.data, m->diff.len, "***", 3) != NULL;
    return tg_buf_printf(out, "unchanged: the same request as was refused%s",
                         masked ? " (what is shown as *** is not compared)" : "");
}

static int add_page(struct tg_buf *out, const struct tg_dead *d, struct tg_str rendered,
                    const struct match *m)
{
    struct tg_str outcome = tg_json_get(rendered, "outcome");
    size_t from = out->len;
    int rc = tg_buf_printf(out, "dead letter %" PRId64 ": %s, %s, was %s, ", d->id, d->destination,
                           d->message_id, d->reason);
    if (!rc)
        rc = unchanged(m) ? add_unchanged(out, m)
                          : tg_buf_printf(out, "now %.*s", (int)outcome.n - 2, outcome.p + 1);
    if (!rc)
        rc = add_plain(out, tg_json_get(rendered, "reason"));
    if (!rc)
        rc = add_plain(out, tg_json_get(rendered, "message"));
    if (!rc)
        rc = tg_buf_addc(out, '\n');
    if (!rc)
        rc = tg_buf_addstr(out, tg_buf_str(&m->diff));
    if (!rc)
        rc = add_others(out, rendered, m);
    disarm(out, from);
    return rc ? rc : tg_buf_addc(out, '\n');
}

/* What comes of the event, as tg_render says it: what the gates keep back is as a handler's own skip. */
static int render(struct tg_trial *t, const struct tg_dead *d, struct tg_str responses,
                  struct tg_buf *rendered, struct tg_err *err)
{
    struct tg_event event;
    struct tg_trial_dest dest;
    struct tg_trial_gates gates = {0};
    int rc = tg_trial_find(t, d->destination, &dest, err);
    if (!rc)
        rc = tg_event_decode(d->header, d->body, &event, err);
    if (!rc)
        rc = tg_trial_ask(&dest, &event, &gates, err);
    if (!rc && !gates.reason) {
        tg_dest_forget(dest.dest); /* each fetches its token, so that all are answered alike */
        rc = tg_preview_show(dest.dest, &gates.shown,
                             &(struct tg_preview_show){.responses = responses, .assume_success = true},
                             rendered, err);
    } else if (!rc) {
        rc = tg_buf_printf(rendered, "{\"outcome\":\"%s\",\"reason\":\"%s\",\"message\":",
                           gates.failed ? "reject" : "skip", gates.reason);
        if (!rc)
            rc = tg_json_quote(rendered, tg_str_of(gates.message));
        rc = rc ? rc : tg_buf_adds(rendered, ",\"requests\":[]}");
    }
    tg_trial_gates_fini(&gates);
    return rc;
}

int tg_dead_trial_run(struct tg_trial *t, const struct tg_dead *d, struct tg_str responses, bool json,
                      struct tg_buf *out, bool *same, struct tg_err *err)
{
    struct tg_buf rendered = TG_BUF_INIT(TEXT_MAX);
    struct match match = {.diff = TG_BUF_INIT(TEXT_MAX)};
    struct tg_str value = {0};
    int rc = render(t, d, responses, &rendered, err);
    if (rc)
        return tg_buf_fini(&rendered), rc;
    rc = tg_json_validate(tg_buf_str(&rendered), TG_JSON_MAX_DEPTH, &value, err);
    if (!rc)
        rc = compare(d, value, &match);
    if (!rc)
        *same = unchanged(&match);
    if (!rc)
        rc = json ? add_json(out, d, value, tg_buf_str(&match.diff)) : add_page(out, d, value, &match);
    tg_buf_fini(&rendered);
    tg_buf_fini(&match.diff);
    return rc ? tg_fail(err, rc, "%s", tg_code_text(rc)) : TG_OK;
}
