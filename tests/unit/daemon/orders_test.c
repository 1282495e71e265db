/* Orders of people, with puppets for workers: who hears them, who dies of them, and what crosses. */
#include "stage.h"

#include "daemon/control.h"
#include "daemon/orders.h"
#include "daemon/sockets.h"

#include <sys/socket.h>

enum { CLIENTS = 4 };

struct tester {
    struct stage stage;
    char dir[64];
    struct tg_snapshot in_force;
    char *destinations[1];
    struct tg_reload *reload;
    struct tg_orders *orders;
    struct tg_control *control;
    int clients[CLIENTS];
    bool stop;
    char config[128];
};

static void on_message(struct stage *s, unsigned slot, const struct tg_msg *msg)
{
    struct tester *t = s->owner;
    if (msg->type == TG_MSG_DONE)
        tg_orders_done(t->orders, slot, msg);
    if (msg->type == TG_MSG_RELOADED)
        tg_reload_swapped(t->reload, slot, msg);
}

static void on_gone(struct stage *s, unsigned slot, int pid)
{
    struct tester *t = s->owner;
    (void)pid;
    tg_reload_worker_gone(t->reload, slot);
    tg_orders_worker_gone(t->orders, slot);
}

static void on_stop(void *arg)
{
    ((struct tester *)arg)->stop = true;
}

