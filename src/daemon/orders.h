/* What a person tells the supervisor over its control socket: status, stop, reload, pause, resume, wake. */
#ifndef TG_DAEMON_ORDERS_H
#define TG_DAEMON_ORDERS_H

#include "daemon/reload.h"

struct tg_orders_options {
    struct tg_board *board;
    struct tg_metrics *metrics;
    struct tg_crew *crew;
    struct tg_reload *reload;
    const char *config_path;
    void (*stop)(void *arg);
    void *arg;
};

struct tg_orders;

struct tg_orders *tg_orders_new(const struct tg_orders_options *options); /* NULL without memory */
void tg_orders_free(struct tg_orders **o);

/* One line of a client, which is answered now or when every worker has done it. For tg_control_new; `orders`
 * is a struct tg_orders. */
void tg_orders_command(void *orders, struct tg_control_client *client, const char *line);

/* A worker's TG_MSG_DONE, and its end. */
void tg_orders_done(struct tg_orders *o, unsigned slot, const struct tg_msg *msg);
void tg_orders_worker_gone(struct tg_orders *o, unsigned slot);

#endif
