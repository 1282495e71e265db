/* The filter function of a destination's configuration. */
#ifndef TG_SCRIPT_FILTER_H
#define TG_SCRIPT_FILTER_H

#include "base/buf.h"
#include "base/event.h"
#include "script/contract.h"

/* The configuration's filter function. *passes: whether the event goes on; what the function returned as a
 * table is added to `spec` as JSON text (base/event_filter.h; not checked). TG_SCRIPT: it failed, message
 * with traceback; TG_BUSY: soft limit; TG_NOMEM. */
enum { TG_FILTER_MAX = 256 * 1024 }; /* bytes of such a table */
TG_MUST_CHECK int tg_dest_filter(struct tg_dest *dest, const struct tg_event *event, uint64_t seq,
                                 struct tg_buf *spec, bool *passes, struct tg_err *err);

#endif
