/* The script host: what stands above it sees a destination as a C struct, and handlers as runs that ask for
 * deliveries. That they are Lua shows nowhere outside this room. Design section 7.
 *
 * One host per worker, with one LuaJIT state, compiler off, memory capped; every destination has its own
 * environment. All functions run on the loop's thread. Nothing here blocks but the script itself, up to the
 * soft limit. */
#ifndef TG_SCRIPT_HOST_H
#define TG_SCRIPT_HOST_H

#include "base/err.h"
#include "base/event.h"
#include "base/metrics.h"
#include "base/problems.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_host;
struct tg_coverage;

/* --- sources --- */
struct tg_script_file {
    const char *name; /* "init.lua", "helpers.lua": relative to the script's folder */
    const char *path; /* for messages: what a person would open */
    struct tg_str text;
};
/* One script's folder, or the library (`tidegate.lua`, `tidegate/….lua`). */
struct tg_script_source {
    const char *name; /* "everflow" */
    const struct tg_script_file *files;
    size_t n_files;
};

/* What a worker shares with the supervisor so that a script that cannot be stopped from inside is seen:
 * `since_us` is non-zero (tg_mono_us) while a script call runs. */
struct tg_watch_cell {
    _Atomic int64_t since_us;
    _Atomic uint64_t seq;
    char destination[64];
};

struct tg_host_options {
    size_t memory_bytes;   /* cap of the Lua heap; default 256 MiB */
    int64_t soft_limit_us; /* thread CPU time of one script call; default 100,000 */
    bool allow_private; /* egress.allow_private is on in some form: http URLs are allowed by the schema check
                         */
    struct tg_script_source library;
    struct tg_watch_cell *watch;  /* may be NULL */
    int64_t fixed_now;            /* TG_NO_TIME: the real clock. For `try --at` and fixtures */
    uint64_t random_seed;         /* 0: the system's randomness. For fixtures */
    struct tg_coverage *coverage; /* rows of map are noted here; may be NULL. For fixtures */
};
/* Sources and options are copied where they are needed later. */
TG_MUST_CHECK int tg_host_new(const struct tg_host_options *options, struct tg_host **out,
                              struct tg_err *err);
void tg_host_free(struct tg_host **host); /* all runs and destinations must be gone */
/* Collects garbage in small steps; call when idle and now and then under load. */
void tg_host_idle(struct tg_host *host);
size_t tg_host_memory(const struct tg_host *host);

/* --- destinations --- */
struct tg_rate { /* rates = { NAME = { per_second | per_minute | per_hour, burst, account, reset } } */
    char *name;
    double per_second;
    double burst;
    char *account_key; /* values of the settings named in `account`, joined: destinations with the same share
                          the bucket */
    enum { TG_RESET_NONE, TG_RESET_SECONDS, TG_RESET_EPOCH } reset;
};
struct tg_batch_spec { /* batches = { NAME = { max_items, max_bytes, max_wait_ms, join, split } } */
    char *name;
    size_t max_items, max_bytes;
    int64_t max_wait_ms;
    bool has_split;
};

/* Read-only for everybody but the host. */
struct tg_dest {
    char *name;        /* in the configuration */
    char *script;      /* the script's */
    char *integration; /* name in the integrations object */
    bool transparent;
    unsigned accepts; /* bit (1u << enum tg_event_type) for each key of `on` */
    char **hosts;     /* it may reach these, and those in settings of type url; NULL-terminated */
    struct tg_rate *rates;
    size_t n_rates;
    struct tg_batch_spec *batches;
    size_t n_batches;
    unsigned concurrency; /* 0: not said */
    bool has_filter;      /* tg_dest_filter has something to say */
    struct tg_host *host;
    void *impl;
};

/* What a configuration says of a destination. settings is JSON text of an object; where it came from is known
 * by path. */
