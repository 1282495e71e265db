/* Events of any form through a handler that reads them in every way and sends on what it finds: by paths,
 * mapped, as tables, as forms and as JSON. Whatever the event, the handler does not raise, and what raw gives
 * is JSON again. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "script/host.h"

#include <stdio.h>
#include <stdlib.h>

static const char library_text[] = "return require 'tidegate.core'";
static const char script_text[] =
    "local t = require 'tidegate'\n"
    "local rows = { { to = 'a', from = { 'properties.a', 'context.traits.a', 'traits.a' }, as = 'string' },\n"
    "  { to = 'n', from = 'properties.n', as = { 'trim', 'number' } }, { to = 't', from = { 'properties.t', "
    "'timestamp' }, as = 'iso_time' },\n"
    "  { to = 'h', from = 'context.traits.email', as = { 'trim', 'lower', 'sha256' } }, { to = 'b', from = "
    "'properties.b', as = 'boolean' } }\n"
    "return { name = 'F', hosts = { 'a.example' }, on = { track = function(event)\n"
    "  local early = t.get(event, 'properties.a.b.0')\n"
    "  local mapped = t.map(event, rows)\n"
    "  assert(next(t.json.decode(t.raw(event))) ~= nil)\n"
    "  for k, v in pairs(event.context) do if type(v) == 'table' then for _ in pairs(v) do end end end\n"
    "  assert(type(event.properties) == 'table' and type(event.context.traits) == 'table')\n"
    "  t.deliver { url = 'https://a.example/', query = mapped, json = { event = event, early = early, first "
    "= t.first(event, { 'x', 'properties', 'traits' }) } }\n"
    "end } }\n";

static bool failed;

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    (void)arg;
    (void)run;
    if (tg_json_validate(tg_str_n(request->body, request->body_len), TG_JSON_MAX_DEPTH, NULL, NULL))
        failed = true;
    tg_request_free(&request);
}

static void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    (void)arg;
    (void)run;
    /* The deepest events are one level too deep for a body that holds them. */
    bool deep = result->message && strstr(result->message, "nest");
    if (result->end != TG_RUN_DONE && !deep) {
        (void)fprintf(stderr, "%s: %s\n", result->reason, result->message ? result->message : "");
        failed = true;
    }
}

static struct tg_dest *destination(void)
{
    static const struct tg_script_file library = {"tidegate.lua",
                                                  "tidegate.lua",
                                                  {library_text, sizeof library_text - 1}},
                                       init = {"init.lua", "init.lua", {script_text, sizeof script_text - 1}};
    static const struct tg_script_source source = {"f", &init, 1};
    struct tg_host_options options = {
        .library = {"lua", &library, 1}, .fixed_now = TG_NO_TIME, .soft_limit_us = 5000000};
    struct tg_dest_spec spec = {"f", "settings", TG_STR("{}"), &source, NULL, NULL};
    struct tg_host *host;
    struct tg_dest *dest;
    struct tg_problems problems;
    struct tg_err err;
    tg_problems_init(&problems);
    tg_log_set_fd(-1);
    if (tg_host_new(&options, &host, &err) || tg_dest_load(host, &spec, &dest, &problems)) {
        (void)fprintf(stderr, "%s\n", problems.n ? problems.items[0].reason : err.msg);
        abort();
    }
    return dest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tg_dest *dest;
    static const struct tg_run_ops ops = {on_deliver, on_end};
    struct tg_event ev = {.type = TG_TRACK,
                          .source = TG_STR("s"),
                          .message_id = TG_STR("m"),
                          .received_at = 1,
                          .timestamp = 2,
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_run *run;
    struct tg_err err;
    if (!dest)
        dest = destination();
    if (tg_json_validate(tg_str_n((const char *)data, size), TG_JSON_MAX_DEPTH - 4, &ev.body, NULL) ||
        tg_json_type(ev.body) != TG_JSON_OBJECT)
        return 0;
    if (tg_run_start(dest, &ev, 1, TG_STR(""), TG_STR(""), &ops, NULL, &run, &err))
        abort();
    tg_run_free(&run);
    if (failed)
        abort();
    return 0;
}
