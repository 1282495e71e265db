/* One record of the log: an event as it is stored. */
#ifndef TG_SPOOL_RECORD_H
#define TG_SPOOL_RECORD_H

#include "base/str.h"

#include <stdint.h>

/* One record. Spans are lent as each function says. */
struct tg_record {
    uint64_t seq;
    int64_t received_at; /* ms */
    uint32_t flags;
    struct tg_str header; /* tg_event_encode */
    struct tg_str body;
};

#endif
