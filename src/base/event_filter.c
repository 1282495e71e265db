#include "base/event_filter.h"

#include "base/digest.h"
#include "base/json.h"

enum { PATH_MAX_BYTES = 1024 };

/* --- checking --- */

/* An empty Lua table is written as an array or as an object. */
static bool is_list(struct tg_str json)
{
    struct tg_json_walk w = tg_json_walk(json);
    return tg_json_type(json) == TG_JSON_ARRAY || (tg_json_type(json) == TG_JSON_OBJECT && !tg_json_next(&w));
}

static bool is_path(struct tg_str text, bool context_too)
{
    static const char *const roots[] = {"properties.", "traits.", "context."};
    for (size_t i = 0; i < (context_too ? 3u : 2u); i++) {
        size_t n = strlen(roots[i]);
        if (text.n > n && text.n <= PATH_MAX_BYTES && memcmp(text.p, roots[i], n) == 0)
            return true;
    }
    return false;
}

static int check_item(struct tg_str item, const char *name, struct tg_err *err)
{
    bool drop = strcmp(name, "drop") == 0, events = strcmp(name, "events") == 0;
    struct tg_buf text = TG_BUF_INIT(64 * 1024);
    int rc = tg_json_type(item) == TG_JSON_STRING ? tg_json_text(item, &text) : TG_INVALID;
    if (rc)
        rc = tg_fail(err, rc, "filter.%s: must be a list of strings", name);
    else if (!events && !is_path(tg_buf_str(&text), drop))
        rc = tg_fail(err, TG_INVALID, "filter.%s: \"%.*s\": paths begin with properties. or traits.%s", name,
                     TG_STR_ARG(tg_buf_str(&text)), drop ? " or context." : "");
    tg_buf_fini(&text);
    return rc;
}

static int check_member(struct tg_str key, struct tg_str value, struct tg_err *err)
{
    static const char *const lists[] = {"drop", "allow", "events"};
    double share;
    if (tg_json_key_is(key, "sample"))
        return tg_json_double(value, &share) && share >= 0 && share <= 1
                   ? TG_OK
                   : tg_fail(err, TG_INVALID, "filter.sample: must be a number from 0 to 1");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (!tg_json_key_is(key, lists[i]))
            continue;
        int rc = is_list(value) ? TG_OK : tg_fail(err, TG_INVALID, "filter.%s: must be a list", lists[i]);
        for (struct tg_json_walk w = tg_json_walk(value); !rc && tg_json_next(&w);)
            rc = check_item(w.value, lists[i], err);
        return rc;
    }
    return tg_fail(err, TG_INVALID, "filter: there is no %.*s; there are sample, events, drop and allow",
                   TG_STR_ARG(key));
}

int tg_filter_check(struct tg_str spec, struct tg_err *err)
{
    if (!is_list(spec) && tg_json_type(spec) != TG_JSON_OBJECT)
        return tg_fail(err, TG_INVALID, "filter: must be a table");
    struct tg_json_walk w = tg_json_walk(spec);
    if (tg_json_type(spec) == TG_JSON_ARRAY && tg_json_next(&w))
        return tg_fail(err, TG_INVALID,
                       "filter: a list says nothing; write { sample = …, events = …, drop = …, allow = … }");
    int rc = TG_OK;
    for (w = tg_json_walk(spec); !rc && tg_json_next(&w);)
        rc = check_member(w.key, w.value, err);
    return rc;
}

/* --- whether it goes on --- */

static bool in_sample(struct tg_str share_json, struct tg_str message_id)
{
    static const unsigned char key[16] = "tidegate sample";
    double share;
    if (!share_json.n || !tg_json_double(share_json, &share))
        return true;
    uint64_t hash = tg_siphash(key, message_id.n ? message_id.p : "", message_id.n);
    return (double)(hash >> 11) * 0x1p-53 < share;
}

/* Whether a JSON string is this text. tg_json_key_is wants a C string; names of events may hold NUL. */
static int string_is(struct tg_str json, struct tg_str text, struct tg_buf *scratch, bool *same)
{
    struct tg_str plain;
    if (!tg_json_plain(json, &plain)) {
        tg_buf_clear(scratch);
        int rc = tg_json_text(json, scratch);
        if (rc)
            return rc;
        plain = tg_buf_str(scratch);
    }
    *same = plain.n == text.n && (text.n == 0 || memcmp(plain.p, text.p, text.n) == 0);
    return TG_OK;
}

static int is_listed(struct tg_str list, struct tg_str name, bool *found)
{
    struct tg_buf scratch = TG_BUF_INIT(64 * 1024);
    int rc = TG_OK;
    *found = false;
    for (struct tg_json_walk w = tg_json_walk(list); !rc && !*found && tg_json_next(&w);)
        rc = string_is(w.value, name, &scratch, found);
    tg_buf_fini(&scratch);
    return rc;
}

/* --- what of it --- */

struct prune {
    struct tg_str drop, allow; /* JSON lists; empty: none */
    struct tg_buf path;        /* of the member that is looked at */
    struct tg_buf scratch;
    struct tg_buf *out;
};

enum place { ELSEWHERE, ABOVE /* some path leads through it */, NAMED };

