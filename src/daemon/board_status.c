#include "daemon/board_status.h"

#include "base/clock.h"
#include "base/json.h"
#include "daemon/tally.h"

#include <inttypes.h>

/* Members that are a point in time, an age, or about all workers together: the greatest counts. */
static bool is_max(struct tg_str key)
{
    static const char *const names[] = {"paused_until", "oldest_ms", "dead_bytes", "dead_free_bytes"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (tg_json_key_is(key, names[i]))
            return true;
    }
    return false;
}

static int merge_number(struct tg_buf *out, struct tg_str key, struct tg_str a, struct tg_str b)
{
    double x = 0, y = 0;
    if (!tg_json_double(a, &x) || !tg_json_double(b, &y))
        return tg_buf_addstr(out, a);
    return tg_json_number(out, is_max(key) ? (x > y ? x : y) : x + y);
}

/* Of two texts (states, reasons) the one that a person has to see: not "running". */
static struct tg_str worse(struct tg_str a, struct tg_str b)
{
    if (b.n == 0 || tg_json_type(b) == TG_JSON_NULL)
        return a;
    if (tg_json_type(a) == TG_JSON_NULL || tg_str_is(a, "\"running\"") || tg_str_is(a, "\"closed\""))
        return b;
    return a;
}

static int merge_objects(struct tg_buf *out, struct tg_str a, struct tg_str b)
{
    int rc = tg_buf_addc(out, '{');
    bool first = true;
    struct tg_json_walk w = tg_json_walk(a);
    while (!rc && tg_json_next(&w)) {
        struct tg_str other = {NULL, 0};
        struct tg_json_walk v = tg_json_walk(b);
        while (tg_json_next(&v)) {
            if (tg_str_eq(v.key, w.key))
                other = v.value;
        }
        rc = tg_buf_printf(out, "%s%.*s:", first ? "" : ",", TG_STR_ARG(w.key));
        first = false;
        if (rc)
            break;
        if (other.n && tg_json_type(w.value) == TG_JSON_NUMBER && tg_json_type(other) == TG_JSON_NUMBER)
            rc = merge_number(out, w.key, w.value, other);
        else if (other.n && tg_json_type(w.value) == TG_JSON_OBJECT && tg_json_type(other) == TG_JSON_OBJECT)
            rc = merge_objects(out, w.value, other);
        else
            rc = tg_buf_addstr(out, worse(w.value, other));
    }
    return rc ? rc : tg_buf_addc(out, '}');
}

static int merge_into(struct tg_buf *all, struct tg_str more)
{
    struct tg_buf merged = TG_BUF_INIT(all->max);
    int rc = all->len ? TG_OK : tg_buf_adds(all, "{}");
    struct tg_str have = tg_buf_str(all);
    /* Names that only the other side knows go in as they are. */
    if (!rc)
        rc = merge_objects(&merged, have, more);
    struct tg_json_walk w = tg_json_walk(more);
    while (!rc && tg_json_next(&w)) {
        struct tg_json_walk v = tg_json_walk(have);
        bool known = false;
        while (tg_json_next(&v))
            known |= tg_str_eq(v.key, w.key);
        if (known)
            continue;
        merged.len--; /* the closing brace */
        rc = tg_buf_printf(&merged, "%s%.*s}", merged.len > 1 ? "," : "", TG_STR_ARG(w.whole));
    }
    if (!rc) {
        struct tg_buf old = *all;
        *all = merged;
        merged = old;
    }
    tg_buf_fini(&merged);
    return rc;
}

/* One destination of one worker's report, under its name. */
static int merge_destination(struct tg_buf *all, struct tg_str one)
{
    struct tg_str name = tg_json_get(one, "name");
    struct tg_buf named = TG_BUF_INIT(all->max);
    int rc = tg_buf_printf(&named, "{%.*s:%.*s}", TG_STR_ARG(name), TG_STR_ARG(one));
    if (!rc)
        rc = merge_into(all, tg_buf_str(&named));
    tg_buf_fini(&named);
    return rc;
}

static int add_worker(struct tg_board *board, unsigned w, struct tg_buf *workers, struct tg_buf *destinations)
{
    struct tg_board_row *row = &board->rows[w];
    struct tg_buf said = TG_BUF_INIT(TG_BOARD_STATUS_MAX);
    int rc = tg_board_read(board, w, &said);
    struct tg_str json = tg_buf_str(&said);
    bool torn = rc == TG_BUSY; /* it was killed in the middle of writing */
    if (torn)
        rc = TG_OK;
    if (!rc && (torn || tg_json_validate(json, TG_JSON_MAX_DEPTH, &json, NULL)))
        json = TG_STR("{}"); /* it has said nothing yet */
    struct tg_str of_destinations = tg_json_get(json, "destinations");
    if (!rc)
        rc = tg_buf_printf(workers,
                           "%s{\"worker\":%u,\"pid\":%d,\"up\":%s,\"accepting\":%s,\"restarts\":%" PRIu64
                           ",\"generation\":%" PRIu64 ",\"report\":",
                           w ? "," : "", w, atomic_load(&row->pid),
                           atomic_load(&row->down_since) ? "false" : "true",
                           atomic_load(&row->accepting) ? "true" : "false", atomic_load(&row->restarts),
                           atomic_load(&row->generation));
    if (!rc)
        rc = tg_buf_addstr(workers, json);
    if (!rc)
        rc = tg_buf_addc(workers, '}');
    struct tg_json_walk d = tg_json_walk(of_destinations);
    while (!rc && of_destinations.n && tg_json_next(&d))
        rc = merge_destination(destinations, d.value);
    tg_buf_fini(&said);
    return rc;
}

