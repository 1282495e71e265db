/* Requests that bring no events: SDKs' settings, health, preflights. The call is answered when they return.
 */
#ifndef TG_INGEST_LOOKUPS_H
#define TG_INGEST_LOOKUPS_H

#include "ingest/ingest_state.h"

/* For analytics.js and the mobile SDKs; the key is in the path. */
void tg_give_settings(struct tg_call *c);
/* The operator's copy of analytics.min.js; likewise. */
void tg_give_browser_script(struct tg_call *c);
/* RudderStack's. */
void tg_give_source_config(struct tg_call *c);
/* Overload is health enough: senders are told to wait, not that the relay is gone. */
void tg_give_health(struct tg_call *c);
/* Every path: the SDK shall see the answer to the request itself, not a network failure. */
void tg_give_preflight(struct tg_call *c);

#endif
