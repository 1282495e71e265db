/* The child's way: read the tombstones whose rows are still there; let every worker see them and let go of
 * those users (deliver/forgotten.h says how), so that no row is written behind its back; remove the rows;
 * note that it is done. Ending anywhere leaves tombstones that say what is to be done, for the next child. */
#include "daemon/forgetter.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/forgotten.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN_MS = 1000, PATIENCE_MS = 30000, WORKERS_MS = 30000 };

struct tg_forgetter {
    struct tg_forgetter_options o;
    char *spool_path;
    struct tg_forget_cells cells;
    tg_cell *rows, *failures;
    pid_t child;     /* 0: none */
    int64_t asked;   /* as the child was started */
    int64_t handled; /* up to here all is done */
    int64_t again_at;
};

/* --- the child --- */

/* The tombstones that still have rows. */
struct orders {
    struct tg_forgotten tombstones;
    struct tg_forgotten_user *users;
    const char **names;
    size_t n;
};

static int read_orders(struct tg_state *s, struct orders *o, struct tg_err *err)
{
    tg_forgotten_init(&o->tombstones, 0);
    int rc = tg_forgotten_load(&o->tombstones, s, tg_wall_ms(), err);
    size_t most = o->tombstones.n;
    if (rc || !most)
        return rc;
    o->users = tg_calloc(most, sizeof *o->users);
    o->names = tg_calloc(most, sizeof *o->names);
    if (!o->users || !o->names)
        return tg_fail(err, TG_NOMEM, "out of memory");
    for (size_t i = 0; i < most; i++) {
        const struct tg_tombstone *t = &o->tombstones.list[i];
        if (!t->has_rows)
            continue;
        o->users[o->n] = (struct tg_forgotten_user){tg_str_of(t->user), t->at};
        o->names[o->n++] = t->name;
    }
    return TG_OK;
}

static bool all_have_seen(const struct tg_forgetter *f, int64_t epoch)
{
    for (unsigned w = 0; w < f->o.board->workers; w++) {
        tg_shared_cell *seen = tg_forget_seen(f->o.shared, w);
        if (atomic_load(&f->o.board->rows[w].pid) && (!seen || atomic_load(seen) < epoch))
            return false;
    }
    return true;
}

/* A worker that is down has nothing in hand, and reads the tombstones before anything else when it starts. */
static int wait_for_workers(const struct tg_forgetter *f, struct tg_err *err)
{
    int64_t epoch = atomic_fetch_add(f->cells.epoch, 1) + 1, until = tg_mono_ms() + WORKERS_MS;
    const struct timespec pause = {0, 20 * 1000 * 1000};
    while (!all_have_seen(f, epoch)) {
        if (tg_mono_ms() > until)
            return tg_fail(err, TG_BUSY, "a worker does not listen");
        (void)nanosleep(&pause, NULL);
    }
    return TG_OK;
}

static int carry_out(const struct tg_forgetter *f, struct tg_state *s, const struct orders *o,
                     struct tg_err *err)
{
    struct tg_forgotten_rows rows;
    int rc = wait_for_workers(f, err);
    if (!rc)
        rc = tg_state_forget_users(s, o->users, o->n, &rows, err);
    if (!rc)
        rc = tg_state_put_facts_now(s, TG_FORGET_FACT, o->names, o->n, TG_STR(TG_FORGET_DONE), err);
    if (rc)
        return rc;
    tg_count(f->rows, rows.retries + rows.dead + rows.set_aside);
    tg_info("users forgotten, as delete events asked", TG_FI("users", o->n), TG_FI("retries", rows.retries),
            TG_FI("dead_letters", rows.dead), TG_FI("set_aside", rows.set_aside));
    atomic_fetch_add(f->cells.epoch, 1); /* workers may let the tombstones go in time */
    return TG_OK;
}

static int forget(const struct tg_forgetter *f)
{
    struct tg_state *s = NULL;
    struct tg_err err = {0};
    struct orders orders = {.n = 0};
    int rc = tg_state_open(f->spool_path, NULL, &s, &err);
    if (!rc) {
        tg_state_set_patience(s, PATIENCE_MS);
        rc = read_orders(s, &orders, &err);
    }
    if (!rc && orders.n)
        rc = carry_out(f, s, &orders, &err);
    if (rc)
        tg_warn("what waits of forgotten users could not be removed yet, trying again",
                TG_FS("reason", err.msg[0] ? err.msg : tg_code_text(rc)));
    return rc;
}

/* --- the supervisor's side --- */

static void start_child(struct tg_forgetter *f, int64_t asked)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        tg_log_set_process("forgetter");
        _exit(getppid() != parent || forget(f) != TG_OK);
    }
    if (pid > 0)
        f->child = pid;
    f->asked = asked;
}

static void take_child(struct tg_forgetter *f, int options, int64_t now)
{
    int status = 0;
    pid_t pid;
    if (!f->child)
        return;
    do
        pid = waitpid(f->child, &status, options);
    while (pid < 0 && errno == EINTR);
    if (pid == 0)
        return;
    f->child = 0;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        f->handled = f->asked;
        return;
    }
    tg_count(f->failures, 1);
    f->again_at = now + AGAIN_MS;
}

struct tg_forgetter *tg_forgetter_new(const struct tg_forgetter_options *options)
{
    struct tg_forgetter *f = tg_calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->o = *options;
    f->spool_path = tg_strdup(options->spool_path);
    if (!f->spool_path || !tg_forget_cells(f->o.shared, &f->cells)) {
        tg_forgetter_free(&f);
        return NULL;
    }
    f->rows = tg_metric(f->o.metrics, TG_COUNTER, "tidegate_forgotten_rows_total",
                        "Retries, dead letters and set aside events removed because of delete events.", "");
    f->failures = tg_metric(f->o.metrics, TG_COUNTER, "tidegate_forget_failures_total",
                            "Attempts to remove those that did not work and were made again.", "");
    return f;
}

void tg_forgetter_free(struct tg_forgetter **forgetter)
{
    struct tg_forgetter *f = *forgetter;
    *forgetter = NULL;
    if (!f)
        return;
    if (f->child) {
        (void)kill(f->child, SIGKILL);
        take_child(f, 0, 0);
    }
    tg_free(f->spool_path);
    tg_free(f);
}

void tg_forgetter_tick(struct tg_forgetter *f, int64_t now)
{
    take_child(f, WNOHANG, now);
    int64_t asked = atomic_load(f->cells.asked);
    if (!f->child && asked != f->handled && now >= f->again_at)
        start_child(f, asked);
}
