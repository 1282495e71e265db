#include "config/options.h"

#include "config/config.h"

#define AT(type, member) offsetof(struct type, member)
#define END                                                                                                  \
    {                                                                                                        \
        NULL, TG_OPT_STRING, 0, NULL, 0, 0, NULL, NULL, NULL, NULL, 0                                        \
    }
#define KIB 1024.0
#define GIB (1024.0 * 1024 * 1024)
#define DAY 86400000.0

static const struct tg_option spool_options[] = {
    {"path", TG_OPT_PATH, AT(tg_config, spool.path), "./spool",
     .help = "Folder of the spool, on a local disk. Made when missing."},
    {"max_bytes", TG_OPT_SIZE, AT(tg_config, spool.max_bytes), "10GiB", 64 * KIB *KIB / 16, 1e15,
     .help = "Most that the event log may take; above it senders get 503 until destinations catch up."},
    {"sync", TG_OPT_SPECIAL, AT(tg_config, spool.sync), "group",
     .help = "When 200 is said: \"group\" after fdatasync (durable), \"interval:<ms>\" or \"none\" before it "
             "(a power cut loses events)."},
    END,
};

static const struct tg_option egress_options[] = {
    {"allow_private", TG_OPT_SPECIAL, AT(tg_config, egress.allow_private), "false",
     .help = "Whether destinations may be on private or loopback addresses and on plain http: true, false or "
             "a list of CIDRs."},
    {"proxy", TG_OPT_STRING, AT(tg_config, egress.proxy), NULL,
     .help = "HTTP proxy for deliveries. The proxy variables of the environment are not read.",
     .example = "\"http://proxy.example:3128\""},
    {"ca_file", TG_OPT_PATH, AT(tg_config, egress.ca_file), NULL,
     .help = "PEM file of certificate authorities to trust instead of the system's.",
     .example = "\"/etc/ssl/certs/ca-certificates.crt\""},
    END,
};

static const struct tg_option limit_options[] = {
    {"body", TG_OPT_SIZE, AT(tg_config, limits.body), "4MiB", KIB, GIB,
     .help = "Largest request body, decompressed; larger is answered 400."},
    {"event", TG_OPT_SIZE, AT(tg_config, limits.event), "512KiB", KIB, GIB,
     .help = "Largest single event; a larger one in a batch is set aside."},
    {"batch", TG_OPT_UINT, AT(tg_config, limits.batch), "20000", 1, 1e6,
     .help = "Most events of one batch; more is answered 400."},
    {"headers", TG_OPT_SIZE, AT(tg_config, limits.headers), "16KiB", KIB, 1024 * KIB,
     .help = "Most that a request's headers may take; more is answered 431."},
    {"request_time", TG_OPT_DURATION, AT(tg_config, limits.request_ms), "10s", 100, 600000,
     .help = "A request that has not arrived whole by then is cut off."},
    {"idle_time", TG_OPT_DURATION, AT(tg_config, limits.idle_ms), "75s", 1000, DAY,
     .help = "An idle kept connection is closed after this."},
    {"connections", TG_OPT_UINT, AT(tg_config, limits.connections), "0", 0, 1e6,
     .help = "Most connections per worker; 0: as many as open files allow."},
    END,
};

static const struct tg_option dedup_options[] = {
    {"window", TG_OPT_DURATION, AT(tg_config, dedup.window_ms), "24h", 0, 400 * DAY,
     .help = "How long a messageId of a source is remembered; 0 switches it off."},
    {"max_entries", TG_OPT_COUNT, AT(tg_config, dedup.max_entries), "1000000", 1000, 1e9,
     .help = "Most messageIds remembered; the oldest go first (the window really covered is a metric)."},
    END,
};

