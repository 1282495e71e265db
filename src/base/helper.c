/* Two lists under one lock: `todo`, filled by the loop and emptied by the thread, and `finished`, the other
 * way round. An eventfd wakes the loop. The thread takes one job at a time, so that order is kept and a drain
 * sees each step. */
#include "base/helper.h"

#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct joblist {
    struct tg_job *first, **last;
};

struct tg_helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;     /* todo is not empty, or stop */
    pthread_cond_t progress; /* a job has been finished */
    struct joblist todo, finished;
    bool stop;
    size_t pending; /* loop thread only */
    int wake_fd;
    struct event *wake;
};

static void list_init(struct joblist *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_put(struct joblist *l, struct tg_job *job)
{
    job->next = NULL;
    *l->last = job;
    l->last = &job->next;
}

static struct tg_job *list_take(struct joblist *l)
{
    struct tg_job *job = l->first;
    if (job) {
        l->first = job->next;
        if (!l->first)
            l->last = &l->first;
    }
    return job;
}

static void *helper_main(void *arg)
{
    struct tg_helper *h = arg;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        while (!h->todo.first && !h->stop)
            pthread_cond_wait(&h->more, &h->lock);
        struct tg_job *job = list_take(&h->todo);
        if (!job)
            break;
        pthread_mutex_unlock(&h->lock);
        job->run(job);
        pthread_mutex_lock(&h->lock);
        list_put(&h->finished, job);
        pthread_cond_signal(&h->progress);
        /* The loop wakes at once and wants the lock: it is not to find it taken. */
        pthread_mutex_unlock(&h->lock);
        uint64_t one = 1;
        ssize_t n = write(h->wake_fd, &one, sizeof one); /* EAGAIN: the loop is being woken already */
        (void)n;
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* Calls `done` of one finished job, outside the lock because `done` may give new ones. */
static bool finish_one(struct tg_helper *h)
{
    pthread_mutex_lock(&h->lock);
    struct tg_job *job = list_take(&h->finished);
    pthread_mutex_unlock(&h->lock);
    if (!job)
        return false;
    h->pending--;
    if (job->done)
        job->done(job);
    return true;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct tg_helper *h = arg;
    (void)what;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n;
    while (finish_one(h))
        ;
}

static int start_thread(struct tg_helper *h)
{
    /* Signals are the loop's: the helper's thread takes none. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&h->thread, NULL, helper_main, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int tg_helper_new(struct event_base *base, struct tg_helper **out, struct tg_err *err)
{
    int rc;
    struct tg_helper *h = tg_calloc(1, sizeof *h);
    if (!h)
        return tg_fail(err, TG_NOMEM, "helper thread: out of memory");
    list_init(&h->todo);
    list_init(&h->finished);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->more, NULL);
    pthread_cond_init(&h->progress, NULL);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake_fd < 0) {
        rc = tg_fail_errno(err, errno, "helper thread: eventfd");
        goto free_helper;
    }
    h->wake = event_new(base, h->wake_fd, EV_READ | EV_PERSIST, on_wake, h);
    if (!h->wake || event_add(h->wake, NULL) != 0) {
        rc = tg_fail(err, TG_NOMEM, "helper thread: cannot add its event");
        goto close_fd;
    }
    int e = start_thread(h);
    if (e) {
        rc = tg_fail_errno(err, e, "helper thread");
        goto close_fd;
    }
    *out = h;
    return TG_OK;

close_fd:
    if (h->wake)
        event_free(h->wake);
    (void)close(h->wake_fd);
free_helper:
    pthread_cond_destroy(&h->progress);
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    tg_free(h);
    return rc;
}

void tg_helper_give(struct tg_helper *h, struct tg_job *job)
{
    h->pending++;
    pthread_mutex_lock(&h->lock);
    list_put(&h->todo, job);
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->more);
}

void tg_helper_drain(struct tg_helper *h)
{
    while (h->pending) {
        pthread_mutex_lock(&h->lock);
        while (!h->finished.first)
            pthread_cond_wait(&h->progress, &h->lock);
        pthread_mutex_unlock(&h->lock);
        (void)finish_one(h);
    }
}

size_t tg_helper_pending(const struct tg_helper *h)
{
    return h->pending;
}

void tg_helper_free(struct tg_helper **helper)
{
    struct tg_helper *h = *helper;
    if (!h)
        return;
    tg_helper_drain(h); /* while the owner's pointer still stands: `done` may use it */
    *helper = NULL;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    event_free(h->wake);
    (void)close(h->wake_fd);
    pthread_cond_destroy(&h->progress);
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    tg_free(h);
}
