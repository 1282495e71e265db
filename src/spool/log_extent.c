#include "spool/log_extent.h"

#include "spool/log_state.h"

uint64_t tg_log_first(const struct tg_log *log)
{
    return log->segments.first ? log->segments.first->first_seq : log->last_seq + 1;
}

uint64_t tg_log_last(const struct tg_log *log)
{
    return log->last_seq;
}

uint64_t tg_log_bytes(const struct tg_log *log)
{
    return log->segments.disk + log->spare_size + log->removing;
}

uint64_t tg_log_bytes_from(const struct tg_log *log, uint64_t from)
{
    uint64_t bytes = 0;
    for (const struct tg_seg *seg = log->segments.first; seg; seg = seg->next) {
        uint64_t data = seg->end - TG_SEGMENT_HEADER, records = seg->next_seq - seg->first_seq;
        if (from <= seg->first_seq)
            bytes += data;
        else if (from < seg->next_seq)
            bytes += (uint64_t)((double)data / (double)records * (double)(seg->next_seq - from));
    }
    return bytes;
}
