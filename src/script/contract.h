/* What a script's table says of the destination: the part that is not Lua. */
#ifndef TG_SCRIPT_CONTRACT_H
#define TG_SCRIPT_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_host;

struct tg_rate { /* rates = { NAME = { per_second | per_minute | per_hour, burst, account, reset } } */
    char *name;
    double per_second;
    double burst;
    char *account_key; /* values of the settings named in `account`, joined: destinations with the same share
                          the bucket */
    enum { TG_RESET_NONE, TG_RESET_SECONDS, TG_RESET_EPOCH } reset;
};
struct tg_batch_spec { /* batches = { NAME = { max_items, max_bytes, max_wait_ms, join, split } } */
    char *name;
    size_t max_items, max_bytes;
    int64_t max_wait_ms;
    bool has_split;
};

/* Read-only for everybody but the host. */
struct tg_dest {
    char *name;        /* in the configuration */
    char *script;      /* the script's */
    char *integration; /* name in the integrations object */
    bool transparent;
    unsigned accepts; /* bit (1u << enum tg_event_type) for each key of `on` */
    char **hosts;     /* it may reach these, and those in settings of type url; NULL-terminated */
    struct tg_rate *rates;
    size_t n_rates;
    struct tg_batch_spec *batches;
    size_t n_batches;
    unsigned concurrency; /* 0: not said */
    bool has_filter;      /* tg_dest_filter has something to say */
    struct tg_host *host;
    void *impl;
};

/* Frees what is in it, not the struct itself. */
void tg_contract_fini(struct tg_dest *pub);

#endif