static int place_in(struct prune *p, struct tg_str list, enum place *place)
{
    struct tg_str at = tg_buf_str(&p->path);
    *place = ELSEWHERE;
    for (struct tg_json_walk w = tg_json_walk(list); tg_json_next(&w);) {
        struct tg_str path;
        if (!tg_json_plain(w.value, &path)) {
            tg_buf_clear(&p->scratch);
            int rc = tg_json_text(w.value, &p->scratch);
            if (rc)
                return rc;
            path = tg_buf_str(&p->scratch);
        }
        if (path.n < at.n || memcmp(path.p, at.p, at.n) != 0)
            continue;
        if (path.n == at.n) {
            *place = NAMED;
            return TG_OK;
        }
        if (path.p[at.n] == '.')
            *place = ABOVE;
    }
    return TG_OK;
}

static int prune_object(struct prune *p, struct tg_str object, bool allowed);

/* Adds the member unless it goes. Its path stands in p->path. allowed: what it stands in is allowed. */
static int prune_member(struct prune *p, const struct tg_json_walk *w, bool allowed, bool *any)
{
    enum place drop, allow = NAMED;
    int rc = place_in(p, p->drop, &drop);
    if (!rc && !allowed)
        rc = place_in(p, p->allow, &allow);
    bool object = tg_json_type(w->value) == TG_JSON_OBJECT;
    if (rc || drop == NAMED || allow == ELSEWHERE || (allow == ABOVE && !object))
        return rc;
    rc = *any ? tg_buf_addc(p->out, ',') : TG_OK;
    *any = true;
    if (!object || (drop == ELSEWHERE && allow == NAMED))
        return rc ? rc : tg_buf_addstr(p->out, w->whole);
    if (!rc)
        rc = tg_buf_addstr(p->out, tg_str_n(w->whole.p, (size_t)(w->value.p - w->whole.p)));
    return rc ? rc : prune_object(p, w->value, allow == NAMED);
}

static int prune_object(struct prune *p, struct tg_str object, bool allowed)
{
    size_t base = p->path.len;
    bool any = false;
    int rc = tg_buf_addc(p->out, '{');
    for (struct tg_json_walk w = tg_json_walk(object); !rc && tg_json_next(&w);) {
        rc = tg_buf_addc(&p->path, '.');
        if (!rc)
            rc = tg_json_text(w.key, &p->path);
        if (!rc)
            rc = prune_member(p, &w, allowed, &any);
        p->path.len = base;
    }
    return rc ? rc : tg_buf_addc(p->out, '}');
}

static int prune_root(struct prune *p, const char *name, struct tg_str object, bool allowed)
{
    tg_buf_clear(&p->path);
    int rc = tg_buf_adds(&p->path, name);
    return rc ? rc : prune_object(p, object, allowed);
}

/* The body's members, of which three are looked into. */
static int prune_body(struct prune *p, struct tg_str body)
{
    static const char *const roots[] = {"properties", "traits", "context"};
    bool any = false;
    int rc = tg_buf_addc(p->out, '{');
    for (struct tg_json_walk w = tg_json_walk(body); !rc && tg_json_next(&w); any = true) {
        unsigned i = 0;
        while (i < 3 && !tg_json_key_is(w.key, roots[i]))
            i++;
        rc = any ? tg_buf_addc(p->out, ',') : TG_OK;
        if (!rc && (i == 3 || tg_json_type(w.value) != TG_JSON_OBJECT))
            rc = tg_buf_addstr(p->out, w.whole);
        else if (!rc && !(rc = tg_buf_addstr(p->out, tg_str_n(w.whole.p, (size_t)(w.value.p - w.whole.p)))))
            rc = prune_root(p, roots[i], w.value, i == 2 || !p->allow.n);
    }
    return rc ? rc : tg_buf_addc(p->out, '}');
}

static int prune_event(struct prune *p, const struct tg_event *ev, struct tg_event *out)
{
    int rc = prune_body(p, ev->body);
    size_t body = p->out->len;
    if (!rc && ev->context.n)
        rc = prune_root(p, "context", ev->context, true);
    if (rc)
        return rc;
    out->body = tg_str_n(p->out->data, body);
    if (ev->context.n)
        out->context = tg_str_n(p->out->data + body, p->out->len - body);
    return TG_OK;
}

int tg_filter_apply(struct tg_str spec, const struct tg_event *ev, struct tg_buf *bytes, struct tg_event *out,
                    const char **held)
{
    *out = *ev;
    *held = in_sample(tg_json_get(spec, "sample"), ev->message_id) ? NULL : "sampled";
    struct tg_str events = tg_json_get(spec, "events");
    int rc = TG_OK;
    if (!*held && events.n && ev->type == TG_TRACK) {
        bool listed;
        rc = is_listed(events, ev->name, &listed);
        *held = listed ? NULL : "filtered";
    }
    struct prune p = {.drop = tg_json_get(spec, "drop"),
                      .allow = tg_json_get(spec, "allow"),
                      .path = TG_BUF_INIT(SIZE_MAX),
                      .scratch = TG_BUF_INIT(SIZE_MAX),
                      .out = bytes};
    tg_buf_clear(bytes);
    if (!rc && !*held && (p.drop.n || p.allow.n))
        rc = prune_event(&p, ev, out);
    tg_buf_fini(&p.path);
    tg_buf_fini(&p.scratch);
    return rc;
}