static const struct tg_option script_options[] = {
    {"memory", TG_OPT_SIZE, AT(tg_config, script.memory_bytes), "256MiB", 4 * 1024 * KIB, 64 * GIB,
     .help = "Cap of a worker's Lua heap."},
    {"soft_limit", TG_OPT_DURATION, AT(tg_config, script.soft_ms), "100ms", 1, 60000,
     .help = "CPU time of one script call after which it is stopped with an error."},
    {"hard_limit", TG_OPT_DURATION, AT(tg_config, script.hard_ms), "1s", 10, 600000,
     .help = "Time of one script call after which its worker is restarted."},
    END,
};

static const struct tg_option log_options[] = {
    {"level", TG_OPT_WORD, AT(tg_config, log.level), "info", .words = "debug info warn error",
     .help = "Least level that is logged."},
    {"json", TG_OPT_BOOL, AT(tg_config, log.json), "false",
     .help = "Log lines as JSON objects instead of key=value."},
    END,
};

const struct tg_option tg_root_options[] = {
    {"listen", TG_OPT_SPECIAL, AT(tg_config, listen), "127.0.0.1:8080",
     .help = "Where senders connect: addresses, or { addr, cert, key } for TLS.",
     .example = "{ \"127.0.0.1:8080\" }"},
    {"admin", TG_OPT_STRING, AT(tg_config, admin), "127.0.0.1:9080",
     .help = "Listener for /healthz, /readyz, /metrics and /status; \"off\" for none."},
    {"admin_token", TG_OPT_STRING, AT(tg_config, admin_token), NULL,
     .help = "Bearer token that the admin listener asks for; required where it is not on loopback.",
     .example = "env(\"TIDEGATE_ADMIN_TOKEN\", \"change-me\")"},
    {"workers", TG_OPT_SPECIAL, AT(tg_config, workers), "auto", 1, 64,
     .help = "Worker processes: a number, or \"auto\" for one per core."},
    {"public_url", TG_OPT_STRING, AT(tg_config, public_url), NULL,
     .help = "Base URL by which browsers reach the relay, told to browser SDKs; without it the request's own "
             "host is told.",
     .example = "\"https://relay.example\""},
    {"analytics_js", TG_OPT_STRING, AT(tg_config, analytics_js), NULL,
     .help = "Text of the script that browsers get as /analytics.js/v1/KEY/analytics.min.js, for pages whose "
             "snippet loads it from the relay; read again on reload.",
     .example = "file(\"/etc/tidegate/analytics.min.js\")"},
    {"stop_time", TG_OPT_DURATION, AT(tg_config, stop_ms), "8s", 0, 600000,
     .help = "How long requests and deliveries in flight may take after SIGTERM."},
    {"hang_limit", TG_OPT_DURATION, AT(tg_config, hang_ms), "15s", 0, 3600000,
     .help = "A worker whose loop has stood still for so long is killed and started again; 0: never."},
    {"reload_on_change", TG_OPT_BOOL, AT(tg_config, reload_on_change), "false",
     .help = "Reload by itself when this file or a script in use changes."},
    {"spool", TG_OPT_TABLE, .sub = spool_options, .help = "Events on disk."},
    {"egress", TG_OPT_TABLE, .sub = egress_options, .help = "What destinations may reach."},
    {"limits", TG_OPT_TABLE, .sub = limit_options, .help = "What one sender may take."},
    {"dedup", TG_OPT_TABLE, .sub = dedup_options,
     .help = "Suppression of repeated events, by source and messageId."},
    {"script", TG_OPT_TABLE, .sub = script_options, .help = "What scripts may take."},
    {"log", TG_OPT_TABLE, .sub = log_options, .help = "Log lines on stderr."},
    {"scripts", TG_OPT_PATHS, AT(tg_config, scripts), NULL,
     .help = "Further folders of scripts, searched before the shipped ones.", .example = "{}"},
    {"lua_path", TG_OPT_PATH, AT(tg_config, lua_path), NULL,
     .help = "Folder of tidegate.lua, where it is not found by itself.",
     .example = "\"/usr/local/share/tidegate/lua\""},
    {"sources", TG_OPT_SPECIAL, AT(tg_config, sources), NULL, .help = "Senders, known by their write keys.",
     .required = 1},
    {"destinations", TG_OPT_SPECIAL, AT(tg_config, destinations), NULL,
     .help = "Partners: name = { script, settings, … }."},
    END,
};

