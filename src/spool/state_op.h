/* An operation on its way from the loop to the file and back, as data: made by state_submit.c, queued by
 * state_queue.c, carried out by state_run.c. Nobody else includes it. */
#ifndef TG_SPOOL_STATE_OP_H
#define TG_SPOOL_STATE_OP_H

#include "spool/state_db.h"

enum op_kind {
    OP_PUT_RETRY,
    OP_UPDATE_RETRY,
    OP_DELETE_RETRY,
    OP_PUT_DEAD,
    OP_RETRY_TO_DEAD,
    OP_FACT,
    OP_TRIM,
    OP_NONE,
    OP_DUE, /* reads from here on */
    OP_USAGE
};

struct dead_op {
    int64_t retry_id; /* OP_RETRY_TO_DEAD */
    struct tg_dead row;
};

struct fact_op {
    const char *kind, *name;
    struct tg_str value;
};

struct trim_op {
    const char *destination, *source;
    int64_t keep_bytes, dropped;
    tg_state_trimmed *done;
};

struct usage_op {
    const char *destination;
    uint32_t worker, workers;
    struct tg_usage usage;
    tg_state_used *done;
};

struct due_op {
    const char *destination;
    uint32_t worker, workers;
    bool by_age;
    int64_t now;
    size_t limit;
    int64_t *busy; /* sorted */
    size_t n_busy;
    tg_state_due *done;
    struct tg_retry *rows; /* the answer */
    void **bases;          /* bases[i]: the allocation behind rows[i] */
    size_t n, room, bytes;
    int64_t next_due, total;
};

struct tg_state_op {
    struct tg_state_op *next;
    enum op_kind kind;
    size_t bytes;
    int status;
    char *why; /* of a failure of its own; NULL: see why_of */
    tg_state_done *done;
    void *arg;
    union {
        struct tg_retry retry; /* OP_DELETE_RETRY: the id only */
        struct dead_op dead;
        struct fact_op fact;
        struct trim_op trim;
        struct due_op due;
        struct usage_op usage;
    };
    char text[]; /* what the members above point to */
};

/* With room for `text` bytes behind it. TG_BUSY while too much waits, TG_NOMEM. */
TG_MUST_CHECK int tg_state_op_new(struct tg_state *s, enum op_kind kind, size_t text, void *arg,
                                  struct tg_state_op **out);
void tg_state_op_free(struct tg_state_op *op);
bool tg_state_op_is_read(const struct tg_state_op *op);
int tg_state_by_id(const void *a, const void *b); /* for qsort and bsearch of ids */

#endif
