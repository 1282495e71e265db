#include "daemon/fixture_run.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/json_diff.h"
#include "daemon/mutate.h"
#include "daemon/preview.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORMS_PER_LONG_ONE = TG_BROKEN_FORMS,
    DIFFERENCES = 12,
    SHOWN = 60,
    JSON_MAX = 64 << 20,
    REPORT_MAX = 1 << 20
};
static const int64_t DEFAULT_NOW = 1767225600000; /* 2026-01-01T00:00:00Z unless the fixture says otherwise */

struct one { /* a fixture under test */
    const struct tg_fixture_in *in;
    struct tg_fixture_result *result;
    struct tg_fixture f;
    struct tg_preview *preview;
};

/* A report that finds no more room: the fixture has failed all the same. */
static void full(int rc)
{
    (void)rc;
}

static void complain(struct one *o, const char *format, const char *text)
{
    char line[4096];
    struct tg_buf *report = &o->result->report;
    (void)snprintf(line, sizeof line, format, text);
    full(tg_buf_printf(report, "      %s\n", line));
}

/* --- the checks --- */

static bool check_part(struct one *o, const char *key, struct tg_str want, struct tg_str got)
{
    struct tg_buf part = TG_BUF_INIT(JSON_MAX);
    unsigned n = tg_json_diff(want, got, DIFFERENCES, &part);
    struct tg_buf *report = &o->result->report;
    if (n)
        full(tg_buf_printf(report, "    %s\n%.*s", key, TG_STR_ARG(tg_buf_str(&part))));
    if (n > DIFFERENCES)
        full(tg_buf_printf(report, "      and %u more\n", n - DIFFERENCES));
    tg_buf_fini(&part);
    return n == 0;
}