const struct tg_option tg_listen_options[] = {
    {"addr", TG_OPT_STRING, AT(tg_listen, addr), NULL, .help = "host:port; [::1]:8080 for IPv6.",
     .required = 1},
    {"cert", TG_OPT_PATH, AT(tg_listen, cert), NULL,
     .help = "PEM file of the certificate chain; read again on SIGHUP."},
    {"key", TG_OPT_PATH, AT(tg_listen, key), NULL, .help = "PEM file of the private key."},
    END,
};

/* 0 stands for "as the relay's limits". */
static const struct tg_option source_limit_options[] = {
    {"body", TG_OPT_SIZE, AT(tg_source_config, limits.body), "0", 0, GIB,
     .help = "Largest request body, decompressed; 0: as limits.body, which it must not exceed."},
    {"event", TG_OPT_SIZE, AT(tg_source_config, limits.event), "0", 0, GIB,
     .help = "Largest single event; 0: as limits.event, which it must not exceed."},
    {"batch", TG_OPT_UINT, AT(tg_source_config, limits.batch), "0", 0, 1e6,
     .help = "Most events of one batch; 0: as limits.batch, which it must not exceed."},
    END,
};

const struct tg_option tg_source_options[] = {
    {"name", TG_OPT_STRING, AT(tg_source_config, name), NULL,
     .help = "Name of the source, in metrics and dead letters.", .example = "\"web\"", .required = 1},
    {"write_key", TG_OPT_SPECIAL, AT(tg_source_config, write_keys), NULL,
     .help = "The key that its SDKs send.", .example = "env(\"WEB_WRITE_KEY\", \"web-write-key\")"},
    {"write_keys", TG_OPT_SPECIAL, AT(tg_source_config, write_keys), NULL,
     .help = "Several keys, while one replaces another.", .example = "{ \"web-write-key-old\" }"},
    {"enabled", TG_OPT_BOOL, AT(tg_source_config, enabled), "true",
     .help = "A disabled source's events are answered 401."},
    {"allow_delete", TG_OPT_BOOL, AT(tg_source_config, allow_delete), "false",
     .help = "Whether it may send delete events. Never for keys that browsers know."},
    {"forget_on_delete", TG_OPT_BOOL, AT(tg_source_config, forget_on_delete), "false",
     .help = "Whether a delete event of it also takes what waits of that user out of the relay, as `tidegate "
             "forget` does. Needs allow_delete."},
    {"trusted", TG_OPT_BOOL, AT(tg_source_config, trusted), "false",
     .help = "Another tidegate: its receivedAt, timestamps and context.ip are kept."},
    {"record_ip", TG_OPT_BOOL, AT(tg_source_config, record_ip), "true",
     .help = "Whether context.ip of browser events is filled in from the connection."},
    {"allowed_origins", TG_OPT_STRINGS, AT(tg_source_config, allowed_origins), NULL,
     .help = "Origins that browsers may send from; without it any.",
     .example = "{ \"https://shop.example\" }"},
    {"trusted_proxies", TG_OPT_STRINGS, AT(tg_source_config, trusted_proxies), NULL,
     .help = "CIDRs whose X-Forwarded-For is believed.", .example = "{ \"10.0.0.0/8\" }"},
    {"rate", TG_OPT_NUMBER, AT(tg_source_config, rate_per_second), "0", 0, 1e9,
     .help = "Most events a second, all workers together; above it 429; 0: no limit."},
    {"limits", TG_OPT_TABLE, .sub = source_limit_options, .help = "What this source may send at once."},
    END,
};

