/* A script host with an engine that only takes notes; shared by the tests of this room. */
#ifndef TESTS_UNIT_SCRIPT_WORLD_H
#define TESTS_UNIT_SCRIPT_WORLD_H

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/host.h"

#include "tg_test.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "script/host.h"

#include <stdio.h>

static const char library_text[] = "return require 'tidegate.core'";

struct deed { /* what the engine was told */
    struct tg_request *requests[16];
    unsigned n_requests;
    bool ended;
    enum tg_run_end end;
    char reason[128], message[4096];
    int64_t retry_ms;
    struct tg_run *run;
};

struct world {
    struct tg_host *host;
    struct tg_dest *dests[4];
    unsigned n_dests;
    const char *rates; /* of the configuration, as JSON; NULL */
    struct tg_problems problems;
    struct tg_watch_cell watch;
};

static inline void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    struct deed *d = arg;
    d->run = run;
    assert_true(d->n_requests < 16);
    d->requests[d->n_requests++] = request;
}

static inline void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    struct deed *d = arg;
    d->run = run;
    assert_false(d->ended);
    d->ended = true;
    d->end = result->end;
    d->retry_ms = result->retry_after_ms;
    snprintf(d->reason, sizeof d->reason, "%s", result->reason ? result->reason : "");
    snprintf(d->message, sizeof d->message, "%s", result->message ? result->message : "");
}

static const struct tg_run_ops ops = {on_deliver, on_end};

/* CPU time that a script may take where the test does not say: more than any takes, however slow the machine
 * is. The brief one is for scripts that do not end. */
enum { PATIENT_US = 10000000, BRIEF_US = 100000 };
static int64_t script_limit_us = PATIENT_US;

static inline struct world *world_new(size_t memory, int64_t soft_us)
{
    static const struct tg_script_file file = {
        "tidegate.lua", "lua/tidegate.lua", {library_text, sizeof library_text - 1}};
    struct world *w = tg_calloc(1, sizeof *w);
    struct tg_host_options o = {.memory_bytes = memory,
                                .soft_limit_us = soft_us ? soft_us : script_limit_us,
                                .library = {"lua", &file, 1},
                                .watch = &w->watch,
                                .fixed_now = TG_NO_TIME};
    struct tg_err err;
    assert_int_equal(tg_host_new(&o, &w->host, &err), TG_OK);
    tg_problems_init(&w->problems);
    return w;
}

static inline void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->n_dests; i++)
        tg_dest_free(&w->dests[i]);
    tg_host_free(&w->host);
    tg_problems_fini(&w->problems);
    tg_free(w);
}

static inline int load_as(struct world *w, const char *name, const char *script, const char *settings)
{
    struct tg_script_file file = {"init.lua", "destinations/t/init.lua", tg_str_of(script)};
    struct tg_script_source source = {"t", &file, 1};
    struct tg_dest_spec spec = {name,    "destinations.t.settings", tg_str_of(settings), &source, NULL,
                                w->rates};
    int rc = tg_dest_load(w->host, &spec, &w->dests[w->n_dests], &w->problems);
    if (rc == TG_OK)
        w->n_dests++;
    return rc;
}

static inline void load(struct world *w, const char *script, const char *settings)
{
    if (load_as(w, "t", script, settings) == TG_OK)
        return;
    struct tg_buf b = TG_BUF_INIT(1 << 20);
    assert_int_equal(tg_problems_print(&w->problems, &b), TG_OK);
    print_message("%s\n", tg_buf_cstr(&b));
    tg_buf_fini(&b);
    fail();
}

/* The problems of loading the script, as one text. */
static inline const char *problems_of(struct world *w, const char *script, const char *settings)
{
    static char text[8192];
    struct tg_buf b = TG_BUF_INIT(1 << 20);
    assert_int_equal(load_as(w, "t", script, settings), TG_INVALID);
    assert_int_equal(tg_problems_print(&w->problems, &b), TG_OK);
    snprintf(text, sizeof text, "%s", tg_buf_cstr(&b));
    tg_buf_fini(&b);
    tg_problems_fini(&w->problems);
    tg_problems_init(&w->problems);
    return text;
}

static inline struct tg_event event_of(const char *body)
{
    struct tg_event ev = {.type = TG_TRACK,
                          .source = TG_STR("web"),
                          .message_id = TG_STR("m-1"),
                          .user_id = TG_STR("u-1"),
                          .received_at = 1700000001000,
                          .timestamp = 1700000000000,
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME,
                          .body = tg_str_of(body)};
    return ev;
}

static inline void start_with(struct world *w, unsigned dest, struct tg_event *ev, const char *responses,
                              struct deed *d)
{
    struct tg_err err;
    struct tg_run *run;
    memset(d, 0, sizeof *d);
    assert_int_equal(
        tg_run_start(w->dests[dest], ev, 7, TG_STR(""), tg_str_of(responses), &ops, d, &run, &err), TG_OK);
    d->run = run;
}

/* One event through the handler of destination `dest`; deed_free when done. */
static inline void start(struct world *w, unsigned dest, const char *body, struct deed *d)
{
    static struct tg_event ev;
    ev = event_of(body);
    start_with(w, dest, &ev, "", d);
}

static inline void deed_free(struct deed *d)
{
    for (unsigned i = 0; i < d->n_requests; i++)
        tg_request_free(&d->requests[i]);
    tg_run_free(&d->run);
}

#define HEAD "local t = require 'tidegate' "
#define ON   "return { name = 'T', hosts = {'a.example'}, on = { track = function(event, settings) "
#define OFF  " end }}"

/* Runs `code` as a handler for `body` and gives the deed; the world is freed. */
static inline void run_code(const char *code, const char *body, struct deed *d)
{
    char script[8192];
    struct world *w = world_new(0, 0);
    snprintf(script, sizeof script, HEAD ON "%s" OFF, code);
    load(w, script, "");
    start(w, 0, body, d);
    deed_free(d);
    world_free(w);
}

/* The reason that `code` ends with when it skips with a text: for reading values. */
static inline const char *value_of(const char *code, const char *body)
{
    static struct deed d;
    run_code(code, body, &d);
    if (d.end != TG_RUN_SKIP)
        print_message("%s: %s\n", d.reason, d.message);
    assert_int_equal(d.end, TG_RUN_SKIP);
    return d.reason;
}

#endif
