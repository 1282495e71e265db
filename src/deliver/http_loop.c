#include "deliver/http_loop.h"

#include "base/mem.h"
#include "deliver/timer.h"

#include <assert.h>
#include <event2/event.h>

enum { SOCK_MAGIC = 0x7c411002 };

struct sock {
    unsigned magic;
    struct tg_http_loop *loop;
    struct event *event;
};

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct sock *s = arg;
    assert(s->magic == SOCK_MAGIC);
    struct tg_http_loop *loop = s->loop;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(loop->multi, fd, mask, &running); /* may free s */
    loop->moved(loop->arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_http_loop *loop = arg;
    int running;
    curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    loop->moved(loop->arg);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    struct tg_http_loop *loop = arg;
    if (ms < 0)
        return event_del(loop->timer);
    return tg_timer_arm(loop->timer, ms);
}

static void drop_sock(struct tg_http_loop *loop, curl_socket_t fd, struct sock *s)
{
    curl_multi_assign(loop->multi, fd, NULL);
    if (!s)
        return;
    event_free(s->event);
    s->magic = 0;
    tg_free(s);
}

static struct sock *new_sock(struct tg_http_loop *loop, curl_socket_t fd)
{
    struct sock *s = tg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->magic = SOCK_MAGIC;
    s->loop = loop;
    s->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_socket, s);
    if (!s->event || curl_multi_assign(loop->multi, fd, s) != CURLM_OK) {
        if (s->event)
            event_free(s->event);
        tg_free(s);
        return NULL;
    }
    return s;
}

/* A refusal from `watch` would end all transfers for good, so a socket that cannot be watched ends its own
 * transfer alone, soon. */
static int give_up(struct tg_http_loop *loop, CURL *easy)
{
    loop->unwatched(loop->arg, easy);
    event_active(loop->timer, EV_TIMEOUT, 0);
    return 0;
}

/* Curl says what it wants to know about a socket. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct tg_http_loop *loop = arg;
    struct sock *s = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        drop_sock(loop, fd, s);
        return 0;
    }
    if (!s && !(s = new_sock(loop, fd)))
        return give_up(loop, easy);
    short events =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
    if ((event_get_events(s->event) & (EV_READ | EV_WRITE | EV_PERSIST)) != events) {
        event_del(s->event);
        event_assign(s->event, loop->base, fd, events, on_socket, s);
    }
    return event_add(s->event, NULL) == 0 ? 0 : give_up(loop, easy);
}

int tg_http_loop_init(struct tg_http_loop *loop, size_t max_connections)
{
    /* Once per process is enough and calling it again is fine; nothing is ever taken down, since other
     * clients may live. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return TG_NOMEM;
    loop->multi = curl_multi_init();
    loop->timer = evtimer_new(loop->base, on_timer, loop);
    if (!loop->multi || !loop->timer)
        return TG_NOMEM;
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, watch);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)max_connections);
    return TG_OK;
}

void tg_http_loop_fini(struct tg_http_loop *loop)
{
    if (loop->multi)
        curl_multi_cleanup(loop->multi);
    if (loop->timer)
        event_free(loop->timer);
}
