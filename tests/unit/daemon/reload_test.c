/* The swap to another configuration, with puppets for workers: what fails, dies or crosses between its steps.
 */
#include "stage.h"

#include "daemon/control.h"
#include "daemon/reload.h"
#include "daemon/snapshot_bytes.h"
#include "daemon/snapshot_child.h"
#include "daemon/sockets.h"
#include "failing_calls.h"

#include <sys/stat.h>
#include <sys/un.h>

struct tester {
    struct stage stage;
    char dir[64], config[128];
    struct tg_snapshot *first;
    int first_fd, files;
    struct tg_reload *reload;
};

static struct tester *the_tester; /* for puppets */

static void write_config(const struct tester *t, const char *more)
{
    FILE *f = fopen(t->config, "w");
    assert_non_null(f);
    fprintf(
        f,
        "return { sources = { { name = 'web', write_key = 'k' } }, spool = { path = 'here' }, workers = 2,\n"
        "  lua_path = '" TG_SOURCE_DIR "/lua', admin = 'off', %s }\n",
        more);
    assert_int_equal(fclose(f), 0);
}

static void on_message(struct stage *s, unsigned slot, const struct tg_msg *msg)
{
    struct tester *t = s->owner;
    if (msg->type == TG_MSG_RELOADED)
        tg_reload_swapped(t->reload, slot, msg);
}

static void on_gone(struct stage *s, unsigned slot, int pid)
{
    struct tester *t = s->owner;
    (void)pid;
    tg_reload_worker_gone(t->reload, slot);
}

static int set_up(void **state)
{
    struct tester *t = calloc(1, sizeof *t);
    struct tg_buf problems = TG_BUF_INIT(65536);
    struct tg_err err = {0};
    t->files = stage_files();
    strcpy(t->dir, "/tmp/tg_reload_XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    (void)snprintf(t->config, sizeof t->config, "%s/tidegate.lua", t->dir);
    write_config(t, "reload_on_change = true");
    stage_set(&t->stage, obedient);
    t->stage.owner = t;
    t->stage.on_message = on_message;
    t->stage.on_gone = on_gone;
    assert_ok(tg_snapshot_in_child(t->config, 1, &t->first_fd, &problems, &err));
    assert_ok(tg_snapshot_read(t->first_fd, &t->first, &err));
    tg_buf_fini(&problems);
    const struct tg_reload_options options = {
        .base = t->stage.base,
        .config_path = t->config,
        .metrics = t->stage.metrics,
        .crew = t->stage.crew,
        .first = t->first,
        .first_fd = t->first_fd,
    };
    t->reload = tg_reload_new(&options);
    assert_non_null(t->reload);
    the_tester = t;
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tester *t = *state;
    t->stage.on_gone = NULL;
    tg_reload_free(&t->reload);
    stage_strike(&t->stage);
    tg_snapshot_free(&t->first);
    (void)close(t->first_fd);
    (void)unlink(t->config);
    (void)rmdir(t->dir);
    assert_int_equal(stage_files(), t->files);
    free(t);
    return 0;
}

static int metric(struct tester *t, const char *name)
{
    struct tg_buf text = TG_BUF_INIT(65536);
    char line[128];
    assert_ok(tg_metrics_render(t->stage.metrics, &text));
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(tg_buf_cstr(&text), line);
    int n = at ? atoi(at + strlen(line)) : 0;
    tg_buf_fini(&text);
    return n;
}

static int swapped(struct tester *t)
{
    return metric(t, "tidegate_reloads_total");
}

static int refused(struct tester *t)
{
    return metric(t, "tidegate_reload_failures_total");
}

static uint64_t generation(const struct tester *t)
{
    return tg_reload_in_force(t->reload)->generation;
}

/* A process of ours that is no worker: the child that checks. */
static int the_check(struct tester *t)
{
    char path[64];
    int pid, found = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fscanf(f, "%d", &pid) == 1)
        if (pid != atomic_load(&t->stage.board->rows[0].pid) &&
            pid != atomic_load(&t->stage.board->rows[1].pid))
            found = pid;
    (void)fclose(f);
    return found;
}

