/* The configuration as plain C: what tidegate.lua says, checked and with defaults filled in. Design
 * section 9.
 *
 * Strings belong to the tg_config. Sizes are bytes, times milliseconds, unless a name says otherwise. */
#ifndef TG_CONFIG_CONFIG_H
#define TG_CONFIG_CONFIG_H

#include "base/err.h"
#include "base/problems.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_strings {
    char **v;
    size_t n;
};

struct tg_listen {
    char *addr;       /* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0" */
    char *cert, *key; /* PEM files, or NULL: plain HTTP */
};

struct tg_source_config {
    char *name;
    struct tg_strings write_keys; /* write_key and write_keys together */
    bool enabled, allow_delete, forget_on_delete, trusted, record_ip;
    struct tg_strings allowed_origins; /* none: every origin */
    struct tg_strings trusted_proxies; /* CIDRs */
    double rate_per_second;            /* 0: none */
    struct {
        uint64_t body, event;
        unsigned batch;
    } limits; /* never above the relay's; 0: as the relay's */
};

struct tg_quota {   /* "50%" or "10GiB" */
    double percent; /* of spool.max_bytes; 0 when bytes are given */
    uint64_t bytes;
};
enum tg_backlog_full { TG_BACKLOG_DEAD_LETTER, TG_BACKLOG_DROP_OLDEST };
enum tg_dead_full { TG_DEAD_STOP_INGEST, TG_DEAD_DROP_OLDEST };

struct tg_retry_config {
    int64_t first_ms, max_ms, deadline_ms; /* 1 s, 10 min, 4 h */
};

struct tg_destination_config {
    char *name, *script;
    bool enabled;
    struct tg_strings sources; /* none: all */
    struct tg_strings consent; /* categories that must all be allowed; none: not asked */
    char *settings;            /* JSON object text */
    unsigned concurrency;      /* requests in flight per worker; 0: the script's, else 16 */
    int64_t timeout_ms;        /* of one request, 30 s */
    struct tg_retry_config retry;
    char *rates; /* JSON object text that overrides the script's, or NULL */
    struct {
        struct tg_quota max_bytes;
        int64_t max_age_ms; /* 7 d */
        enum tg_backlog_full on_full;
    } backlog;
    struct {
        struct tg_quota max_bytes;
        enum tg_dead_full on_full;
    } dead;
    char *filter;    /* JSON text as in base/event_filter.h, or NULL */
    bool has_filter; /* a function, which the script host takes from the evaluated file */
};

enum tg_spool_sync { TG_SPOOL_SYNC_GROUP, TG_SPOOL_SYNC_INTERVAL, TG_SPOOL_SYNC_NONE };

struct tg_config {
    struct tg_listen *listen;
    size_t n_listen;
    char *admin;       /* "127.0.0.1:9080"; NULL: no admin listener */
    char *admin_token; /* or NULL */
    unsigned workers;  /* resolved from "auto" */
    struct {
        char *path; /* absolute or relative to the file's folder, resolved */
        uint64_t max_bytes;
        enum tg_spool_sync sync;
        int64_t sync_interval_ms;
    } spool;
    struct {
        bool allow_private;           /* true, or a list was given */
        struct tg_strings private_ok; /* CIDRs; none with allow_private: all */
        char *proxy, *ca_file;        /* or NULL */
    } egress;
    struct {
        uint64_t body, event, headers;
        unsigned batch; /* events */
        int64_t request_ms, idle_ms;
        unsigned connections; /* 0: from the fd limit */
    } limits;
    struct {
        int64_t window_ms; /* 0: off */
        uint64_t max_entries;
    } dedup;
    struct {
        uint64_t memory_bytes;
        int64_t soft_ms, hard_ms;
    } script;
    struct {
        char *level;
        bool json;
    } log;
    char *public_url;          /* as browsers reach the relay (settings answer), or NULL: from the request */
    char *analytics_js;        /* text of the script that pages load from the relay, or NULL */
    struct tg_strings scripts; /* further folders, resolved */
    char *lua_path;            /* or NULL */
    struct tg_source_config *sources;
    size_t n_sources;
    struct tg_destination_config *destinations; /* sorted by name */
    size_t n_destinations;
    int64_t stop_ms;       /* 8 s */
    int64_t hang_ms;       /* 15 s; 0: hanging workers are left alone */
    bool reload_on_change; /* false */
};

void tg_config_free(struct tg_config **config);

#endif
