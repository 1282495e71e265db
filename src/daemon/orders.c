#include "daemon/orders.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/board_status.h"
#include "daemon/roll_call.h"
#include "daemon/snapshot_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tg_orders {
    struct tg_orders_options o;
    struct tg_control_client *waiter; /* for a pause, a resume or a wake; or NULL */
    struct tg_roll_call command;      /* that one */
    const char *done_text;            /* the answer when all have done it */
};

static void answer_status(struct tg_orders *o, struct tg_control_client *client)
{
    struct tg_buf json = TG_BUF_INIT((size_t)64 * 1024 * 1024);
    int rc = tg_board_status(o->o.board, o->o.metrics, &json);
    tg_control_answer(client, rc == TG_OK, rc ? tg_str_of(tg_code_text(rc)) : tg_buf_str(&json));
    tg_buf_fini(&json);
}

/* Of what the workers have loaded: whether the files say something else by now. */
static void answer_digest(struct tg_orders *o, struct tg_control_client *client)
{
    char hex[TG_SNAPSHOT_DIGEST + 1];
    int rc = tg_snapshot_digest(tg_reload_in_force(o->o.reload), hex);
    tg_control_answer(client, rc == TG_OK, tg_str_of(rc ? tg_code_text(rc) : hex));
}

static bool knows_destination(const struct tg_orders *o, const char *name)
{
    const struct tg_plain *p = &tg_reload_in_force(o->o.reload)->plain;
    for (size_t i = 0; i < p->n_destinations; i++) {
        if (strcmp(p->destinations[i], name) == 0)
            return true;
    }
    return false;
}

static void command_progress(struct tg_orders *o)
{
    struct tg_control_client *client = o->waiter;
    if (!client || !tg_roll_call_is_over(&o->command))
        return;
    const char *failure = tg_roll_call_failure(&o->command);
    o->waiter = NULL;
    tg_control_answer(client, !failure, tg_str_of(failure ? failure : o->done_text));
}

/* pause and resume of a destination, wake of none (NULL): every worker does it and says so. */
static void tell_workers(struct tg_orders *o, struct tg_control_client *client, enum tg_msg_type type,
                         const char *destination)
{
    struct tg_msg msg = {.type = type};
    if (destination && !knows_destination(o, destination)) {
        char text[256];
        (void)snprintf(text, sizeof text, "there is no destination '%.100s' in the configuration",
                       destination);
        tg_control_answer(client, false, tg_str_of(text));
        return;
    }
    if (o->waiter) {
        tg_control_answer(client, false, TG_STR("another command is under way; try again"));
        return;
    }
    if (destination)
        tg_info(type == TG_MSG_PAUSE ? "destination paused by order" : "destination resumed by order",
                TG_FS("destination", destination));
    (void)snprintf(msg.text, sizeof msg.text, "%s", destination ? destination : "");
    o->waiter = client;
    tg_roll_call_begin(&o->command);
    for (unsigned i = 0; i < tg_crew_size(o->o.crew); i++) {
        if (tg_crew_send(o->o.crew, i, &msg, -1))
            tg_roll_call_ask(&o->command, i);
        else if (tg_crew_is_up(o->o.crew, i))
            tg_roll_call_fail(&o->command, "a worker does not listen; try again");
    }
    /* One that starts later reads what is in the state; but somebody must have written it there. */
    if (type != TG_MSG_WAKE && tg_roll_call_is_over(&o->command))
        tg_roll_call_fail(&o->command, "no worker is up; try again");
    o->done_text = type == TG_MSG_PAUSE ? "paused" : type == TG_MSG_RESUME ? "resumed" : "woken";
    command_progress(o);
}

/* `path` is the configuration that the person means, where they could not read it; NULL: this relay's. */
static void order_reload(struct tg_orders *o, struct tg_control_client *client, const char *path)
{
    char *real = path ? realpath(o->o.config_path, NULL) : NULL;
    bool other = path && (!real || strcmp(real, path) != 0);
    free(real); /* libc's */
    if (other) {
        tg_control_answer(client, false, TG_STR(TG_CONTROL_OTHER));
        return;
    }
    if (!tg_reload_ask(o->o.reload, client))
        tg_control_answer(client, false, TG_STR("not now: stopping, or too many reloads wait"));
}

void tg_orders_command(void *orders, struct tg_control_client *client, const char *line)
{
    struct tg_orders *o = orders;
    if (strcmp(line, "status") == 0) {
        answer_status(o, client);
    } else if (strcmp(line, "digest") == 0) {
        answer_digest(o, client);
    } else if (strcmp(line, "stop") == 0) {
        tg_control_answer(client, true, TG_STR("stopping"));
        o->o.stop(o->o.arg);
    } else if (strcmp(line, "reload") == 0) {
        order_reload(o, client, NULL);
    } else if (strncmp(line, "reload ", 7) == 0) {
        order_reload(o, client, line + 7);
    } else if (strncmp(line, "pause ", 6) == 0) {
        tell_workers(o, client, TG_MSG_PAUSE, line + 6);
    } else if (strncmp(line, "resume ", 7) == 0) {
        tell_workers(o, client, TG_MSG_RESUME, line + 7);
    } else if (strcmp(line, "wake") == 0) {
        tell_workers(o, client, TG_MSG_WAKE, NULL);
    } else {
        tg_control_answer(
            client, false,
            TG_STR(
                "unknown command; there are status, digest, stop, reload, wake, pause DEST and resume DEST"));
    }
}

void tg_orders_done(struct tg_orders *o, unsigned slot, const struct tg_msg *msg)
{
    tg_roll_call_answer(&o->command, slot, msg->code ? msg->text : NULL);
    command_progress(o);
}

void tg_orders_worker_gone(struct tg_orders *o, unsigned slot)
{
    tg_roll_call_answer(&o->command, slot, "a worker ended meanwhile; try again");
    command_progress(o);
}

struct tg_orders *tg_orders_new(const struct tg_orders_options *options)
{
    struct tg_orders *o = tg_calloc(1, sizeof *o);
    if (o)
        o->o = *options;
    return o;
}

void tg_orders_free(struct tg_orders **o)
{
    tg_free(*o);
    *o = NULL;
}
