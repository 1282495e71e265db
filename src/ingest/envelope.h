/* What is said once for all items of a request: by the batch's envelope (context, integrations, sentAt), and
 * by the connection (address, user agent). An event gets of it what it does not say itself. */
#ifndef TG_INGEST_ENVELOPE_H
#define TG_INGEST_ENVELOPE_H

#include "ingest/items.h"
#include "ingest/overlay.h"
#include "ingest/request.h"

struct tg_envelope {
    struct tg_overlay context, integrations;
    int64_t sent_at;              /* TG_NO_TIME: nobody says */
    struct tg_str ip, user_agent; /* as JSON; empty: not to be filled in */
    bool direct;                  /* its context says so: the caller wants its address recorded */
};

/* What the connection tells of the client. A trusted relay has said all that it wants to say. TG_NOMEM. */
TG_MUST_CHECK int tg_envelope_of_connection(struct tg_envelope *e, const struct tg_normalise_in *in,
                                            struct tg_items *items);
/* What stands beside a batch's items; empty spans where nothing does. The texts must outlive the events.
 * TG_INVALID: see fault; TG_NOMEM. */
struct tg_envelope_text {
    struct tg_str context, integrations, sent_at;
};
TG_MUST_CHECK int tg_envelope_use(struct tg_envelope *e, const struct tg_envelope_text *text,
                                  const struct tg_normalise_in *in, struct tg_items *items,
                                  struct tg_request_fault *fault);

/* Lends the event what it lacks: its time, members of context and integrations. Those two are the item's own
 * before, and afterwards what replaces them, if anything. Counts the event's size. TG_INVALID: see fault;
 * TG_NOMEM. */
TG_MUST_CHECK int tg_envelope_complete(struct tg_envelope *e, struct tg_event *ev,
                                       const struct tg_normalise_in *in, struct tg_items *items,
                                       struct tg_request_fault *fault);

#endif
