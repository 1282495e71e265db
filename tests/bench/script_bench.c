/* What shipped scripts cost: runs the event of a script's sample fixture through the real host, with a
 * deliver that does nothing but join batches of at most fifty, and prints microseconds of CPU per event, the
 * best of several rounds. The scripts take turns, so that a busy machine slows all of them.
 *
 *     cc -O2 -g -D_GNU_SOURCE -Isrc -I/usr/share/include/llhttp $(pkg-config --cflags luajit libevent) \
 *        tests/bench/script_bench.c build/release/lib{ingest,config,script,spool,base}.a \
 *        $(pkg-config --libs luajit openssl zlib) -lm -o build/script_bench
 *     build/script_bench [-n EVENTS] [-r ROUNDS] [SCRIPT...]
 *
 * Where the clock is not to be trusted, count instructions; two runs of different -n cancel the start:
 *     valgrind --tool=callgrind build/script_bench -r 1 -n 2000 impact */
#include "base/clock.h"
#include "base/json.h"
#include "ingest/normalise.h"
#include "script/fixture.h"
#include "script/folders.h"
#include "script/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 50, SCRIPTS_MAX = 16, IDLE_EVERY = 256, EVENT_MAX = 1 << 20 };

struct bench {
    const char *name;
    struct tg_script_source library, source;
    struct tg_fixture fixture;
    struct tg_watch_cell cell;
    struct tg_host *host;
    struct tg_dest *dest;
    struct tg_items items;
    struct tg_request *batch[BATCH];
    size_t n_batch, batch_max, requests, bytes;
    double best; /* us */
};

static void die(const char *name, const char *why)
{
    fprintf(stderr, "script_bench: %s: %s\n", name, why);
    exit(1);
}

static void send_request(struct bench *b, struct tg_request *request)
{
    b->requests++;
    b->bytes += request->body_len;
    tg_request_free(&request);
}

static void join(struct bench *b)
{
    struct tg_request *joined;
    struct tg_err err;
    if (b->n_batch == 0)
        return;
    if (tg_dest_join(b->dest, b->batch, b->n_batch, &joined, &err))
        die(b->name, err.msg);
    for (size_t i = 0; i < b->n_batch; i++)
        tg_request_free(&b->batch[i]);
    b->n_batch = 0;
    send_request(b, joined);
}

static void deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    static const struct tg_response ok = {.status = 200, .body = {"{}", 2}};
    struct bench *b = arg;
    tg_run_settle(run, request->call, &ok);
    if (!request->batch) {
        send_request(b, request);
        return;
    }
    b->batch[b->n_batch++] = request;
}

static void end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    struct bench *b = arg;
    (void)run;
    if (result->end != TG_RUN_DONE)
        die(b->name, result->message ? result->message : result->reason);
}

static void load_event(struct bench *b)
{
    struct tg_request_fault fault;
    struct tg_normalise_in in = {.source = TG_STR("bench"),
                                 .received_at = tg_wall_ms(),
                                 .max_event_bytes = EVENT_MAX,
                                 .max_items = 1,
                                 .max_total_bytes = EVENT_MAX};
    struct tg_str type;
    tg_items_init(&b->items);
    if (tg_body_parse(tg_str_of(b->fixture.event), TG_JSON_MAX_DEPTH, &in.body, &fault) ||
        !tg_json_plain(tg_json_get(in.body, "type"), &type) || !tg_event_type_parse(type, &in.route_type) ||
        tg_normalise(&in, &b->items, &fault) || b->items.n_events != 1)
        die(b->name, "the fixture's event is not taken");
}

static void load(struct bench *b, const char *name)
{
    char path[512];
    struct tg_err err;
    struct tg_problems problems;
    struct tg_host_options options = {.fixed_now = TG_NO_TIME, .watch = &b->cell};
    *b = (struct bench){.name = name};
    snprintf(path, sizeof path, "%s/%s/fixtures/sample.lua", tg_scripts_shipped_dir(), name);
    if (tg_script_library_find(NULL, &b->library, &err) ||
        tg_script_source_find(NULL, 0, name, &b->source, &err) || tg_fixture_load(path, &b->fixture, &err))
        die(name, err.msg);
    options.library = b->library;
    options.allow_private = b->fixture.allow_private;
    if (tg_host_new(&options, &b->host, &err))
        die(name, err.msg);
    tg_problems_init(&problems);
    struct tg_dest_spec spec = {name, "settings", tg_str_of(b->fixture.settings), &b->source, NULL, NULL};
    if (tg_dest_load(b->host, &spec, &b->dest, &problems))
        die(name, problems.n ? problems.items[0].reason : "not loaded");
    tg_problems_fini(&problems);
    size_t max = b->dest->n_batches ? b->dest->batches[0].max_items : 0;
    b->batch_max = max && max < BATCH ? max : BATCH;
    load_event(b);
}

static void unload(struct bench *b)
{
    tg_dest_free(&b->dest);
    tg_host_free(&b->host);
    tg_items_fini(&b->items);
    tg_fixture_fini(&b->fixture);
    tg_script_source_free(&b->source);
    tg_script_source_free(&b->library);
}

static void round_of(struct bench *b, int events)
{
    static const struct tg_run_ops ops = {deliver, end};
    struct tg_err err;
    struct tg_run *run;
    b->requests = b->bytes = 0;
    int64_t before = tg_thread_cpu_us();
    for (int i = 0; i < events; i++) {
        if (tg_run_start(b->dest, &b->items.events[0], (uint64_t)i, (struct tg_str){0}, (struct tg_str){0},
                         &ops, b, &run, &err))
            die(b->name, err.msg);
        tg_run_free(&run);
        if (b->n_batch && b->n_batch == b->batch_max)
            join(b);
        if (i % IDLE_EVERY == 0)
            tg_host_idle(b->host);
    }
    join(b);
    double us = (double)(tg_thread_cpu_us() - before) / events;
    if (b->best == 0 || us < b->best)
        b->best = us;
}

int main(int argc, char **argv)
{
    static struct bench benches[SCRIPTS_MAX];
    char *shipped[] = {"webhook", "segment", "everflow", "refersion", "extole", "impact", "emarsys"};
    char **names = shipped;
    int n = sizeof shipped / sizeof *shipped, events = 5000, rounds = 9, option;
    while ((option = getopt(argc, argv, "n:r:")) != -1) {
        if (option == '?')
            return 2;
        *(option == 'n' ? &events : &rounds) = atoi(optarg);
    }
    if (optind < argc) {
        names = argv + optind;
        n = argc - optind < SCRIPTS_MAX ? argc - optind : SCRIPTS_MAX;
    }
    for (int i = 0; i < n; i++)
        load(&benches[i], names[i]);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < n; i++)
            round_of(&benches[i], events);
    printf("%-12s %8s %8s %12s %10s\n", "script", "bytes", "us", "requests", "bytes out");
    for (int i = 0; i < n; i++) {
        const struct bench *b = &benches[i];
        printf("%-12s %8zu %8.2f %12zu %10zu\n", b->name, b->items.events[0].body.n, b->best, b->requests,
               b->bytes);
        unload(&benches[i]);
    }
    return 0;
}