/* What every worker has swapped is in force; what was refused has no number. */
static void test_swap(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    write_config(t, "stop_time = '1s'");
    tg_reload_begin(t->reload);
    assert_int_equal(generation(t), 1);
    stage_until(&t->stage, swapped(t) == 1);
    assert_int_equal(generation(t), 2);
    assert_int_equal(tg_reload_in_force(t->reload)->plain.stop_ms, 1000);
    write_config(t, "stop_time = 'soon'");
    tg_reload_begin(t->reload);
    stage_until(&t->stage, refused(t) == 1);
    assert_int_equal(generation(t), 2);
    write_config(t, "stop_time = '2s'");
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 2);
    assert_int_equal(generation(t), 3);
    assert_int_equal(metric(t, "tidegate_config_generation"), 3);
}

/* Those that are asked for while one is under way are one more, not many. */
static void test_crossing(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    for (int i = 0; i < 5; i++)
        tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 2);
    for (int i = 0; i < 20; i++)
        (void)stage_turn(&t->stage, 0);
    assert_int_equal(swapped(t), 2);
    assert_int_equal(generation(t), 3);
}

/* Without a descriptor, a pipe or a process the old one goes on, and the next reload is as any other. */
static void test_calls_that_fail(void **state)
{
    struct tester *t = *state;
    int *const calls[] = {&memfd_create_fails, &pipe2_fails, &fork_fails};
    stage_open(&t->stage);
    int files = stage_files();
    for (int i = 0; i < 3; i++) {
        *calls[i] = 0;
        tg_reload_begin(t->reload);
        assert_int_equal(refused(t), i + 1);
        assert_int_equal(stage_files(), files);
    }
    assert_int_equal(generation(t), 1);
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 1);
}

/* Out of memory while the child reports: refused for that reason, whatever it had found. */
static void test_memory(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    int files = stage_files();
    tg_reload_begin(t->reload);
    tg_mem_fail_after(1);
    stage_until(&t->stage, !the_check(t));
    tg_mem_fail_after(0);
    assert_int_equal(refused(t), 1);
    assert_int_equal(stage_files(), files);
    assert_int_equal(generation(t), 1);
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 1);
}

static int says_its_generation(unsigned slot, int channel)
{
    struct tg_snapshot *s = NULL;
    char text[32];
    (void)slot;
    if (tg_snapshot_read(tg_reload_snapshot_fd(the_tester->reload), &s, NULL))
        return 9;
    (void)snprintf(text, sizeof text, "%d", (int)s->generation);
    puppet_says(channel, TG_MSG_DONE, 0, text);
    tg_snapshot_free(&s);
    return obedient(slot, channel);
}

static int dies_of_it(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    if (puppet_hears(channel).type == TG_MSG_RELOAD && slot == 0)
        return 1;
    puppet_says(channel, TG_MSG_RELOADED, 0, "");
    return obedient(slot, channel);
}

static int cannot_swap(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    (void)puppet_hears(channel);
    puppet_says(channel, TG_MSG_RELOADED, slot ? TG_OK : TG_NOMEM, "out of memory");
    return obedient(slot, channel);
}

/* A worker that dies of the new set, or cannot swap: its successor begins with it, and the reload goes
 * through. */
static void one_fails(struct tester *t, int (*life)(unsigned slot, int channel))
{
    t->stage.life = life;
    stage_open(&t->stage);
    t->stage.life = says_its_generation;
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 1);
    stage_until(&t->stage, t->stage.messages[0][TG_MSG_DONE] == 1);
    assert_string_equal(t->stage.last_of[0].text, "2");
    assert_int_equal(t->stage.gone[0], 1);
    assert_int_equal(t->stage.gone[1], 0);
}

static void test_worker_dies(void **state)
{
    one_fails(*state, dies_of_it);
}

static void test_worker_cannot(void **state)
{
    one_fails(*state, cannot_swap);
}

/* Nobody is up: it is in force for those that come. */
static void test_nobody_is_up(void **state)
{
    struct tester *t = *state;
    t->stage.life = says_its_generation;
    tg_crew_stop(t->stage.crew, 0);
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 1);
    assert_int_equal(generation(t), 2);
}

/* From here on a check does not end: to open the configuration takes a writer. */
static void make_checks_last(struct tester *t)
{
    (void)unlink(t->config);
    assert_int_equal(mkfifo(t->config, 0600), 0);
}