static int set_up(void **state)
{
    struct tester *t = calloc(1, sizeof *t);
    strcpy(t->dir, "/tmp/tg_orders_XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    (void)snprintf(t->config, sizeof t->config, "%s/tidegate.lua", t->dir);
    stage_set(&t->stage, obedient);
    t->stage.owner = t;
    t->stage.on_message = on_message;
    t->stage.on_gone = on_gone;
    t->destinations[0] = (char *)"hook";
    t->in_force.generation = 1;
    t->in_force.plain.destinations = t->destinations;
    t->in_force.plain.n_destinations = 1;
    const struct tg_reload_options reload = {
        .base = t->stage.base,
        .config_path = t->config,
        .metrics = t->stage.metrics,
        .crew = t->stage.crew,
        .first = &t->in_force,
        .first_fd = -1,
    };
    t->reload = tg_reload_new(&reload);
    const struct tg_orders_options orders = {
        .board = t->stage.board,
        .metrics = t->stage.metrics,
        .crew = t->stage.crew,
        .reload = t->reload,
        .config_path = t->config,
        .stop = on_stop,
        .arg = t,
    };
    t->orders = tg_orders_new(&orders);
    assert_non_null(t->orders);
    assert_ok(tg_control_new(t->stage.base, t->dir, tg_orders_command, t->orders, &t->control, NULL));
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tester *t = *state;
    char path[128];
    t->stage.on_gone = NULL;
    t->stage.on_message = NULL;
    tg_reload_free(&t->reload);
    tg_control_free(&t->control);
    tg_orders_free(&t->orders);
    stage_strike(&t->stage);
    (void)snprintf(path, sizeof path, "%s/control.sock", t->dir);
    (void)unlink(path);
    (void)unlink(t->config);
    (void)rmdir(t->dir);
    free(t);
    return 0;
}

static void order(struct tester *t, int client, const char *line)
{
    assert_ok(tg_connect_unix(t->dir, "control.sock", &t->clients[client], NULL));
    assert_int_equal(send(t->clients[client], line, strlen(line), MSG_NOSIGNAL), strlen(line));
    assert_int_equal(send(t->clients[client], "\n", 1, MSG_NOSIGNAL), 1);
}

/* The whole answer: "0…" done, "1…" not done. */
static const char *answer(struct tester *t, int client)
{
    static char text[8192];
    size_t n = 0;
    int64_t until = tg_mono_ms() + STAGE_MS;
    for (;;) {
        ssize_t got = recv(t->clients[client], text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
        if (!stage_turn(&t->stage, until))
            fail_msg("no answer; so far \"%.*s\"", (int)n, text);
    }
    text[n] = '\0';
    (void)close(t->clients[client]);
    return text;
}

static const char *told(struct tester *t, const char *line)
{
    order(t, 0, line);
    return answer(t, 0);
}

/* Each command and each way to get it wrong. */
static void test_commands(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    assert_string_equal(told(t, "pause hook"), "0paused");
    assert_string_equal(told(t, "resume hook"), "0resumed");
    assert_string_equal(told(t, "wake"), "0woken");
    assert_int_equal(t->stage.messages[0][TG_MSG_DONE], 3);
    assert_int_equal(t->stage.messages[1][TG_MSG_DONE], 3);
    assert_non_null(strstr(told(t, "status"), "\"ready\":"));
    assert_int_equal(strlen(told(t, "digest")), 65);
    assert_string_equal(told(t, "pause another"), "1there is no destination 'another' in the configuration");
    assert_string_equal(told(t, "resume "), "1there is no destination '' in the configuration");
    static const char *const unknown[] = {"", "pause", "status ", "RELOAD", "wake hook", "\x01\xff"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_int_equal(strncmp(told(t, unknown[i]), "1unknown command; there are ", 28), 0);
    assert_int_equal(t->stage.messages[0][TG_MSG_DONE], 3);
    assert_string_equal(told(t, "reload /etc/another.lua"), "1" TG_CONTROL_OTHER);
    assert_string_equal(told(t, "stop"), "0stopping");
    assert_true(t->stop);
}

static int does_nothing(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    while (slot == 0)
        (void)puppet_hears(channel);
    return obedient(slot, channel);
}

/* One order at a time: another is refused meanwhile, the first is answered when the last worker has, or has
 * ended. */
static void test_crossing(void **state)
{
    struct tester *t = *state;
    t->stage.life = does_nothing;
    stage_open(&t->stage);
    order(t, 1, "pause hook");
    stage_until(&t->stage, t->stage.messages[1][TG_MSG_DONE] == 1);
    assert_string_equal(told(t, "resume hook"), "1another command is under way; try again");
    assert_string_equal(told(t, "wake"), "1another command is under way; try again");
    assert_int_equal(t->stage.messages[1][TG_MSG_DONE], 1);
    t->stage.life = obedient;
    tg_crew_kill(t->stage.crew, 0);
    assert_string_equal(answer(t, 1), "1a worker ended meanwhile; try again");
    stage_until(&t->stage, tg_crew_all_ready(t->stage.crew));
    assert_string_equal(told(t, "resume hook"), "0resumed");
}

/* A client that leaves without its answer takes nothing with it: the order is carried out, and the next one
 * can be given. */
static void test_client_leaves(void **state)
{
    struct tester *t = *state;
    t->stage.life = does_nothing;
    stage_open(&t->stage);
    order(t, 1, "pause hook");
    stage_until(&t->stage, t->stage.messages[1][TG_MSG_DONE] == 1);
    (void)close(t->clients[1]);
    for (int i = 0; i < 5; i++)
        (void)stage_turn(&t->stage, 0);
    t->stage.life = obedient;
    tg_crew_kill(t->stage.crew, 0);
    stage_until(&t->stage, t->stage.gone[0] == 1);
    stage_until(&t->stage, tg_crew_all_ready(t->stage.crew));
    assert_string_equal(told(t, "pause hook"), "0paused");
}

static int answers_too_much(unsigned slot, int channel)
{
    (void)slot;
    puppet_says(channel, TG_MSG_READY, 0, "");
    for (;;) {
        puppet_says(channel, TG_MSG_DONE, TG_IO, "nobody asked");
        (void)puppet_hears(channel);
        puppet_says(channel, TG_MSG_DONE, 0, "");
        puppet_says(channel, TG_MSG_RELOADED, 0, "");
    }
    return 0;
}

/* Answers that nobody waits for, before an order and behind it, change nothing. */
static void test_answers_nobody_asked_for(void **state)
{
    struct tester *t = *state;
    t->stage.life = answers_too_much;
    stage_open(&t->stage);
    stage_until(&t->stage, t->stage.messages[0][TG_MSG_DONE] && t->stage.messages[1][TG_MSG_DONE]);
    assert_string_equal(told(t, "pause hook"), "0paused");
    assert_int_equal(tg_reload_in_force(t->reload)->generation, 1);
}

static int says_why_not(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    for (;;) {
        (void)puppet_hears(channel);
        puppet_says(channel, TG_MSG_DONE, slot ? TG_IO : TG_OK, slot ? "the disk is full" : "");
    }
    return 0;
}

/* The reason of one that could not is the answer. */
static void test_one_cannot(void **state)
{
    struct tester *t = *state;
    t->stage.life = says_why_not;
    stage_open(&t->stage);
    assert_string_equal(told(t, "pause hook"), "1the disk is full");
    assert_string_equal(told(t, "wake"), "1the disk is full");
}

/* Nobody is up: a pause is nowhere written down, and a wake has nobody to wake. */
static void test_nobody_is_up(void **state)
{
    struct tester *t = *state;
    tg_crew_stop(t->stage.crew, 0);
    assert_string_equal(told(t, "pause hook"), "1no worker is up; try again");
    assert_string_equal(told(t, "wake"), "0woken");
}

static int deaf(unsigned slot, int channel)
{
    (void)slot;
    puppet_says(channel, TG_MSG_READY, 0, "");
    for (;;)
        (void)pause();
    return 0;
}

/* Workers whose channel is full are said not to listen, and are not waited for. */
static void test_full_channels(void **state)
{
    struct tester *t = *state;
    struct tg_msg msg = {.type = TG_MSG_WAKE};
    t->stage.life = deaf;
    stage_open(&t->stage);
    for (unsigned i = 0; i < STAGE_WORKERS; i++)
        while (tg_crew_send(t->stage.crew, i, &msg, -1))
            ;
    assert_string_equal(told(t, "pause hook"), "1a worker does not listen; try again");
    assert_string_equal(told(t, "wake"), "1a worker does not listen; try again");
}

/* A reload that is refused says why to each who asked; while the relay stops it is not begun. */
static void test_reload(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    order(t, 0, "reload");
    order(t, 1, "reload");
    assert_non_null(strstr(answer(t, 0), "tidegate.lua"));
    assert_non_null(strstr(answer(t, 1), "tidegate.lua"));
    tg_reload_stop(t->reload);
    assert_string_equal(told(t, "reload"), "1not now: stopping, or too many reloads wait");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_commands),      CASE(test_crossing),
        CASE(test_client_leaves), CASE(test_answers_nobody_asked_for),
        CASE(test_one_cannot),    CASE(test_nobody_is_up),
        CASE(test_full_channels), CASE(test_reload),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the supervisor does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
