#include "daemon/preview.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "ingest/normalise.h"
#include "script/answers.h"
#include "script/render_many.h"

#include <errno.h>
#include <stdio.h>

enum { EVENT_MAX = 4 << 20, FILE_MAX = 64 << 20, EVENTS_MAX = 1000 };

struct tg_preview {
    struct tg_host *host;
    struct tg_dest *dest;
    int64_t now;
};

/* All problems as one message. */
static int tell_problems(const struct tg_problems *problems, struct tg_err *err)
{
    struct tg_buf text = TG_BUF_INIT(1 << 20);
    if (tg_problems_print(problems, &text))
        (void)tg_fail(err, TG_NOMEM, "out of memory");
    else
        (void)tg_fail(err, TG_INVALID, "%.*s", TG_STR_ARG(tg_str_trim(tg_buf_str(&text))));
    tg_buf_fini(&text);
    return TG_INVALID;
}

int tg_preview_new(const struct tg_preview_in *in, struct tg_preview **out, struct tg_err *err)
{
    bool fixed = in->now != TG_NO_TIME;
    struct tg_host_options options = {.memory_bytes = in->memory_bytes,
                                      .soft_limit_us = in->soft_limit_us,
                                      .allow_private = in->allow_private,
                                      .library = *in->library,
                                      .fixed_now = in->now,
                                      .random_seed = fixed ? 1 : 0,
                                      .coverage = in->coverage};
    struct tg_preview *p = tg_calloc(1, sizeof *p);
    if (!p)
        return tg_fail(err, TG_NOMEM, "out of memory");
    p->now = fixed ? in->now : tg_wall_ms();
    int rc = tg_host_new(&options, &p->host, err);
    if (!rc) {
        struct tg_problems problems;
        struct tg_dest_spec spec = {
            in->name ? in->name : in->script->name, "settings", in->settings, in->script, NULL, NULL};
        tg_problems_init(&problems);
        rc = tg_dest_load(p->host, &spec, &p->dest, &problems);
        if (rc)
            (void)tell_problems(&problems, err);
        tg_problems_fini(&problems);
    }
    if (rc)
        tg_preview_free(&p);
    else
        *out = p;
    return rc;
}

void tg_preview_free(struct tg_preview **preview)
{
    struct tg_preview *p = *preview;
    if (!p)
        return;
    tg_dest_free(&p->dest);
    tg_host_free(&p->host);
    tg_free(p);
    *preview = NULL;
}

struct tg_dest *tg_preview_dest(struct tg_preview *p)
{
    return p->dest;
}

static int event_type(struct tg_str body, enum tg_event_type *type, struct tg_err *err)
{
    struct tg_str given = tg_json_get(body, "type"), name;
    if (given.n && tg_json_type(given) == TG_JSON_STRING && tg_json_plain(given, &name) &&
        tg_event_type_parse(name, type))
        return TG_OK;
    return tg_fail(err, TG_INVALID,
                   "event: type: one of track, identify, page, screen, group, alias, delete is wanted");
}

/* The event as ingest makes it. The sender is taken for another relay, so that its times and context stay as
 * they are. */
int tg_preview_take(struct tg_str text, struct tg_str source, int64_t now, struct tg_items *items,
                    struct tg_err *err)
{
    struct tg_request_fault fault;
    struct tg_normalise_in in = {.source = source,
                                 .received_at = now,
                                 .trusted = true,
                                 .allow_delete = true,
                                 .max_event_bytes = EVENT_MAX,
                                 .max_items = 1,
                                 .max_total_bytes = 4 * EVENT_MAX};
    int rc = tg_body_parse(text, TG_JSON_MAX_DEPTH, &in.body, &fault);
    if (rc)
        return tg_fail(err, rc, "event: %s", fault.err.msg);
    rc = event_type(in.body, &in.route_type, err);
    if (rc)
        return rc;
    rc = tg_normalise(&in, items, &fault);
    if (rc)
        return tg_fail(err, rc, "event: %s", fault.err.msg);
    if (items->n_events != 1)
        return tg_fail(err, TG_INVALID, "event: the relay would not take it: %.*s",
                       TG_STR_ARG(items->n_bad ? items->bad[0].reason : TG_STR("dropped")));
    return TG_OK;
}

