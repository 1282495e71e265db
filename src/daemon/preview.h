/* What a script makes of one event, without a relay: shared by `try` and `test`. */
#ifndef TG_DAEMON_PREVIEW_H
#define TG_DAEMON_PREVIEW_H

#include "base/buf.h"
#include "script/host.h"

struct tg_preview;

struct tg_preview_in {
    const struct tg_script_source *library, *script;
    const char *name;             /* of the destination in messages; the script's where it has none */
    struct tg_str settings;       /* JSON object text */
    int64_t now;                  /* ms UTC; TG_NO_TIME: the real clock, and real randomness */
    bool allow_private;           /* http addresses */
    struct tg_coverage *coverage; /* or NULL */
    int64_t soft_limit_us;        /* of tg_host_options; 0: its default */
    size_t memory_bytes;
};
/* Loads the script with these settings. Everything that is wrong is in the message, one line each. */
TG_MUST_CHECK int tg_preview_new(const struct tg_preview_in *in, struct tg_preview **out, struct tg_err *err);
void tg_preview_free(struct tg_preview **preview);

/* Takes the event in as an SDK would have sent it, runs it with an empty cache, and adds what tg_render says;
 * of a JSON array of events what tg_render_many does. responses: JSON array text, or empty. TG_INVALID when
 * ingest would not take the event. */
TG_MUST_CHECK int tg_preview_run(struct tg_preview *p, struct tg_str event, struct tg_str responses,
                                 bool reveal, struct tg_buf *json, struct tg_err *err);

/* The loaded destination, lent. */
struct tg_dest *tg_preview_dest(struct tg_preview *p);

/* The two halves of tg_preview_run, for destinations that were loaded elsewhere. Items: initialised, one
 * event then; they are freed by the caller. */
struct tg_items;
TG_MUST_CHECK int tg_preview_take(struct tg_str text, struct tg_str source, int64_t now,
                                  struct tg_items *items, struct tg_err *err);
struct tg_preview_show {
    struct tg_str responses; /* JSON array text, or empty */
    bool reveal;
    bool assume_success; /* of what has no response: see tg_render_in */
};
TG_MUST_CHECK int tg_preview_show(struct tg_dest *dest, const struct tg_event *event,
                                  const struct tg_preview_show *how, struct tg_buf *json, struct tg_err *err);

/* Reads a file whole into *text (tg_free). */
TG_MUST_CHECK int tg_preview_read(const char *path, char **text, size_t *len, struct tg_err *err);

#endif