static const struct tg_option retry_options[] = {
    {"first", TG_OPT_DURATION, AT(tg_destination_config, retry.first_ms), "1s", 1, DAY,
     .help = "First back-off, doubled each time (full jitter)."},
    {"max", TG_OPT_DURATION, AT(tg_destination_config, retry.max_ms), "10m", 1, DAY,
     .help = "Longest back-off."},
    {"deadline", TG_OPT_DURATION, AT(tg_destination_config, retry.deadline_ms), "4h", 0, 400 * DAY,
     .help = "After its first failure an event is tried this long, then it is a dead letter."},
    END,
};

static const struct tg_option backlog_options[] = {
    {"max_bytes", TG_OPT_QUOTA, AT(tg_destination_config, backlog.max_bytes), "50%",
     .help = "Most that waits for it, in the log and for a retry, all workers together: a share of "
             "spool.max_bytes, or a size."},
    {"max_age", TG_OPT_DURATION, AT(tg_destination_config, backlog.max_age_ms), "7d", 1000, 4000 * DAY,
     .help = "Longest that an event may wait for it, since this relay has it."},
    {"on_full", TG_OPT_ENUM, AT(tg_destination_config, backlog.on_full), "dead_letter",
     .words = "dead_letter drop_oldest",
     .help = "What happens to the oldest beyond that: a dead letter each, or dropped and counted."},
    END,
};

static const struct tg_option dead_options[] = {
    {"max_bytes", TG_OPT_QUOTA, AT(tg_destination_config, dead.max_bytes), "25%",
     .help = "Most that its dead letters may take: a share of spool.max_bytes, or a size."},
    {"on_full", TG_OPT_ENUM, AT(tg_destination_config, dead.on_full), "stop_ingest",
     .words = "stop_ingest drop_oldest",
     .help =
         "What happens beyond that: senders get 503 until some are replayed or dropped, or the oldest go."},
    END,
};

const struct tg_option tg_destination_options[] = {
    {"script", TG_OPT_STRING, AT(tg_destination_config, script), NULL,
     .help = "The script's name; without it the destination's own.", .example = "\"webhook\""},
    {"enabled", TG_OPT_BOOL, AT(tg_destination_config, enabled), "true",
     .help = "false pauses it: its events wait."},
    {"sources", TG_OPT_STRINGS, AT(tg_destination_config, sources), NULL,
     .help = "Names of the sources whose events it gets; without it all.", .example = "{ \"web\" }"},
    {"consent", TG_OPT_STRINGS, AT(tg_destination_config, consent), NULL,
     .help = "Categories that context.consent.categoryPreferences must all allow, where an event has it.",
     .example = "{ \"advertising\" }"},
    {"settings", TG_OPT_OBJECT, AT(tg_destination_config, settings), NULL,
     .help = "What the script needs: see its README.", .example = "{ url = \"https://hooks.example/in\" }"},
    {"concurrency", TG_OPT_UINT, AT(tg_destination_config, concurrency), "0", 0, 1024,
     .help = "Requests in flight per worker; 0: the script's own, else 16."},
    {"timeout", TG_OPT_DURATION, AT(tg_destination_config, timeout_ms), "30s", 100, 600000,
     .help = "Longest that one request may take."},
    {"rates", TG_OPT_OBJECT, AT(tg_destination_config, rates), NULL,
     .help = "Rate limits that replace the script's: NAME = { per_second | per_minute | per_hour, burst }.",
     .example = "{}"},
    {"retry", TG_OPT_TABLE, .sub = retry_options, .help = "When a failed event is tried again."},
    {"backlog", TG_OPT_TABLE, .sub = backlog_options, .help = "What may wait for it."},
    {"dead", TG_OPT_TABLE, .sub = dead_options, .help = "Its dead letters."},
    {"filter", TG_OPT_SPECIAL, AT(tg_destination_config, filter), NULL,
     .help = "What it gets: { sample = 0.1, events = { names of track events }, drop = { paths }, allow = { "
             "paths } }, or a function of the event that gives true, false or such a table.",
     .example = "{ drop = { \"context.ip\", \"traits.email\" } }"},
    END,
};
