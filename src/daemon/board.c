#include "daemon/board.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static size_t board_bytes(unsigned workers)
{
    return sizeof(struct tg_board) + (size_t)workers * sizeof(struct tg_board_row);
}

struct tg_board *tg_board_new(unsigned workers)
{
    struct tg_board *b = mmap(NULL, board_bytes(workers), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b == MAP_FAILED)
        return NULL;
    b->workers = workers;
    b->started_at = tg_wall_ms();
    for (unsigned w = 0; w < workers; w++)
        atomic_store(&b->rows[w].down_since, tg_mono_ms());
    return b;
}

void tg_board_free(struct tg_board **board)
{
    if (*board)
        (void)munmap(*board, board_bytes((*board)->workers));
    *board = NULL;
}

int64_t tg_board_uptime(const struct tg_board *board)
{
    return tg_wall_ms() - board->started_at;
}

void tg_board_say(struct tg_board *board, unsigned worker, struct tg_str json, bool accepting,
                  const char *why)
{
    struct tg_board_row *row = &board->rows[worker];
    /* A worker that was killed in the middle left the version odd; its successor makes it odd again. */
    uint32_t version = atomic_load(&row->version) | 1u;
    atomic_store(&row->version, version);
    atomic_thread_fence(memory_order_seq_cst);
    if (json.n > TG_BOARD_STATUS_MAX)
        json = TG_STR("{}");
    memcpy(row->status, json.p, json.n);
    row->status_len = (uint32_t)json.n;
    (void)snprintf(row->why, sizeof row->why, "%s", why ? why : "");
    atomic_store(&row->accepting, accepting);
    atomic_store(&row->version, version + 1);
}

int tg_board_read(struct tg_board *board, unsigned worker, struct tg_buf *json)
{
    struct tg_board_row *row = &board->rows[worker];
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load(&row->version);
        uint32_t n = row->status_len;
        if ((before & 1) || n > TG_BOARD_STATUS_MAX) {
            (void)sched_yield(); /* it may have been stopped in the middle of writing */
            continue;
        }
        int rc = tg_buf_reserve(json, n);
        if (rc)
            return rc;
        if (n)
            memcpy(json->data + json->len, row->status, n);
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load(&row->version) == before) {
            json->len += n;
            return TG_OK;
        }
    }
    return TG_BUSY;
}

bool tg_board_strike(struct tg_board *board, unsigned worker, bool timed_out)
{
    struct tg_watch_cell *cell = &board->rows[worker].watch;
    if (atomic_load(&cell->since_us) == 0)
        return false;
    struct tg_strike *s = &board->strikes[atomic_fetch_add(&board->next_strike, 1) % TG_STRIKES];
    atomic_store(&s->used, 0);
    memcpy(s->destination, cell->destination, sizeof s->destination);
    s->destination[sizeof s->destination - 1] = '\0';
    s->seq = atomic_load(&cell->seq);
    s->worker = worker;
    s->timed_out = timed_out;
    atomic_store(&s->taken, 0);
    atomic_store(&s->used, 1);
    return true;
}

bool tg_board_ready(struct tg_board *board, char *why, size_t size)
{
    unsigned up = 0;
    if (atomic_load(&board->stopping)) {
        (void)snprintf(why, size, "stopping");
        return false;
    }
    for (unsigned w = 0; w < board->workers; w++) {
        struct tg_board_row *row = &board->rows[w];
        if (atomic_load(&row->down_since))
            continue; /* its siblings accept for it */
        up++;
        if (!atomic_load(&row->accepting)) {
            (void)snprintf(why, size, "worker %u: %.*s", w, TG_BOARD_WHY_MAX - 1, row->why);
            return false;
        }
    }
    if (!up)
        (void)snprintf(why, size, "no worker is up");
    return up > 0;
}
