/* What an engine is made of. */
#ifndef TG_DELIVER_ENGINE_OPTIONS_H
#define TG_DELIVER_ENGINE_OPTIONS_H

#include "base/metrics.h"
#include "deliver/http_client.h"
#include "deliver/shared.h"
#include "script/host.h"
#include "spool/cursors.h"
#include "spool/log.h"
#include "spool/state.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct tg_dedup;
struct tg_leases;

/* A partition of this worker; log and cursors stay the caller's and must outlive the engine. The engine is
 * the log's listener (tg_log_on_synced). */
struct tg_engine_part {
    uint32_t number;
    struct tg_log *log;
    struct tg_cursors *cursors;
};

struct tg_engine_options {
    struct event_base *base;
    struct tg_client *http;
    struct tg_state *state;
    struct tg_helper *helper;
    struct tg_metrics *metrics;
    struct tg_shared *shared; /* made before the fork, so that rates and pauses hold on all workers; NULL:
                                 this worker alone */
    struct tg_dedup *dedup;  /* segments stay until what they hold is kept there; NULL: until it is settled */
    struct tg_shared *rates; /* the same for what is left of rates; NULL: in `shared` */
    struct tg_leases *leases; /* the same for keys that are under way; NULL: this worker alone */
    uint32_t worker, workers; /* retry rows of partitions with partition % workers == worker are ours */
    const struct tg_engine_part *parts;
    size_t n_parts;
    int64_t save_ms; /* how often cursors are saved; 0: every second */
    int64_t
        render_again_ms;  /* a request that has waited for longer is made anew before it goes out; 0: 30 s */
    uint64_t spool_bytes; /* spool.max_bytes, of which quotas in percent are a part; 0: those are none */
    /* Called for every answered or failed request, before it is judged; may be NULL. All lent. */
    void (*on_exchange)(void *arg, const struct tg_dest *dest, const struct tg_request *sent,
                        const struct tg_response *response);
    void *on_exchange_arg;
};

#endif
