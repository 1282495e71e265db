/* The file is one event, an array of events, a batch envelope, or one event a line; "-" is standard input.
 * They go in batches of at most 100 events and 400 KB, which every limit along the way allows. */
#include "daemon/cmd_send.h"

#include "base/json.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/poster.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 1024 * 1024 * 1024, BATCH_EVENTS = 100, BATCH_BYTES = 400 * 1024, TIMEOUT_MS = 30000 };

struct send {
    struct event_base *base;
    char url[512];
    const char *key;
    struct tg_buf batch; /* {"batch":[… without its end */
    size_t events, sent;
};

static int flush(struct send *s, struct tg_err *err)
{
    struct tg_buf answer = TG_BUF_INIT(65536);
    int status = 0;
    if (s->events == 0)
        return TG_OK;
    int rc = tg_buf_adds(&s->batch, "]}");
    if (!rc)
        rc = tg_post(s->base, s->url, s->key, tg_buf_str(&s->batch), TIMEOUT_MS, &status, &answer, err);
    if (!rc && status != 200)
        rc =
            tg_fail(err, TG_INVALID, "%s answered %d: %.*s", s->url, status, TG_STR_ARG(tg_buf_str(&answer)));
    if (!rc)
        s->sent += s->events;
    s->events = 0;
    tg_buf_clear(&s->batch);
    tg_buf_fini(&answer);
    return rc;
}

static int add_event(struct send *s, struct tg_str event, struct tg_err *err)
{
    int rc = TG_OK;
    if (s->events == BATCH_EVENTS || (s->events && s->batch.len + event.n > BATCH_BYTES))
        rc = flush(s, err);
    if (!rc)
        rc = tg_buf_adds(&s->batch, s->events ? "," : "{\"batch\":[");
    if (!rc)
        rc = tg_buf_addstr(&s->batch, event);
    s->events++;
    return rc;
}

static int add_value(struct send *s, struct tg_str value, struct tg_err *err)
{
    struct tg_str list = value;
    if (tg_json_type(value) == TG_JSON_OBJECT)
        list = tg_json_get(value, "batch");
    if (list.n == 0 || tg_json_type(list) != TG_JSON_ARRAY)
        return add_event(s, value, err);
    int rc = TG_OK;
    struct tg_json_walk w = tg_json_walk(list);
    while (!rc && tg_json_next(&w))
        rc = add_event(s, w.value, err);
    return rc;
}

static int add_lines(struct send *s, struct tg_str text, struct tg_err *err)
{
    int rc = TG_OK;
    for (size_t number = 1; !rc && text.n; number++) {
        const char *end = memchr(text.p, '\n', text.n);
        struct tg_str line = {text.p, end ? (size_t)(end - text.p) : text.n}, value;
        text = end ? tg_str_n(end + 1, text.n - line.n - 1) : tg_str_n("", 0);
        if (tg_str_trim(line).n == 0)
            continue;
        rc = tg_json_validate(line, TG_JSON_MAX_DEPTH, &value, err);
        if (rc)
            return tg_err_prefix(err, "line %zu", number);
        rc = add_value(s, value, err);
    }
    return rc;
}

static int read_all(FILE *in, struct tg_buf *text, struct tg_err *err)
{
    for (;;) {
        if (tg_buf_reserve(text, 65536))
            return tg_fail(err, TG_TOOBIG, "larger than 1 GiB, or out of memory");
        size_t n = fread(text->data + text->len, 1, 65536, in);
        text->len += n;
        if (n == 0)
            return ferror(in) ? tg_fail_errno(err, errno, "cannot be read") : TG_OK;
    }
}

static int send_file(struct send *s, FILE *in, struct tg_err *err)
{
    struct tg_buf text = TG_BUF_INIT(MAX_FILE);
    struct tg_str value;
    int rc = read_all(in, &text, err);
    if (!rc && tg_json_validate(tg_buf_str(&text), TG_JSON_MAX_DEPTH, &value, NULL) == TG_OK)
        rc = add_value(s, value, err);
    else if (!rc)
        rc = add_lines(s, tg_buf_str(&text), err);
    if (!rc)
        rc = flush(s, err);
    tg_buf_fini(&text);
    return rc;
}

/* Where to: what the options say, else the configuration's first listener and first write key. */
static bool find_target(struct send *s, const char *url, const char *key, struct tg_config *config)
{
    if (url)
        (void)snprintf(s->url, sizeof s->url, "%s%s", url, strstr(url, "/v1") ? "" : "/v1/batch");
    else if (config && config->n_listen)
        (void)snprintf(s->url, sizeof s->url, "http%s://%s/v1/batch", config->listen[0].cert ? "s" : "",
                       config->listen[0].addr);
    s->key = key ? key : config && config->n_sources ? config->sources[0].write_keys.v[0] : NULL;
    return s->url[0] && s->key;
}

int tg_cmd_send(int argc, char **argv)
{
    bool bad = false;
    struct tg_err err = {0};
    struct send s = {.batch = TG_BUF_INIT((size_t)2 * MAX_FILE)};
    const char *path = tg_cli_config_path(&argc, argv, &bad);
    const char *url = tg_cli_option(&argc, argv, NULL, "--url", &bad),
               *key = tg_cli_option(&argc, argv, NULL, "--key", &bad);
    if (bad || tg_cli_too_many(argc, argv, 1, 1))
        return TG_EXIT_USAGE;
    struct tg_config *config = url && key ? NULL : tg_cli_config(path);
    FILE *in = strcmp(argv[1], "-") == 0 ? stdin : fopen(argv[1], "rbe");
    int rc = TG_OK;
    if (!(url && key) && !config)
        rc = tg_fail(&err, TG_INVALID, "name the relay with --url and --key, or a configuration with -c");
    else if (!in)
        rc = tg_fail_errno(&err, errno, "%s", argv[1]);
    else if (!find_target(&s, url, key, config) || !(s.base = event_base_new()))
        rc = tg_fail(&err, TG_INVALID, "no listener or write key in the configuration");
    else
        rc = send_file(&s, in, &err);
    if (rc)
        (void)fprintf(stderr, "tidegate send: %s\n", err.msg[0] ? err.msg : tg_code_text(rc));
    (void)fprintf(stderr, "tidegate send: %zu event%s accepted\n", s.sent, s.sent == 1 ? "" : "s");
    if (in && in != stdin)
        (void)fclose(in);
    if (s.base)
        event_base_free(s.base);
    tg_buf_fini(&s.batch);
    tg_config_free(&config);
    return rc ? TG_EXIT_FAILED : TG_EXIT_OK;
}
