#include "script/guard.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TICKS_PER_LIMIT = 4 };

/* A real-time signal of its own: SIGPROF belongs to profilers. */
static int guard_signal(void)
{
    return SIGRTMIN + 5;
}

/* May run between any two instructions of the thread. lua_sethook is made to be called from a signal handler.
 */
static void on_tick(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    struct tg_guard *g = info->si_value.sival_ptr;
    if (!g->running || ++g->ticks <= TICKS_PER_LIMIT)
        return;
    g->fired = 1;
    lua_sethook(g->L, g->hook, LUA_MASKCOUNT, 1);
}

static int listen_for_ticks(struct tg_err *err)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_tick;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&sa.sa_mask);
    if (sigaction(guard_signal(), &sa, NULL) != 0)
        return tg_fail_errno(err, errno, "script time limit: sigaction");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, guard_signal());
    int rc = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return rc ? tg_fail_errno(err, rc, "script time limit: pthread_sigmask") : TG_OK;
}

int tg_guard_init(struct tg_guard *g, int64_t limit_us, lua_Hook hook, struct tg_err *err)
{
    memset(g, 0, sizeof *g);
    g->hook = hook;
    if (limit_us <= 0)
        return TG_OK;
    int rc = listen_for_ticks(err);
    if (rc)
        return rc;
    struct sigevent to;
    memset(&to, 0, sizeof to);
    to.sigev_notify = SIGEV_THREAD_ID; /* a process-wide timer's signal may land in another thread */
    to.sigev_signo = guard_signal();
    to.sigev_value.sival_ptr = g;
    to._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &to, &g->timer) != 0)
        return tg_fail_errno(err, errno, "script time limit: timer_create");
    g->armed = true;
    rc = tg_guard_limit(g, limit_us, err);
    if (rc)
        tg_guard_fini(g);
    return rc;
}

int tg_guard_limit(struct tg_guard *g, int64_t limit_us, struct tg_err *err)
{
    int64_t tick_ns = limit_us * 1000 / TICKS_PER_LIMIT;
    struct itimerspec every = {{tick_ns / 1000000000, tick_ns % 1000000000},
                               {tick_ns / 1000000000, tick_ns % 1000000000}};
    if (g->armed && timer_settime(g->timer, 0, &every, NULL) != 0)
        return tg_fail_errno(err, errno, "script time limit: timer_settime");
    return TG_OK;
}

void tg_guard_fini(struct tg_guard *g)
{
    /* A pending signal goes to this thread and is handled before timer_delete returns to it. */
    if (g->armed)
        timer_delete(g->timer);
    g->armed = false;
}

void tg_guard_enter(struct tg_guard *g)
{
    g->ticks = 0;
    g->fired = 0;
    g->running = 1;
}

bool tg_guard_leave(struct tg_guard *g)
{
    g->running = 0;
    if (!g->fired)
        return false;
    lua_sethook(g->L, NULL, 0, 0);
    return true;
}
