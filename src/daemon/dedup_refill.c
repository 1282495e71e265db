/* The log is in the order of arrival, so its end is found by halving. A trusted source keeps the times of the
 * relay before it, which may be old; that is why the last FEW events are read whatever their time says, and
 * why a halving that such a time leads astray is no harm: it finds a beginning nearby. */
#include "daemon/dedup_refill.h"

#include "base/event.h"
#include "base/log.h"

enum {
    MARGIN_MS = 10 * 1000, /* an event is in the log before it is in the set, by the time of a sync */
    FEW = 10000,
    MOST_BYTES = 1 << 30,
};

/* Whether all from seq on is to be read, as far as room and bytes go. */
static bool small_enough(const struct tg_dedup_refill *o, uint64_t seq)
{
    return tg_log_last(o->log) - seq < o->most && tg_log_bytes_from(o->log, seq) <= MOST_BYTES;
}

/* Whether the event at seq, or the next that is intact, is younger than the set. */
static bool is_young(const struct tg_dedup_refill *o, uint64_t seq)
{
    struct tg_log_reader *reader;
    struct tg_record record;
    if (tg_log_reader_open(o->log, seq, &reader, NULL))
        return true;
    int rc = tg_log_reader_next(reader, &record, NULL);
    tg_log_reader_close(&reader);
    return rc <= 0 || record.received_at >= o->since - MARGIN_MS;
}

/* The first of the log's numbers for which `holds`, when it does for all behind it; one above the last: none.
 */
static uint64_t first_that(const struct tg_dedup_refill *o,
                           bool (*holds)(const struct tg_dedup_refill *o, uint64_t seq))
{
    uint64_t low = tg_log_first(o->log), high = tg_log_last(o->log) + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (holds(o, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint64_t begin(const struct tg_dedup_refill *o)
{
    uint64_t young = first_that(o, is_young), small = first_that(o, small_enough), last = tg_log_last(o->log);
    uint64_t few = last > FEW ? last - FEW + 1 : 0;
    if (young > few)
        young = few;
    return young > small ? young : small;
}

static void remember(const struct tg_dedup_refill *o, const struct tg_record *record)
{
    struct tg_event ev;
    if (tg_event_decode(record->header, record->body, &ev, NULL))
        return; /* delivery says what is wrong with it */
    if (ev.type == TG_DELETE)
        return; /* nobody knows whether its user had been forgotten already: sent again, it is taken again */
    struct tg_fingerprint print = tg_dedup_fingerprint(o->set, ev.source, ev.message_id);
    tg_dedup_put_at(o->set, print, record->received_at < o->now ? record->received_at : o->now, o->now);
}

uint64_t tg_dedup_refill(const struct tg_dedup_refill *o)
{
    struct tg_log_reader *reader;
    struct tg_record record;
    struct tg_err err = {0};
    uint64_t n = 0;
    int rc = tg_log_reader_open(o->log, begin(o), &reader, &err);
    if (!rc) {
        for (; (rc = tg_log_reader_next(reader, &record, &err)) > 0; n++)
            remember(o, &record);
        tg_log_reader_close(&reader);
    }
    if (rc < 0)
        tg_warn("some messageIds of before are lost, duplicates of them will pass", TG_FS("reason", err.msg));
    return n;
}