static int64_t number(struct tg_str object, const char *name)
{
    int64_t n = 0;
    (void)tg_json_int(tg_json_get(object, name), &n);
    return n;
}

/* What has become of the destination's events; ends its object. */
static int add_totals(struct tg_buf *out, const struct tg_tally *tally, const struct tg_json_walk *w)
{
    static const char *const kinds[] = {"delivered", "skipped", "rejected", "retried", "dead", "dropped"};
    struct tg_buf name = TG_BUF_INIT(TG_BOARD_STATUS_MAX);
    int rc = tg_json_text(w->key, &name);
    const char *z = rc ? NULL : tg_buf_cstr(&name);
    if (z) {
        rc = tg_buf_printf(out, ",\"waiting\":%" PRId64,
                           number(w->value, "backlog_events") + number(w->value, "retries"));
        for (size_t i = 0; !rc && i < sizeof kinds / sizeof *kinds; i++)
            rc = tg_buf_printf(out, ",\"%s\":%" PRId64, kinds[i], tg_tally_total(tally, z, kinds[i]));
        if (!rc)
            rc = tg_buf_adds(out, ",\"reasons\":");
        if (!rc)
            rc = tg_tally_reasons(tally, z, out);
        if (!rc)
            rc = tg_buf_addc(out, '}');
    }
    tg_buf_fini(&name);
    return z ? rc : TG_NOMEM;
}

static int add_destinations(struct tg_buf *out, const struct tg_tally *tally, struct tg_str merged)
{
    int rc = tg_buf_addc(out, '{');
    struct tg_json_walk w = tg_json_walk(merged);
    bool first = true;
    while (!rc && tg_json_next(&w)) {
        rc = tg_buf_printf(out, "%s%.*s", first ? "" : ",", (int)w.whole.n - 1, w.whole.p);
        first = false;
        if (!rc)
            rc = add_totals(out, tally, &w);
    }
    return rc ? rc : tg_buf_addc(out, '}');
}

/* What senders did: by source, and what was refused. */
static int add_senders(struct tg_buf *json, const struct tg_tally *tally)
{
    int rc = tg_buf_adds(json, ",\"sources\":");
    if (!rc)
        rc = tg_tally_sources(tally, json);
    if (!rc)
        rc = tg_buf_adds(json, ",\"refused\":");
    return rc ? rc : tg_tally_refused(tally, json);
}

int tg_board_status(struct tg_board *board, struct tg_metrics *metrics, struct tg_buf *json)
{
    struct tg_buf workers = TG_BUF_INIT(64 * TG_BOARD_STATUS_MAX),
                  destinations = TG_BUF_INIT(TG_BOARD_STATUS_MAX);
    char why[TG_BOARD_WHY_MAX + 32] = "";
    uint64_t generation = 0;
    struct tg_tally tally = {NULL, 0};
    int rc = tg_tally_read(metrics, &tally);
    for (unsigned w = 0; !rc && w < board->workers; w++) {
        uint64_t g = atomic_load(&board->rows[w].generation);
        generation = g > generation ? g : generation;
        rc = add_worker(board, w, &workers, &destinations);
    }
    bool ready = tg_board_ready(board, why, sizeof why);
    if (!rc)
        rc = tg_buf_printf(json, "{\"version\":\"%s\",\"ready\":%s,\"why\":", TG_VERSION,
                           ready ? "true" : "false");
    if (!rc)
        rc = ready ? tg_buf_adds(json, "null") : tg_json_quote(json, tg_str_of(why));
    if (!rc)
        rc = tg_buf_printf(json, ",\"generation\":%" PRIu64 ",\"uptime_ms\":%" PRId64 ",\"destinations\":",
                           generation, tg_board_uptime(board));
    if (!rc)
        rc = destinations.len ? add_destinations(json, &tally, tg_buf_str(&destinations))
                              : tg_buf_adds(json, "{}");
    if (!rc)
        rc = add_senders(json, &tally);
    if (!rc)
        rc = tg_buf_adds(json, ",\"workers\":[");
    if (!rc)
        rc = tg_buf_addstr(json, tg_buf_str(&workers));
    if (!rc)
        rc = tg_buf_adds(json, "]}");
    tg_buf_fini(&workers);
    tg_buf_fini(&destinations);
    tg_tally_fini(&tally);
    return rc;
}