struct tg_dest_spec {
    const char *name;
    const char *settings_path; /* "destinations.impact_uk.settings", for problems */
    struct tg_str settings;
    const struct tg_script_source *source;
    /* The configuration, when its destinations.<name>.filter is a function, else NULL: files[0] is its text,
     * the others are what env and file gave when it was checked, named "env:NAME" and "file:PATH". Copied. */
    const struct tg_script_source *config;
    const char *rates; /* JSON text of what the configuration's destinations.<name>.rates says, or NULL */
};
/* Loads the script in an environment of its own, checks its table and the settings (defaults filled in,
 * `check` called). Every problem is added to `problems` (never NULL); TG_INVALID when there was one. */
TG_MUST_CHECK int tg_dest_load(struct tg_host *host, const struct tg_dest_spec *spec, struct tg_dest **out,
                               struct tg_problems *problems);
void tg_dest_free(struct tg_dest **dest); /* its runs must be gone */
/* Empties its cache: a preview is that of the first event after a start. */
void tg_dest_forget(struct tg_dest *dest);
/* The script's contract as JSON (name, settings schema, hosts, rates, batches, accepted types):
 * documentation, `new`, coverage. */
TG_MUST_CHECK int tg_dest_describe(const struct tg_dest *dest, struct tg_buf *json);

/* --- runs: one event through one handler --- */
enum tg_body_kind { TG_BODY_NONE, TG_BODY_JSON, TG_BODY_FORM, TG_BODY_RAW };

struct tg_header {
    char *name, *value; /* no CR, LF or NUL; names are tokens */
};

/* One delivery that a handler asked for. Whoever got it frees it. */
struct tg_request {
    unsigned call; /* number of this delivery within its run, from 1 */
    char *method;  /* "POST" */
    char *url;     /* complete, query encoded; host allowed by the script's contract */
    struct tg_header *headers;
    size_t n_headers;
    enum tg_body_kind body_kind;
    char *body; /* NULL while it waits to be joined */
    size_t body_len;
    bool gzip;                /* body is to be compressed on the wire */
    char *rate, *batch, *key; /* or NULL */
    char *secret;             /* what nobody may read where the request is shown, or NULL */
    uint64_t item;            /* the host's handle of the `item` value; 0: none */
    size_t item_bytes;        /* about how long it is as JSON */
    bool repeatable;
    bool share; /* the answer to an equal request that is under way serves this one too */
};
void tg_request_free(struct tg_request **request);

struct tg_response {
    int status;        /* 0: no answer, see error */
    const char *error; /* network error for the person, or NULL */
    const struct tg_header *headers;
    size_t n_headers;
    struct tg_str body;
};

enum tg_outcome { TG_OUTCOME_OK, TG_OUTCOME_RETRY, TG_OUTCOME_REJECT, TG_OUTCOME_PARK };

enum tg_run_end {
    TG_RUN_DONE,    /* the handler returned; deliveries may still be under way; with none at all it is a skip,
                       no_request */
    TG_RUN_SKIP,    /* skip(reason) */
    TG_RUN_REJECT,  /* reject(reason) */
    TG_RUN_RETRY,   /* retry(reason, seconds) */
    TG_RUN_ERROR,   /* uncaught error: reason script_error, message with traceback */
    TG_RUN_TIMEOUT, /* soft limit: reason script_timeout */
    TG_RUN_MEMORY   /* reason script_memory. The state has been rebuilt: every other run of this host is gone
                       too, see below */
};

struct tg_run_result {
    enum tg_run_end end;
    const char *reason;     /* stable word; lent during the callback */
    const char *message;    /* for the person; may be NULL; lent */
    int64_t retry_after_ms; /* TG_RUN_RETRY; 0: the schedule decides; TG_RUN_LOST */
};
enum { TG_RUN_LOST = -1 }; /* at once: nothing that a script could say */

struct tg_run;
struct tg_run_ops {
    /* A delivery; the request now belongs to the callee. Called from within tg_run_start or tg_run_settle. */
    void (*deliver)(void *arg, struct tg_run *run, struct tg_request *request);
    /* The handler has ended. Called once, from within tg_run_start or tg_run_settle (or tg_host_… when the
     * state had to be rebuilt: end TG_RUN_RETRY, reason "state_rebuilt", retry_after TG_RUN_LOST). The run
     * stays valid until tg_run_free, which may be called in here. */
    void (*end)(void *arg, struct tg_run *run, const struct tg_run_result *result);
};

