#include "daemon/cmd_catch.h"

#include "daemon/catcher.h"
#include "daemon/cli.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_STATUSES = 64, MAX_HEADERS = 16, MAX_SHOWN = 128 * 1024 * 1024 };

struct catch
{
    struct event_base *base;
    bool json;
    int count;    /* stop after so many; 0: never */
    int delay_ms; /* of answers */
};

static void on_caught(void *arg, const struct tg_caught *caught)
{
    struct catch *c = arg;
    struct tg_buf text = TG_BUF_INIT(MAX_SHOWN);
    int rc = c->json ? tg_caught_json(caught, &text) : tg_caught_print(caught, &text);
    if (rc)
        (void)fprintf(stderr, "tidegate catch: request %u: %s\n", caught->number, tg_code_text(rc));
    else if (c->json)
        (void)printf("%.*s\n", TG_STR_ARG(tg_buf_str(&text)));
    else
        (void)printf("--- request %u, answered %d\n%.*s\n", caught->number, caught->status,
                     TG_STR_ARG(tg_buf_str(&text)));
    (void)fflush(stdout);
    tg_buf_fini(&text);
    int leave_ms = c->delay_ms + 200; /* the last answer leaves first */
    const struct timeval soon = {leave_ms / 1000, leave_ms % 1000 * 1000};
    if (c->count && caught->number >= (unsigned)c->count)
        (void)event_base_loopexit(c->base, &soon);
}

/* "500,500,200" */
static bool parse_statuses(const char *text, int *statuses, size_t *n)
{
    for (*n = 0; *n < MAX_STATUSES;) {
        char *end;
        long status = strtol(text, &end, 10);
        if (end == text || status < 200 || status > 599)
            return false;
        statuses[(*n)++] = (int)status;
        if (!*end)
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
    return false;
}

/* A whole number, at most a million; `text` NULL: it was not given. */
static bool parse_number(const char *text, int *n)
{
    char *end;
    long value = text ? strtol(text, &end, 10) : 0;
    *n = (int)value;
    return !text || (*text && !*end && value >= 0 && value <= 1000000);
}

static bool take_headers(int *argc, char **argv, struct tg_header *headers, size_t *n, bool *bad)
{
    const char *given;
    while (*n < MAX_HEADERS && (given = tg_cli_option(argc, argv, "-H", "--header", bad))) {
        char *text = (char *)given, *colon = strchr(text, ':');
        if (!colon)
            return false;
        *colon = '\0';
        headers[(*n)++] = (struct tg_header){text, colon + 1 + strspn(colon + 1, " ")};
    }
    return true;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(arg);
}

static int serve(struct catch *c, const struct tg_catcher_options *options)
{
    struct tg_err err = {0};
    struct tg_catcher *catcher = NULL;
    struct event *term = NULL, *intr = NULL;
    c->base = event_base_new();
    int rc =
        c->base ? tg_catcher_new(c->base, options, &catcher, &err) : tg_fail(&err, TG_NOMEM, "out of memory");
    if (rc) {
        (void)fprintf(stderr, "tidegate catch: %s\n", err.msg);
    } else {
        term = evsignal_new(c->base, SIGTERM, on_signal, c->base);
        intr = evsignal_new(c->base, SIGINT, on_signal, c->base);
        if (term && intr)
            (void)(event_add(term, NULL) + event_add(intr, NULL));
        (void)fprintf(stderr, "tidegate catch: listening on http://%s\n", tg_catcher_address(catcher));
        (void)event_base_dispatch(c->base);
    }
    if (term)
        event_free(term);
    if (intr)
        event_free(intr);
    tg_catcher_free(&catcher);
    if (c->base)
        event_base_free(c->base);
    return rc ? TG_EXIT_FAILED : TG_EXIT_OK;
}

int tg_cmd_catch(int argc, char **argv)
{
    bool bad = false;
    int statuses[MAX_STATUSES];
    struct tg_header headers[MAX_HEADERS];
    size_t n_statuses = 0, n_headers = 0;
    const char *address = tg_cli_option(&argc, argv, "-l", "--listen", &bad);
    const char *status = tg_cli_option(&argc, argv, NULL, "--status", &bad);
    const char *body = tg_cli_option(&argc, argv, NULL, "--body", &bad);
    const char *delay = tg_cli_option(&argc, argv, NULL, "--delay", &bad);
    const char *count = tg_cli_option(&argc, argv, NULL, "--count", &bad);
    struct catch c = {.json = tg_cli_flag(&argc, argv, NULL, "--json")};
    if (!take_headers(&argc, argv, headers, &n_headers, &bad))
        return tg_cli_usage(argv[0], "--header wants \"Name: value\"");
    if (status && !parse_statuses(status, statuses, &n_statuses))
        return tg_cli_usage(argv[0], "--status wants HTTP statuses: 500 or 500,500,200");
    if (!parse_number(delay, &c.delay_ms))
        return tg_cli_usage(argv[0], "--delay wants milliseconds");
    if (!parse_number(count, &c.count))
        return tg_cli_usage(argv[0], "--count wants a whole number");
    if (bad || tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    const struct tg_catcher_options options = {
        .address = address ? address : "127.0.0.1:9999",
        .statuses = statuses,
        .n_statuses = n_statuses,
        .body = body,
        .headers = headers,
        .n_headers = n_headers,
        .delay_ms = c.delay_ms,
        .caught = on_caught,
        .arg = &c,
    };
    return serve(&c, &options);
}
