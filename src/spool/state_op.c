#include "spool/state_op.h"

#include "base/mem.h"

int tg_state_op_new(struct tg_state *s, enum op_kind kind, size_t text, void *arg, struct tg_state_op **out)
{
    size_t bytes = sizeof **out + text;
    if (s->queued_bytes && s->queued_bytes + bytes > TG_STATE_QUEUE_MAX)
        return TG_BUSY;
    *out = tg_calloc(1, bytes);
    if (!*out)
        return TG_NOMEM;
    (*out)->kind = kind;
    (*out)->bytes = bytes;
    (*out)->arg = arg;
    return TG_OK;
}

void tg_state_op_free(struct tg_state_op *op)
{
    if (op->kind == OP_DUE) {
        for (size_t i = 0; i < op->due.n; i++)
            tg_free(op->due.bases[i]);
        tg_free(op->due.rows);
        tg_free(op->due.bases);
    }
    tg_free(op->why);
    tg_free(op);
}

bool tg_state_op_is_read(const struct tg_state_op *op)
{
    return op->kind >= OP_DUE;
}

int tg_state_by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