/* Starts the handler for event->type. `event` and what it points to must stay until the run is freed.
 * `responses` (or empty) are those of deliveries done at an earlier attempt, as tg_run_responses gave them:
 * the same calls are answered from it without reaching `deliver`, unless repeatable. `options` is
 * the integrations object's entry for this destination (JSON text, or empty). TG_UNSUPPORTED when the script
 * has no handler of that type. */
TG_MUST_CHECK int tg_run_start(struct tg_dest *dest, const struct tg_event *event, uint64_t seq,
                               struct tg_str options, struct tg_str responses, const struct tg_run_ops *ops,
                               void *arg, struct tg_run **out, struct tg_err *err);
/* Delivery number `call` is done with TG_OUTCOME_OK: remembers the response, resumes a handler that waits for
 * it. A delivery that failed ends the event for now: free the run instead. */
void tg_run_settle(struct tg_run *run, unsigned call, const struct tg_response *response);
/* JSON of the responses so far (not those of repeatable calls), for the retry row; at most 64 KiB, bodies cut
 * from the largest. */
TG_MUST_CHECK int tg_run_responses(struct tg_run *run, struct tg_buf *json);
/* The tokens that the handler was given to authenticate with: none, or all may still be used, or one has come
 * to its end or was refused since, so that what waits to be sent with it need not be sent. */
enum tg_tokens { TG_TOKENS_NONE, TG_TOKENS_GOOD, TG_TOKENS_GONE };
enum tg_tokens tg_run_tokens(const struct tg_run *run);
/* The partner answered 401: forgets these tokens, so that the next handler fetches one. False when there are
 * none. */
bool tg_run_refuse_tokens(struct tg_run *run);
void tg_run_free(struct tg_run **run);

/* --- filter --- */
/* The configuration's filter function. *passes: whether the event goes on; what the function returned as a
 * table is added to `spec` as JSON text (base/event_filter.h; not checked). TG_SCRIPT: it failed, message
 * with traceback; TG_BUSY: soft limit; TG_NOMEM. */
enum { TG_FILTER_MAX = 256 * 1024 }; /* bytes of such a table */
TG_MUST_CHECK int tg_dest_filter(struct tg_dest *dest, const struct tg_event *event, uint64_t seq,
                                 struct tg_buf *spec, bool *passes, struct tg_err *err);

/* --- batches and verdicts --- */
/* Joins requests of one batch (equal batch, method, url, headers) into `out`: body from join(items,
 * settings), headers merged. */
TG_MUST_CHECK int tg_dest_join(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                               struct tg_request **out, struct tg_err *err);
/* What an answer means for a delivery. */
enum { TG_REASON_MAX = 256, TG_MESSAGE_MAX = 512 };
struct tg_verdict {
    enum tg_outcome outcome;
    char reason[TG_REASON_MAX];   /* http_400, network_error …, or the script's; empty for TG_OUTCOME_OK */
    char message[TG_MESSAGE_MAX]; /* the partner's words, when the script passed them on; else empty */
    bool by_script;               /* judge or split decided, not the status */
};
/* split(response, items, settings): 1 with a verdict for each request in `each`; 0 when it returned nil,
 * which says that the call failed as a whole; TG_SCRIPT when it fails, TG_NOMEM. A reason that the script did
 * not give stays empty. */
TG_MUST_CHECK int tg_dest_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                                const struct tg_response *response, struct tg_verdict *each,
                                struct tg_err *err);
/* judge(response, request, settings): 1 and its verdict when the script decides, 0 when it has no judge or
 * returned nil, negative: TG_SCRIPT. */
int tg_dest_judge(struct tg_dest *dest, const struct tg_request *request, const struct tg_response *response,
                  struct tg_verdict *verdict, struct tg_err *err);

#endif
