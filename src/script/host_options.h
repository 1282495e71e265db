/* What a host is made with. */
#ifndef TG_SCRIPT_HOST_OPTIONS_H
#define TG_SCRIPT_HOST_OPTIONS_H

#include "script/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_coverage;

/* What a worker shares with the supervisor so that a script that cannot be stopped from inside is seen:
 * `since_us` is non-zero (tg_mono_us) while a script call runs. */
struct tg_watch_cell {
    _Atomic int64_t since_us;
    _Atomic uint64_t seq;
    char destination[64];
};

struct tg_host_options {
    size_t memory_bytes;   /* cap of the Lua heap; default 256 MiB */
    int64_t soft_limit_us; /* thread CPU time of one script call; default 100,000 */
    bool allow_private; /* egress.allow_private is on in some form: http URLs are allowed by the schema check
                         */
    struct tg_script_source library;
    struct tg_watch_cell *watch;  /* may be NULL */
    int64_t fixed_now;            /* TG_NO_TIME: the real clock. For `try --at` and fixtures */
    uint64_t random_seed;         /* 0: the system's randomness. For fixtures */
    struct tg_coverage *coverage; /* rows of map are noted here; may be NULL. For fixtures */
};
#endif