/* What an error or a refusal said: the cause of what follows it. */
static void say_message(struct one *o, struct tg_str got)
{
    struct tg_str message = tg_json_get(got, "message");
    struct tg_buf text = TG_BUF_INIT(JSON_MAX);
    if (message.n && tg_json_type(message) == TG_JSON_STRING && !tg_json_text(message, &text))
        complain(o, "it said: %s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

static const char *const expected_keys[] = {"outcome", "reason", "message", "outcomes", "requests", NULL};

/* A key that nobody reads would be an expectation that nobody checks. */
static bool check_keys(struct one *o, bool several)
{
    struct tg_json_walk w = tg_json_walk(tg_str_of(o->f.expect));
    bool well = true;
    while (tg_json_next(&w)) {
        struct tg_str key = tg_str_n(w.key.p + 1, w.key.n - 2);
        char name[64];
        int i = 0;
        while (expected_keys[i] && !tg_str_is(key, expected_keys[i]))
            i++;
        bool one = i < 3, many = i == 3;
        if (expected_keys[i] && !(one && several) && !(many && !several))
            continue;
        (void)snprintf(name, sizeof name, "%.*s", TG_STR_ARG(key));
        complain(o,
                 several ? "expect: '%s' is not for several events: outcomes and requests are"
                         : "expect: '%s' is not for one event: outcome, reason, message and requests are",
                 name);
        well = false;
    }
    return well;
}

static bool check_or(struct one *o, const char *name, struct tg_str want, const char *otherwise,
                     struct tg_str got)
{
    return check_part(o, name, want.n ? want : tg_str_of(otherwise), got);
}

/* Outcome, reason and message of an event. A message is compared when one is expected. */
static bool check_outcome(struct one *o, const char *where, const struct tg_str want[3], struct tg_str got)
{
    static const char *const parts[] = {"outcome", "reason", "message"};
    static const char *const otherwise[] = {"\"deliver\"", "null", "null"};
    bool well = true;
    for (int i = 0; i < 3; i++) {
        char name[64];
        struct tg_str part = tg_json_get(got, parts[i]);
        (void)snprintf(name, sizeof name, "%s%s", where, parts[i]);
        if (i < 2 || want[i].n)
            well = check_or(o, name, want[i], otherwise[i], part.n ? part : TG_STR("null")) && well;
    }
    return well;
}

/* "deliver", { "reject", "reason", "message" } or the same by name. */
static void read_outcome(struct tg_str want, struct tg_str parts[3])
{
    struct tg_json_walk w = tg_json_walk(want);
    static const char *const names[] = {"outcome", "reason", "message"};
    for (int i = 0; i < 3; i++)
        parts[i] = tg_str_n(NULL, 0);
    if (tg_json_type(want) == TG_JSON_STRING)
        parts[0] = want;
    for (int i = 0; i < 3 && tg_json_type(want) == TG_JSON_ARRAY && tg_json_next(&w); i++)
        parts[i] = w.value;
    for (int i = 0; i < 3 && tg_json_type(want) == TG_JSON_OBJECT; i++)
        parts[i] = tg_json_get(want, names[i]);
}

static size_t count(struct tg_str array)
{
    size_t n = 0;
    struct tg_json_walk w = tg_json_walk(array);
    while (tg_json_next(&w))
        n++;
    return n;
}

/* What became of each of several events. Without expectation all are delivered. */
static bool check_outcomes(struct one *o, struct tg_str want, struct tg_str got)
{
    struct tg_json_walk w = tg_json_walk(want.n ? want : TG_STR("[]")), g = tg_json_walk(got);
    bool well = true;
    char text[64];
    if (want.n && (tg_json_type(want) != TG_JSON_ARRAY || count(want) != count(got))) {
        (void)snprintf(text, sizeof text, "%zu", count(got));
        complain(o, "expect: outcomes: a list of %s is wanted, one for each event", text);
        return false;
    }
    for (unsigned i = 1; tg_json_next(&g); i++) {
        struct tg_str parts[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
        (void)snprintf(text, sizeof text, "outcomes[%u].", i);
        if (tg_json_next(&w))
            read_outcome(w.value, parts);
        well = check_outcome(o, text, parts, g.value) && well;
    }
    return well;
}

static bool check_expected(struct one *o)
{
    struct tg_str got = tg_buf_str(&o->result->got), want = tg_str_of(o->f.expect);
    struct tg_str outcomes = tg_json_get(got, "outcomes");
    const struct tg_str parts[3] = {tg_json_get(want, "outcome"), tg_json_get(want, "reason"),
                                    tg_json_get(want, "message")};
    struct tg_buf report = o->result->report; /* set aside, to be put behind the cause */
    o->result->report = TG_BUF_INIT(REPORT_MAX);
    bool well = check_keys(o, outcomes.n > 0);
    if (outcomes.n)
        well = check_outcomes(o, tg_json_get(want, "outcomes"), outcomes) && well;
    else
        well = check_outcome(o, "", parts, got) && well;
    well = check_or(o, "requests", tg_json_get(want, "requests"), "[]", tg_json_get(got, "requests")) && well;
    struct tg_buf differences = o->result->report;
    o->result->report = report;
    if (!well)
        say_message(o, got);
    full(tg_buf_addstr(&o->result->report, tg_buf_str(&differences)));
    tg_buf_fini(&differences);
    return well;
}

static bool check_again(struct one *o)
{
    struct tg_buf again = TG_BUF_INIT(JSON_MAX);
    struct tg_err err;
    bool same =
        !tg_preview_run(o->preview, tg_str_of(o->f.event), tg_str_of(o->f.responses), true, &again, &err) &&
        tg_str_eq(tg_buf_str(&again), tg_buf_str(&o->result->got));
    if (!same)
        complain(o, "a second run of the same event gave something else: %s",
                 again.len ? tg_buf_cstr(&again) : "nothing");
    tg_buf_fini(&again);
    return same;
}

typedef int mutation(struct tg_str json, unsigned seed, struct tg_buf *out);

/* Behind the string that begins at p. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p < end ? p + 1 : end;
}

/* A long text in the event, cut between two characters: what is in it says less than that it is long. */
static int add_string(struct tg_buf *out, struct tg_str string)
{
    size_t n = SHOWN;
    if (string.n <= 2 * SHOWN)
        return tg_buf_addstr(out, string);
    while (n > 1 && (((unsigned char)string.p[n] & 0xc0) == 0x80 || string.p[n - 1] == '\\'))
        n--;
    return tg_buf_printf(out, "%.*s…\" (%zu bytes)", (int)n, string.p, string.n - 2);
}

static void show_event(struct one *o, struct tg_str event)
{
    struct tg_buf text = TG_BUF_INIT(JSON_MAX);
    const char *p = event.p, *end = event.p + event.n;
    int rc = TG_OK;
    while (!rc && p < end) {
        const char *q = *p == '"' ? string_end(p, end) : p + 1;
        rc = add_string(&text, tg_str_n(p, (size_t)(q - p)));
        p = q;
    }
    complain(o, TG_BROKEN_EVENT "%s", rc ? "" : tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

/* One broken form of the event: whatever it leads to, the script may not raise. */
static bool check_form(struct one *o, mutation *mutate, unsigned seed)
{
    struct tg_buf event = TG_BUF_INIT(JSON_MAX), json = TG_BUF_INIT(JSON_MAX), said = TG_BUF_INIT(JSON_MAX);
    struct tg_err err;
    bool raised =
        !mutate(tg_str_of(o->f.event), seed, &event) &&
        !tg_preview_run(o->preview, tg_buf_str(&event), tg_str_of(o->f.responses), true, &json, &err) &&
        tg_str_is(tg_json_get(tg_buf_str(&json), "outcome"), "\"error\"");
    if (raised) {
        struct tg_str message = tg_json_get(tg_buf_str(&json), "message");
        bool readable = message.n && !tg_json_text(message, &said);
        complain(o, "a broken form of the event makes the script raise: %s",
                 readable ? tg_buf_cstr(&said) : "");
        show_event(o, tg_buf_str(&event));
    }
    tg_buf_fini(&event);
    tg_buf_fini(&json);
    tg_buf_fini(&said);
    return !raised;
}

static bool check_broken(struct one *o)
{
    unsigned forms = o->in->broken_forms,
             first = (unsigned)strlen(o->f.event); /* other texts in other fixtures */
    for (unsigned i = 1; i <= forms; i++)
        if (!check_form(o, tg_mutate_json, i))
            return false;
    for (unsigned i = 0; i < forms / FORMS_PER_LONG_ONE; i++)
        if (!check_form(o, tg_mutate_long, first + i))
            return false;
    return true;
}

/* --- one fixture --- */

static bool open_preview(struct one *o)
{
    struct tg_err err;
    struct tg_preview_in in = {.library = o->in->library,
                               .script = o->in->script,
                               .settings = tg_str_of(o->f.settings),
                               .now = DEFAULT_NOW,
                               .coverage = o->in->coverage,
                               .allow_private = o->f.allow_private};
    if (o->f.at && !tg_time_parse(tg_str_of(o->f.at), &in.now)) {
        complain(o, "at: '%s' is not a time", o->f.at);
        return false;
    }
    if (tg_preview_new(&in, &o->preview, &err)) {
        complain(o, "%s", err.msg);
        return false;
    }
    return true;
}

static void cover_handler(struct one *o, struct tg_str event)
{
    struct tg_str type;
    enum tg_event_type t;
    if (tg_json_plain(tg_json_get(event, "type"), &type) && tg_event_type_parse(type, &t))
        tg_coverage_handler(o->in->coverage, t);
}

static void cover(struct one *o)
{
    struct tg_str event;
    if (!o->in->coverage)
        return;
    struct tg_buf contract = TG_BUF_INIT(JSON_MAX);
    if (!tg_dest_describe(tg_preview_dest(o->preview), &contract)) {
        tg_coverage_contract(o->in->coverage, tg_buf_str(&contract));
        tg_coverage_settings(o->in->coverage, tg_buf_str(&contract), tg_str_of(o->f.settings));
    }
    tg_buf_fini(&contract);
    if (tg_json_validate(tg_str_of(o->f.event), TG_JSON_MAX_DEPTH, &event, NULL))
        return;
    struct tg_json_walk w = tg_json_walk(tg_json_type(event) == TG_JSON_ARRAY ? event : TG_STR("[]"));
    if (tg_json_type(event) == TG_JSON_OBJECT)
        cover_handler(o, event);
    while (tg_json_next(&w))
        cover_handler(o, w.value);
}

static bool check(struct one *o)
{
    struct tg_err err;
    if (!open_preview(o))
        return false;
    o->result->loaded = true;
    if (o->in->coverage)
        tg_coverage_on(o->in->coverage, true);
    int rc = tg_preview_run(o->preview, tg_str_of(o->f.event), tg_str_of(o->f.responses), true,
                            &o->result->got, &err);
    if (o->in->coverage)
        tg_coverage_on(o->in->coverage, false);
    if (rc) {
        complain(o, "%s", err.msg);
        return false;
    }
    o->result->rendered = true;
    cover(o);
    if (!o->f.expect) {
        say_message(o, tg_buf_str(&o->result->got));
        complain(o, "%s",
                 "expect: a fixture says what it expects: { outcome, reason, requests }; `tidegate test "
                 "--update` writes it");
        return false;
    }
    bool well = check_expected(o);
    well = check_again(o) && well;
    return check_broken(o) && well;
}

void tg_fixture_run(const struct tg_fixture_in *in, struct tg_fixture_result *result)
{
    struct tg_err err;
    struct one o = {.in = in, .result = result};
    *result = (struct tg_fixture_result){.got = TG_BUF_INIT(JSON_MAX), .report = TG_BUF_INIT(REPORT_MAX)};
    if (tg_fixture_load(in->path, &o.f, &err)) {
        complain(&o, "%s", err.msg);
        result->name = tg_strdup(in->path);
    } else {
        result->passed = check(&o);
        result->name = tg_strdup(o.f.name);
    }
    tg_preview_free(&o.preview);
    tg_fixture_fini(&o.f);
}

void tg_fixture_result_fini(struct tg_fixture_result *result)
{
    tg_free(result->name);
    tg_buf_fini(&result->got);
    tg_buf_fini(&result->report);
    *result = (struct tg_fixture_result){0};
}

/* --- finding them --- */

static int is_fixture(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 4 && strcmp(e->d_name + n - 4, ".lua") == 0;
}

int tg_fixture_paths(const char *folder, char ***paths, size_t *n)
{
    char path[4096];
    struct dirent **files = NULL;
    (void)snprintf(path, sizeof path, "%s/fixtures", folder);
    int found = scandir(path, &files, is_fixture, alphasort), rc = TG_OK;
    *n = 0;
    *paths = tg_calloc(found > 0 ? (size_t)found : 1, sizeof **paths);
    if (!*paths)
        rc = TG_NOMEM;
    for (int i = 0; i < found; i++) {
        (void)snprintf(path, sizeof path, "%s/fixtures/%s", folder, files[i]->d_name);
        free(files[i]); /* scandir's */
        if (!rc && !((*paths)[*n] = tg_strdup(path)))
            rc = TG_NOMEM;
        else if (!rc)
            (*n)++;
    }
    free(files); /* scandir's */
    if (rc && *paths) {
        tg_fixture_paths_free(*paths, *n);
        *paths = NULL;
    }
    return rc;
}

void tg_fixture_paths_free(char **paths, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_free(paths[i]);
    tg_free(paths);
}
