/* A supervisor's loop, board and crew with puppets for workers: each lives the life that the test gives it.
 */
#ifndef TG_STAGE_H
#define TG_STAGE_H

#include "base/clock.h"
#include "base/log.h"
#include "daemon/crew.h"
#include "daemon/worker_start.h"
#include "tg_test.h"

#include <dirent.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STAGE_WORKERS = 2, STAGE_MS = 60000 };

struct stage {
    struct event_base *base;
    struct event *tick;
    struct tg_board *board;
    struct tg_metrics *metrics;
    struct tg_crew *crew;
    int (*life)(unsigned slot, int channel); /* of a worker, in its process; its exit status */
    void (*on_message)(struct stage *s, unsigned slot, const struct tg_msg *msg); /* or NULL */
    void (*on_gone)(struct stage *s, unsigned slot, int pid);                     /* or NULL */
    int64_t hang_ms, hard_ms;
    unsigned messages[STAGE_WORKERS][TG_MSG_DONE + 1], gone[STAGE_WORKERS];
    struct tg_msg last, last_of[STAGE_WORKERS]; /* but for READY */
    void *owner;
};

/* --- in a puppet --- */

static inline void puppet_says(int channel, enum tg_msg_type type, int code, const char *text)
{
    struct tg_msg msg = {.type = type, .code = code};
    (void)snprintf(msg.text, sizeof msg.text, "%s", text);
    if (tg_channel_send(channel, &msg, -1))
        _exit(9);
}

/* The next message; the descriptor that came with it is closed. Ends the process with the supervisor's. */
static inline struct tg_msg puppet_hears(int channel)
{
    struct tg_msg msg = {0};
    int fd, rc;
    while ((rc = tg_channel_receive(channel, &msg, &fd)) == TG_BUSY) {
        struct pollfd p = {.fd = channel, .events = POLLIN};
        (void)poll(&p, 1, 1000);
    }
    if (rc)
        _exit(0);
    if (fd >= 0)
        (void)close(fd);
    return msg;
}

/* Serves until it is killed, and does what it is asked for. */
static inline int obedient(unsigned slot, int channel)
{
    (void)slot;
    puppet_says(channel, TG_MSG_READY, 0, "");
    for (;;) {
        struct tg_msg msg = puppet_hears(channel);
        puppet_says(channel, msg.type == TG_MSG_RELOAD ? TG_MSG_RELOADED : TG_MSG_DONE, 0, "");
    }
    return 0;
}

/* --- in the test --- */

static int stage_live(void *arg, unsigned slot, int channel)
{
    return ((struct stage *)arg)->life(slot, channel);
}

static void stage_on_message(void *arg, unsigned slot, const struct tg_msg *msg)
{
    struct stage *s = arg;
    assert_in_range(msg->type, TG_MSG_READY, TG_MSG_DONE);
    s->messages[slot][msg->type]++;
    if (msg->type != TG_MSG_READY)
        s->last = s->last_of[slot] = *msg;
    if (s->on_message)
        s->on_message(s, slot, msg);
}

static void stage_on_gone(void *arg, unsigned slot, int pid)
{
    struct stage *s = arg;
    assert_true(pid > 0);
    s->gone[slot]++;
    if (s->on_gone)
        s->on_gone(s, slot, pid);
}

static void stage_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct stage *s = arg;
    (void)fd;
    (void)what;
    tg_crew_tick(s->crew, tg_mono_ms(), s->hang_ms, s->hard_ms);
}

static inline void stage_set(struct stage *s, int (*life)(unsigned slot, int channel))
{
    const struct timeval often = {0, 5000};
    *s = (struct stage){.life = life, .hard_ms = STAGE_MS};
    tg_log_set_fd(-1);
    s->base = event_base_new();
    s->board = tg_board_new(STAGE_WORKERS);
    s->metrics = tg_metrics_new(STAGE_WORKERS + 1);
    const struct tg_crew_options options = {
        .base = s->base,
        .board = s->board,
        .metrics = s->metrics,
        .workers = STAGE_WORKERS,
        .live = stage_live,
        .on_message = stage_on_message,
        .on_gone = stage_on_gone,
        .arg = s,
    };
    s->crew = tg_crew_new(&options);
    assert_non_null(s->crew);
    s->tick = event_new(s->base, -1, EV_PERSIST, stage_on_tick, s);
    assert_int_equal(event_add(s->tick, &often), 0);
}

/* Lets the loop run for a moment; false when the time that a test has is over. */
static inline bool stage_turn(struct stage *s, int64_t until)
{
    const struct timeval piece = {0, 5000};
    (void)event_base_loopexit(s->base, &piece);
    (void)event_base_dispatch(s->base);
    return tg_mono_ms() < until;
}

#define stage_until(s, condition)                                                                            \
    do {                                                                                                     \
        int64_t until_ = tg_mono_ms() + STAGE_MS;                                                            \
        while (!(condition))                                                                                 \
            if (!stage_turn((s), until_))                                                                    \
                fail_msg("never: %s", #condition);                                                           \
    } while (0)

static inline void stage_open(struct stage *s)
{
    tg_crew_start(s->crew);
    stage_until(s, tg_crew_all_ready(s->crew));
}

static inline void stage_strike(struct stage *s)
{
    tg_crew_stop(s->crew, 0);
    stage_until(s, !tg_crew_any_up(s->crew));
    tg_crew_free(&s->crew);
    event_free(s->tick);
    event_base_free(s->base);
    tg_board_free(&s->board);
    tg_metrics_free(&s->metrics);
}

static inline int stage_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

#endif
