/* An event: what ingest learnt about it (normalised fields), kept beside the bytes that the sender sent.
 *
 * Spans point into memory of whoever made the event; nobody owns anything through this struct. The spool
 * stores an event as a header (tg_event_encode) and its body. See segment notes: ingest.md section 8, design
 * section 5. */
#ifndef TG_BASE_EVENT_H
#define TG_BASE_EVENT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum tg_event_type {
    TG_TRACK,
    TG_IDENTIFY,
    TG_PAGE,
    TG_SCREEN,
    TG_GROUP,
    TG_ALIAS,
    TG_DELETE,
    TG_EVENT_TYPES /* how many */
};

struct tg_event {
    enum tg_event_type type;
    struct tg_str source;       /* name of the source */
    struct tg_str message_id;   /* the sender's or generated; valid UTF-8, never empty */
    struct tg_str user_id;      /* numbers coerced to text; empty: none */
    struct tg_str anonymous_id; /* likewise */
    struct tg_str name;         /* track: event; page and screen: name; group: groupId; may be empty */
    int64_t received_at;        /* ms UTC */
    int64_t timestamp;          /* corrected for the sender's clock, ms UTC; always set */
    int64_t original_timestamp; /* ms UTC or TG_NO_TIME */
    int64_t sent_at;            /* ms UTC or TG_NO_TIME */
    /* JSON text that replaces the body's own member; empty: the body's own stands. Set when the batch
     * envelope added something, or context.ip was filled in. */
    struct tg_str context;
    struct tg_str integrations;
    /* The body's own integrations, as they stand in it; empty: it has none. Noted on the way in, so that no
     * destination has to look for them; `knows_integrations` false: by an older version, which did not. */
    struct tg_str body_integrations;
    bool knows_integrations;
    struct tg_str bundled; /* JSON array text of _metadata.bundled; empty: none */
    struct tg_str body;    /* the event as sent: one JSON object, validated */
    bool forgets; /* a request for deletion that the relay carries out itself too; known on the way in only */
};

/* "track" … Never NULL. */
const char *tg_event_type_name(enum tg_event_type type);
bool tg_event_type_parse(struct tg_str name, enum tg_event_type *type);

/* Adds the header (all but the body) in its stored form; byte layout in the .c file and src/spool/README.md.
 */
TG_MUST_CHECK int tg_event_encode(const struct tg_event *ev, struct tg_buf *header);
/* Spans of *ev then point into header and body. Unknown fields are skipped (written by a newer version). With
 * an empty body the header alone is read: what it says of the body is left out. TG_CORRUPT when the header
 * does not parse, TG_BADVERSION when its version byte is another one. */
TG_MUST_CHECK int tg_event_decode(struct tg_str header, struct tg_str body, struct tg_event *ev,
                                  struct tg_err *err);

/* Adds the forward bytes: the body with top-level writeKey and _metadata removed; type, messageId, timestamp,
 * originalTimestamp, sentAt, receivedAt, and context and integrations where set above, replaced in place or
 * appended; and nothing else touched (key order, digits, empty arrays, white space inside values stay).
 * Duplicate members: the last one counts, the earlier ones are removed. */
TG_MUST_CHECK int tg_event_forward(const struct tg_event *ev, struct tg_buf *out);
/* The same for another relay, which decides by what the sender says of destinations: of _metadata, `bundled`
 * stays where it names one, or what a browser has served itself would be served again there. */
TG_MUST_CHECK int tg_event_pass_on(const struct tg_event *ev, struct tg_buf *out);

#endif
