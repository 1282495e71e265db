#include "daemon/reload.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/auto_reload.h"
#include "daemon/notify.h"
#include "daemon/snapshot_bytes.h"
#include "daemon/snapshot_child.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WAITERS = 16, REPORT_PIECE = 4096 };

struct tg_reload {
    struct tg_reload_options o;
    struct tg_snapshot *in_force; /* or the first, which is the owner's */
    int in_force_fd;
    uint64_t generation;
    struct tg_auto_reload *auto_reload; /* or NULL */
    tg_cell *generation_gauge, *reloads, *reload_failures;
    bool running, stopping;
    bool again; /* asked for while one was under way */
    struct tg_snapshot_child child;
    struct event *readable;
    struct tg_buf report;
    int next_fd;
    struct tg_snapshot *next;      /* of next_fd, while the workers swap */
    bool swapping[TG_MAX_WORKERS]; /* has been sent a snapshot and has not answered */
    struct tg_control_client *waiters[MAX_WAITERS];
    size_t n_waiters;
};

static void answer_reload(struct tg_reload *r, bool ok, struct tg_str text)
{
    for (size_t i = 0; i < r->n_waiters; i++)
        tg_control_answer(r->waiters[i], ok, text);
    r->n_waiters = 0;
}

/* Lines without the last one's end, for a log field and an answer that ends its lines itself. */
static struct tg_str trimmed(const struct tg_buf *report)
{
    struct tg_str text = tg_buf_str(report);
    while (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    return text;
}

static void end_reload(struct tg_reload *r, bool ok, struct tg_str text)
{
    tg_count(ok ? r->reloads : r->reload_failures, 1);
    if (ok)
        tg_info("configuration reloaded", TG_FI("generation", r->generation));
    else
        tg_error("reload refused, the old configuration goes on", TG_FSTR("reasons", text));
    answer_reload(r, ok, text);
    tg_buf_clear(&r->report);
    r->running = false;
    if (r->stopping)
        return;
    tg_notify("READY=1");
    if (r->again) {
        r->again = false;
        tg_reload_begin(r);
    }
}

static void ask_reload(void *arg)
{
    struct tg_reload *r = arg;
    if (!r->stopping)
        tg_reload_begin(r);
}

void tg_reload_follow_files(struct tg_reload *r)
{
    struct tg_err err = {0, ""};
    int rc = TG_OK;
    if (!r->in_force->plain.reload_on_change) {
        tg_auto_reload_free(&r->auto_reload);
        return;
    }
    if (!r->auto_reload)
        rc = tg_auto_reload_new(r->o.base, ask_reload, r, &r->auto_reload, &err);
    if (!rc)
        rc = tg_auto_reload_follow(r->auto_reload, r->in_force, &err);
    if (rc)
        tg_warn("reload_on_change: changes are not seen", TG_FS("error", err.msg));
}

/* Every worker that is up has the new snapshot: it is the one in force. */
static void commit_reload(struct tg_reload *r)
{
    if (r->in_force != r->o.first) {
        (void)close(r->in_force_fd);
        tg_snapshot_free(&r->in_force);
    }
    r->in_force_fd = r->next_fd;
    r->next_fd = -1;
    r->in_force = r->next;
    r->next = NULL;
    tg_gauge(r->generation_gauge, (int64_t)r->in_force->generation);
    tg_snapshot_log_as(&r->in_force->plain);
    tg_reload_follow_files(r);
    struct tg_buf answer = TG_BUF_INIT(r->report.max + 16);
    struct tg_str notes = trimmed(&r->report);
    int rc = tg_buf_printf(&answer, "reloaded%s%.*s", notes.n ? "\n" : "", TG_STR_ARG(notes));
    end_reload(r, true, rc ? TG_STR("reloaded") : tg_buf_str(&answer));
    tg_buf_fini(&answer);
}

static void swap_progress(struct tg_reload *r)
{
    if (!r->next)
        return;
    for (unsigned i = 0; i < tg_crew_size(r->o.crew); i++) {
        if (r->swapping[i])
            return;
    }
    commit_reload(r);
}

static bool same_listeners(const struct tg_plain *a, const struct tg_plain *b)
{
    bool same = a->n_listen == b->n_listen;
    for (size_t i = 0; same && i < a->n_listen; i++)
        same = strcmp(a->listen[i], b->listen[i]) == 0;
    return same;
}

static bool same_files(const struct tg_script_source *a, const struct tg_script_source *b)
{
    bool same = a->n_files == b->n_files;
    for (size_t i = 0; same && i < a->n_files; i++)
        same =
            strcmp(a->files[i].name, b->files[i].name) == 0 && tg_str_eq(a->files[i].text, b->files[i].text);
    return same;
}

/* What needs a restart is said, and stays as it was. */
static void compare(struct tg_buf *out, const struct tg_snapshot *running, const struct tg_snapshot *wanted)
{
    const struct tg_plain *old = &running->plain, *new = &wanted->plain;
    const struct {
        const char *option;
        bool same;
    } rows[] = {
        {"listen", same_listeners(old, new)},
        {"admin", strcmp(old->admin ? old->admin : "", new->admin ? new->admin : "") == 0},
        {"workers", old->workers == new->workers},
        {"spool.path", strcmp(old->spool_path, new->spool_path) == 0},
        {"spool.sync", old->sync == new->sync},
        {"dedup", old->dedup_window_ms == new->dedup_window_ms && old->dedup_entries == new->dedup_entries},
        {"the folder lua", same_files(&running->library, &wanted->library)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!rows[i].same && tg_buf_printf(out, "%s has changed: this needs a restart\n", rows[i].option))
            return; /* a notice only */
}

static void apply_reload(struct tg_reload *r)
{
    struct tg_err err = {0};
    if (tg_snapshot_read(r->child.fd, &r->next, &err)) {
        (void)close(r->child.fd);
        r->child.fd = -1;
        end_reload(r, false, tg_str_of(err.msg));
        return;
    }
    r->next_fd = r->child.fd;
    r->child.fd = -1;
    r->generation = r->next->generation; /* refused ones have no number */
    compare(&r->report, r->o.first, r->next);
    if (r->report.len)
        tg_warn("some changes need a restart", TG_FSTR("which", trimmed(&r->report)));
    struct tg_msg msg = {.type = TG_MSG_RELOAD, .generation = r->next->generation};
    for (unsigned i = 0; i < tg_crew_size(r->o.crew); i++) {
        r->swapping[i] = tg_crew_send(r->o.crew, i, &msg, r->next_fd);
        if (!r->swapping[i])
            tg_crew_kill(r->o.crew, i); /* if up, it does not read its channel: a successor has the new one */
    }
    swap_progress(r);
}

/* `refused`: why the new configuration is not taken, whatever the child says; NULL: it is for the child to
 * say.
 */
static void take_child(struct tg_reload *r, const char *refused)
{
    struct tg_err err = {0};
    int status = 0;
    if (r->readable)
        event_free(r->readable);
    r->readable = NULL;
    while (waitpid(r->child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    r->child.pid = 0;
    int rc = tg_snapshot_child_finish(&r->child, status, &err);
    if (!rc && !refused) {
        apply_reload(r);
        return;
    }
    if (!rc)
        (void)close(r->child.fd);
    r->child.fd = -1;
    end_reload(r, false,
               refused         ? tg_str_of(refused)
               : r->report.len ? trimmed(&r->report)
                               : tg_str_of(err.msg));
}

/* The child is not waited for before it is killed: it may wait for us to read what it says. */
static void give_up_child(struct tg_reload *r)
{
    (void)kill(r->child.pid, SIGKILL);
    take_child(r, "out of memory");
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    struct tg_reload *r = arg;
    struct tg_buf *report = &r->report;
    (void)what;
    if (tg_buf_reserve(report, REPORT_PIECE)) {
        give_up_child(r);
        return;
    }
    ssize_t n = read(fd, report->data + report->len, REPORT_PIECE);
    if (n > 0)
        report->len += (size_t)n;
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        take_child(r, r->stopping ? "stopping" : NULL);
}

void tg_reload_begin(struct tg_reload *r)
{
    struct tg_err err = {0};
    if (r->running) {
        r->again = true;
        return;
    }
    tg_notify("RELOADING=1");
    r->running = true;
    if (tg_snapshot_child_start(r->o.config_path, r->in_force, r->generation + 1, &r->child, &err)) {
        end_reload(r, false, tg_str_of(err.msg));
        return;
    }
    r->readable = event_new(r->o.base, r->child.report_fd, EV_READ | EV_PERSIST, on_report, r);
    if (!r->readable || event_add(r->readable, NULL))
        give_up_child(r);
}

bool tg_reload_ask(struct tg_reload *r, struct tg_control_client *client)
{
    if (r->stopping || r->n_waiters == MAX_WAITERS)
        return false;
    r->waiters[r->n_waiters++] = client;
    tg_reload_begin(r);
    return true;
}

void tg_reload_stop(struct tg_reload *r)
{
    r->stopping = true;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

void tg_reload_close_in_child(struct tg_reload *r)
{
    close_fd(r->child.report_fd);
    close_fd(r->child.fd);
    if (r->auto_reload)
        tg_auto_reload_close_in_child(r->auto_reload);
}

const struct tg_snapshot *tg_reload_in_force(const struct tg_reload *r)
{
    return r->in_force;
}

int tg_reload_snapshot_fd(const struct tg_reload *r)
{
    return r->next ? r->next_fd : r->in_force_fd;
}

void tg_reload_swapped(struct tg_reload *r, unsigned slot, const struct tg_msg *msg)
{
    if (msg->code) {
        /* The set was good in the child: it is this process that cannot (memory). A new one starts with it.
         */
        tg_error("worker cannot swap, it is restarted", TG_FI("slot", slot), TG_FS("reason", msg->text));
        tg_crew_kill(r->o.crew, slot);
    }
    r->swapping[slot] = false;
    swap_progress(r);
}

void tg_reload_worker_gone(struct tg_reload *r, unsigned slot)
{
    r->swapping[slot] = false;
    swap_progress(r);
}

struct tg_reload *tg_reload_new(const struct tg_reload_options *options)
{
    struct tg_reload *r = tg_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->o = *options;
    r->in_force = options->first;
    r->in_force_fd = options->first_fd;
    r->generation = options->first->generation;
    r->next_fd = -1;
    r->child = (struct tg_snapshot_child){.report_fd = -1, .fd = -1};
    tg_buf_init(&r->report, 1024 * 1024 + REPORT_PIECE);
    r->generation_gauge = tg_metric(options->metrics, TG_GAUGE_MAX, "tidegate_config_generation",
                                    "Number of the configuration in force.", "");
    r->reloads =
        tg_metric(options->metrics, TG_COUNTER, "tidegate_reloads_total", "Configurations swapped in.", "");
    r->reload_failures = tg_metric(options->metrics, TG_COUNTER, "tidegate_reload_failures_total",
                                   "Reloads that were refused.", "");
    tg_gauge(r->generation_gauge, (int64_t)r->generation);
    return r;
}

void tg_reload_free(struct tg_reload **reload)
{
    struct tg_reload *r = *reload;
    if (!r)
        return;
    if (r->child.pid > 0) {
        (void)kill(r->child.pid, SIGKILL);
        (void)waitpid(r->child.pid, NULL, 0);
    }
    answer_reload(r, false, TG_STR("stopping"));
    if (r->readable)
        event_free(r->readable);
    tg_buf_fini(&r->report);
    close_fd(r->child.report_fd);
    close_fd(r->child.fd);
    close_fd(r->next_fd);
    tg_snapshot_free(&r->next);
    tg_auto_reload_free(&r->auto_reload);
    if (r->in_force != r->o.first) {
        close_fd(r->in_force_fd);
        tg_snapshot_free(&r->in_force);
    }
    tg_free(r);
    *reload = NULL;
}