int tg_preview_show(struct tg_dest *dest, const struct tg_event *event, const struct tg_preview_show *how,
                    struct tg_buf *json, struct tg_err *err)
{
    struct tg_render_in in = {
        .dest = dest, .event = event, .reveal = how->reveal, .assume_success = how->assume_success};
    struct tg_response *scripted = NULL;
    int rc = how->responses.n ? tg_render_responses(how->responses, &scripted, &in.n_responses, err) : TG_OK;
    if (rc)
        return rc;
    in.responses = scripted;
    rc = tg_render(&in, json, err);
    tg_render_responses_free(scripted, in.n_responses);
    return rc;
}

/* Each event of the array is taken in by itself. */
struct several {
    struct tg_items items[EVENTS_MAX];
    struct tg_event events[EVENTS_MAX];
    size_t n;
};

static int take_several(struct tg_preview *p, struct tg_str array, struct several *s, struct tg_err *err)
{
    struct tg_json_walk w = tg_json_walk(array);
    int rc = TG_OK;
    while (!rc && tg_json_next(&w)) {
        if (s->n == EVENTS_MAX)
            return tg_fail(err, TG_TOOBIG, "events: more than %d", EVENTS_MAX);
        struct tg_items *items = &s->items[s->n++];
        tg_items_init(items);
        rc = tg_preview_take(w.value, TG_STR("preview"), p->now, items, err);
        if (rc)
            return tg_err_prefix(err, "events: item %zu", s->n);
        s->events[s->n - 1] = items->events[0];
    }
    return rc;
}

static int run_several(struct tg_preview *p, struct tg_str array, struct tg_str responses, bool reveal,
                       struct tg_buf *json, struct tg_err *err)
{
    struct several *s = tg_calloc(1, sizeof *s);
    struct tg_render_in in = {.dest = p->dest, .reveal = reveal};
    struct tg_response *scripted = NULL;
    int rc = s ? take_several(p, array, s, err) : tg_fail(err, TG_NOMEM, "out of memory");
    if (!rc && responses.n)
        rc = tg_render_responses(responses, &scripted, &in.n_responses, err);
    if (!rc) {
        in.event = s->events;
        in.responses = scripted;
        rc = tg_render_many(&in, s->n, json, err);
    }
    tg_render_responses_free(scripted, in.n_responses);
    for (size_t i = 0; s && i < s->n; i++)
        tg_items_fini(&s->items[i]);
    tg_free(s);
    return rc;
}

int tg_preview_run(struct tg_preview *p, struct tg_str event, struct tg_str responses, bool reveal,
                   struct tg_buf *json, struct tg_err *err)
{
    struct tg_items items;
    struct tg_str value;
    tg_dest_forget(p->dest);
    if (!tg_json_validate(event, TG_JSON_MAX_DEPTH, &value, NULL) && tg_json_type(value) == TG_JSON_ARRAY)
        return run_several(p, value, responses, reveal, json, err);
    tg_items_init(&items);
    int rc = tg_preview_take(event, TG_STR("preview"), p->now, &items, err);
    if (!rc)
        rc = tg_preview_show(p->dest, &items.events[0],
                             &(struct tg_preview_show){.responses = responses, .reveal = reveal}, json, err);
    tg_items_fini(&items);
    return rc;
}

int tg_preview_read(const char *path, char **text, size_t *len, struct tg_err *err)
{
    struct tg_buf b = TG_BUF_INIT(FILE_MAX);
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!f)
        return tg_fail_errno(err, errno, "%s", path);
    char part[8192];
    size_t n;
    int rc = TG_OK;
    while (!rc && (n = fread(part, 1, sizeof part, f)) > 0)
        rc = tg_buf_add(&b, part, n);
    if (!rc && ferror(f))
        rc = tg_fail_errno(err, errno, "%s", path);
    else if (rc)
        (void)tg_fail(err, rc, "%s: %s", path, tg_code_text(rc));
    if (f != stdin)
        (void)fclose(f);
    if (!rc && !(*text = tg_buf_take(&b, len)))
        rc = tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    tg_buf_fini(&b);
    return rc;
}
