/* The snapshot: everything that a worker needs to be what the configuration says, taken once, so that a
 * worker that is restarted hours later is the same as its siblings whatever has happened to the files since:
 * the configuration's text, what env() and file() gave, the sources of the library and of all scripts in use,
 * and a generation number.
 *
 * A one-shot child (snapshot_child.h) builds and checks it (snapshot_build.h) and writes it into a sealed
 * memory file (snapshot_bytes.h). The supervisor reads only its plain part. */
#ifndef TG_DAEMON_SNAPSHOT_H
#define TG_DAEMON_SNAPSHOT_H

#include "config/text.h"
#include "script/host.h"

/* What the supervisor acts on: plain values, no Lua. */
struct tg_plain {
    char **listen; /* addresses */
    size_t n_listen;
    char *admin; /* or NULL */
    unsigned workers;
    char *spool_path;
    int64_t stop_ms, hard_ms, hang_ms, dedup_window_ms;
    uint64_t dedup_entries;
    uint64_t sync; /* mode and interval in one, to be compared */
    char *log_level;
    bool log_json, reload_on_change;
    char **destinations;
    size_t n_destinations;
};

struct tg_snapshot {
    uint64_t generation;
    struct tg_plain plain;
    struct tg_config_text text; /* sealed after reading */
    struct tg_script_source library;
    struct tg_script_source *scripts;
    size_t n_scripts;
};

void tg_snapshot_free(struct tg_snapshot **s);

/* This process logs as the configuration says. */
void tg_snapshot_log_as(const struct tg_plain *plain);

/* Source of a script by name, or NULL. */
const struct tg_script_source *tg_snapshot_script(const struct tg_snapshot *s, const char *name);

/* The configuration's text, and what env() and file() gave, as the script host wants it for filter functions
 * (tg_dest_spec.config). Its strings are lent from the snapshot, but for what fini frees. */
TG_MUST_CHECK int tg_snapshot_config_source(const struct tg_snapshot *s, struct tg_script_source *out);
void tg_snapshot_config_source_fini(struct tg_script_source *source);

#endif