/* A check that is killed is refused, and the next can be made. */
static void test_check_is_killed(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    make_checks_last(t);
    tg_reload_begin(t->reload);
    int pid = the_check(t);
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    stage_until(&t->stage, refused(t) == 1);
    assert_int_equal(generation(t), 1);
    (void)unlink(t->config);
    write_config(t, "");
    tg_reload_begin(t->reload);
    stage_until(&t->stage, swapped(t) == 1);
}

static int counts_what_it_has(unsigned slot, int channel)
{
    int n = 0;
    (void)slot;
    for (int fd = 3; fd < 256; fd++) {
        char path[64], target[128] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0)
            n += strstr(target, "inotify") ||
                 (strstr(target, "tidegate-snapshot") && fd != the_tester->first_fd);
    }
    puppet_says(channel, TG_MSG_DONE, n, "");
    return obedient(slot, channel);
}

static int closes_and_counts(unsigned slot, int channel)
{
    tg_reload_close_in_child(the_tester->reload);
    return counts_what_it_has(slot, channel);
}

/* A worker that is started during a check keeps nothing of it, nor of what follows the files. */
static void test_what_a_worker_inherits(void **state)
{
    struct tester *t = *state;
    stage_open(&t->stage);
    tg_reload_follow_files(t->reload);
    make_checks_last(t);
    tg_reload_begin(t->reload);
    t->stage.life = counts_what_it_has;
    tg_crew_kill(t->stage.crew, 0);
    stage_until(&t->stage, t->stage.messages[0][TG_MSG_DONE] == 1);
    assert_int_equal(t->stage.last.code, 2);
    t->stage.life = closes_and_counts;
    tg_crew_kill(t->stage.crew, 1);
    stage_until(&t->stage, t->stage.messages[1][TG_MSG_DONE] == 1);
    assert_int_equal(t->stage.last.code, 0);
}

static int notices(int fd)
{
    char text[64];
    int ready = 0;
    for (ssize_t n; (n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT)) > 0;) {
        text[n] = '\0';
        ready += strcmp(text, "READY=1") == 0;
    }
    return ready;
}

/* A relay that stops does not swap any more, begins no other reload, and does not tell systemd that it is
 * ready. */
static void test_stop(void **state)
{
    struct tester *t = *state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/n", t->dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    stage_open(&t->stage);
    (void)setenv("NOTIFY_SOCKET", addr.sun_path, 1);
    tg_reload_begin(t->reload);
    tg_reload_begin(t->reload);
    tg_reload_stop(t->reload);
    stage_until(&t->stage, refused(t) == 1);
    (void)unsetenv("NOTIFY_SOCKET");
    assert_int_equal(the_check(t), 0);
    assert_int_equal(generation(t), 1);
    assert_int_equal(t->stage.messages[0][TG_MSG_RELOADED], 0);
    assert_int_equal(notices(fd), 0);
    (void)close(fd);
    (void)unlink(addr.sun_path);
}

static void ask_reload(void *arg, struct tg_control_client *client, const char *line)
{
    struct tester *t = arg;
    (void)line;
    if (!tg_reload_ask(t->reload, client))
        tg_control_answer(client, false, TG_STR("not now"));
}

/* Who waits for a check when the relay ends is told so, and the check ends. */
static void test_waiters_at_the_end(void **state)
{
    struct tester *t = *state;
    struct tg_control *control = NULL;
    char answer[64] = "", path[128];
    int fd;
    stage_open(&t->stage);
    make_checks_last(t);
    assert_ok(tg_control_new(t->stage.base, t->dir, ask_reload, t, &control, NULL));
    assert_ok(tg_connect_unix(t->dir, "control.sock", &fd, NULL));
    assert_int_equal(send(fd, "reload\n", 7, MSG_NOSIGNAL), 7);
    stage_until(&t->stage, the_check(t) > 0);
    tg_reload_free(&t->reload);
    assert_int_equal(the_check(t), 0);
    tg_control_free(&control);
    assert_int_equal(read(fd, answer, sizeof answer - 1), 9);
    assert_string_equal(answer, "1stopping");
    (void)close(fd);
    (void)snprintf(path, sizeof path, "%s/control.sock", t->dir);
    (void)unlink(path);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_swap),         CASE(test_crossing),           CASE(test_calls_that_fail),
        CASE(test_memory),       CASE(test_worker_dies),        CASE(test_worker_cannot),
        CASE(test_nobody_is_up), CASE(test_check_is_killed),    CASE(test_what_a_worker_inherits),
        CASE(test_stop),         CASE(test_waiters_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
