#include "ingest/process_lock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* getpid is a system call, and would be a third of the cost of a look. */
static atomic_int cached_pid;
static pthread_once_t fork_watched = PTHREAD_ONCE_INIT;

static void forget_pid(void)
{
    atomic_store(&cached_pid, 0);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forget_pid);
}

static int my_pid(void)
{
    int pid = atomic_load_explicit(&cached_pid, memory_order_relaxed);
    if (!pid) {
        (void)pthread_once(&fork_watched, watch_forks);
        pid = (int)getpid();
        atomic_store(&cached_pid, pid);
    }
    return pid;
}

/* A child of this process that is dead and not waited for still has its pid: the supervisor, which is to wait
 * for the workers, would otherwise wait here for itself. */
static bool is_dead(int pid)
{
    siginfo_t info = {0};
    if (kill(pid, 0) != 0)
        return errno == ESRCH;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

bool tg_process_lock_take(tg_process_lock *lock)
{
    int me = my_pid();
    for (unsigned spins = 0;; spins++) {
        int owner = 0;
        if (atomic_compare_exchange_weak(lock, &owner, me))
            return false;
        bool look = spins % 64 == 63;
        if (owner != 0 && owner != me && look && is_dead(owner) &&
            atomic_compare_exchange_strong(lock, &owner, me))
            return true;
        if (look)
            sched_yield();
    }
}

void tg_process_lock_give(tg_process_lock *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

bool tg_process_lock_inherit(tg_process_lock *lock, int pid)
{
    return atomic_compare_exchange_strong(lock, &pid, my_pid());
}
