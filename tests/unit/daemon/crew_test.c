/* Workers as processes: how they start, die between any two steps, hang and are ended. */
#include "stage.h"

#include "failing_calls.h"

#include <sys/prctl.h>

static int counted(const struct stage *s, const char *name)
{
    struct tg_buf text = TG_BUF_INIT(65536);
    char line[128];
    int n = 0;
    assert_ok(tg_metrics_render(s->metrics, &text));
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(tg_buf_cstr(&text), line);
    if (at)
        n = atoi(at + strlen(line));
    tg_buf_fini(&text);
    return n;
}

/* A fork that fails is tried again, and keeps no descriptor. */
static void test_fork_fails(void **state)
{
    struct stage s;
    int before = stage_files();
    (void)state;
    stage_set(&s, obedient);
    int set = stage_files();
    fork_fails = 0;
    tg_crew_start(s.crew);
    assert_false(tg_crew_is_up(s.crew, 0));
    assert_true(tg_crew_is_up(s.crew, 1));
    assert_int_equal(stage_files(), set + 1);
    struct tg_msg msg = {.type = TG_MSG_WAKE};
    assert_false(tg_crew_send(s.crew, 0, &msg, -1));
    tg_crew_kill(s.crew, 0); /* nobody */
    stage_until(&s, tg_crew_all_ready(s.crew));
    assert_int_equal(s.gone[0] + s.gone[1], 0);
    stage_strike(&s);
    assert_int_equal(stage_files(), before);
}

/* The same without a channel. */
static void test_channel_fails(void **state)
{
    struct stage s;
    int before = stage_files();
    (void)state;
    stage_set(&s, obedient);
    socketpair_fails = 1;
    tg_crew_start(s.crew);
    assert_true(tg_crew_is_up(s.crew, 0));
    assert_false(tg_crew_is_up(s.crew, 1));
    stage_until(&s, tg_crew_all_ready(s.crew));
    stage_strike(&s);
    assert_int_equal(stage_files(), before);
}

static int one_that_fails(unsigned slot, int channel)
{
    if (slot)
        return obedient(slot, channel);
    puppet_says(channel, TG_MSG_FAILED, TG_IO, "no disk");
    return TG_EXIT_CANNOT_START;
}

static void gone_after_last_words(struct stage *s, unsigned slot, int pid)
{
    (void)pid;
    assert_int_equal(slot, 0);
    assert_int_equal(s->messages[0][TG_MSG_FAILED], s->gone[0]);
}

/* The last words of a worker are heard before its end, each time, and it is started again and again. */
static void test_last_words(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, one_that_fails);
    s.on_gone = gone_after_last_words;
    tg_crew_start(s.crew);
    stage_until(&s, s.gone[0] >= 3);
    assert_string_equal(s.last_of[0].text, "no disk");
    assert_false(tg_crew_all_ready(s.crew));
    assert_true(atomic_load(&s.board->rows[0].restarts) >= 3);
    assert_true(atomic_load(&s.board->rows[0].down_since) > 0);
    s.on_gone = NULL;
    stage_strike(&s);
}

static int dies_when_ready(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    return (int)slot;
}

static void gone_and_down(struct stage *s, unsigned slot, int pid)
{
    (void)pid;
    assert_int_equal(s->messages[slot][TG_MSG_READY], s->gone[slot]);
    assert_true(atomic_load(&s->board->rows[slot].down_since) > 0);
    assert_int_equal(atomic_load(&s->board->rows[slot].pid), 0);
    assert_false(tg_crew_is_up(s->crew, slot));
    assert_false(tg_crew_all_ready(s->crew));
}

/* One that ends right after it said that it serves is down on the board, not up for ever. */
static void test_ready_and_gone(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, dies_when_ready);
    s.on_gone = gone_and_down;
    tg_crew_start(s.crew);
    stage_until(&s, s.gone[0] >= 3 && s.gone[1] >= 3);
    s.on_gone = NULL;
    stage_strike(&s);
}

static struct tg_board *the_board;

/* The successor is another. */
static void turns_obedient(struct stage *s, unsigned slot, int pid)
{
    (void)slot;
    (void)pid;
    s->life = obedient;
}

static int talks_nonsense(unsigned slot, int channel)
{
    puppet_says(channel, TG_MSG_READY, 0, "");
    if (slot == 0 && send(channel, "?", 1, MSG_NOSIGNAL) != 1)
        return 9;
    for (;;)
        (void)pause();
    return 0;
}

/* One whose channel is of no use any more is replaced: an order would wait for its answer for ever. */
static void test_nonsense(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, talks_nonsense);
    tg_crew_start(s.crew);
    s.on_gone = turns_obedient;
    stage_until(&s, s.gone[0] > 0);
    assert_int_equal(s.gone[1], 0);
    stage_until(&s, tg_crew_all_ready(s.crew));
    stage_strike(&s);
}

static int has_its_own_channel_only(unsigned slot, int channel)
{
    int sockets = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct tg_msg msg;
        int type, passed;
        socklen_t n = sizeof type;
        if (fd != channel && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET)
            sockets += tg_channel_receive(fd, &msg, &passed) == TG_BUSY;
    }
    puppet_says(channel, sockets ? TG_MSG_FAILED : TG_MSG_READY, sockets, "has others' channels");
    for (;;)
        (void)puppet_hears(channel);
    return (int)slot;
}

/* A worker has no end of its siblings' channels, also when it is started later than they. */
static void test_channels_are_private(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, has_its_own_channel_only);
    stage_open(&s);
    tg_crew_kill(s.crew, 0);
    stage_until(&s, s.gone[0] == 1);
    stage_until(&s, tg_crew_all_ready(s.crew));
    assert_int_equal(s.messages[0][TG_MSG_FAILED] + s.messages[1][TG_MSG_FAILED], 0);
    stage_strike(&s);
}

/* A worker that does not read its channel is said to have heard nothing, instead of holding anybody up. */
static int deaf(unsigned slot, int channel)
{
    (void)slot;
    puppet_says(channel, TG_MSG_READY, 0, "");
    for (;;)
        (void)pause();
    return 0;
}

static void test_deaf(void **state)
{
    struct stage s;
    struct tg_msg msg = {.type = TG_MSG_WAKE};
    int heard = 0;
    (void)state;
    stage_set(&s, deaf);
    stage_open(&s);
    while (heard < 100000 && tg_crew_send(s.crew, 0, &msg, -1))
        heard++;
    assert_in_range(heard, 1, 99999);
    assert_true(tg_crew_is_up(s.crew, 0));
    assert_true(tg_crew_send(s.crew, 1, &msg, -1));
    stage_strike(&s);
}

static int beats_once(unsigned slot, int channel)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &term, NULL);
    return deaf(slot, channel);
}

/* One whose loop stands still is killed; with a limit of 0 it is left alone. The one that is not to be ended
 * by SIGTERM either is killed when its time is over. */
static void test_hangs(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, beats_once);
    stage_open(&s);
    for (int i = 0; i < 50; i++)
        (void)stage_turn(&s, 0);
    assert_int_equal(s.gone[0] + s.gone[1], 0);
    s.hang_ms = 20;
    stage_until(&s, s.gone[0] && s.gone[1]);
    assert_true(counted(&s, "tidegate_hang_kills_total") >= 2);
    s.hang_ms = 0;
    stage_until(&s, tg_crew_all_ready(s.crew));
    tg_crew_stop(s.crew, tg_mono_ms() + 50);
    stage_until(&s, !tg_crew_any_up(s.crew));
    stage_strike(&s);
}

static int stays_in_a_call(unsigned slot, int channel)
{
    struct tg_watch_cell *cell = &the_board->rows[slot].watch;
    if (slot == 0) {
        (void)snprintf(cell->destination, sizeof cell->destination, "impact");
        atomic_store(&cell->seq, 7);
        atomic_store(&cell->since_us, tg_mono_us());
    }
    return deaf(slot, channel);
}

/* A script call past the hard limit: its worker is killed, and its event has exactly one strike. */
static void test_hard_limit(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, stays_in_a_call);
    the_board = s.board;
    s.on_gone = turns_obedient;
    s.hard_ms = 50;
    tg_crew_start(s.crew);
    stage_until(&s, s.gone[0] == 1);
    stage_until(&s, tg_crew_all_ready(s.crew));
    assert_int_equal(counted(&s, "tidegate_watchdog_kills_total"), 1);
    assert_int_equal(atomic_load(&s.board->next_strike), 1);
    assert_int_equal(s.board->strikes[0].seq, 7);
    assert_int_equal(s.board->strikes[0].timed_out, 1);
    assert_string_equal(s.board->strikes[0].destination, "impact");
    stage_strike(&s);
}

static int crashes_in_a_call(unsigned slot, int channel)
{
    if (slot)
        return obedient(slot, channel);
    (void)snprintf(the_board->rows[0].watch.destination, 8, "extole");
    atomic_store(&the_board->rows[0].watch.seq, 9);
    atomic_store(&the_board->rows[0].watch.since_us, tg_mono_us());
    (void)prctl(PR_SET_DUMPABLE, 0); /* whoever collects cores would take its time */
    (void)signal(SIGSEGV, SIG_DFL);
    (void)raise(SIGSEGV);
    return 0;
}

/* One that crashes in a script call leaves a strike for that event; who is killed outside of one leaves none.
 */
static void test_crash(void **state)
{
    struct stage s;
    (void)state;
    stage_set(&s, crashes_in_a_call);
    the_board = s.board;
    s.on_gone = turns_obedient;
    tg_crew_start(s.crew);
    stage_until(&s, s.gone[0] == 1);
    stage_until(&s, tg_crew_all_ready(s.crew));
    assert_int_equal(atomic_load(&s.board->next_strike), 1);
    assert_int_equal(s.board->strikes[0].timed_out, 0);
    assert_string_equal(s.board->strikes[0].destination, "extole");
    tg_crew_kill(s.crew, 1);
    stage_until(&s, s.gone[1] == 1);
    assert_int_equal(atomic_load(&s.board->next_strike), 1);
    stage_strike(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_fails), cmocka_unit_test(test_channel_fails),
        cmocka_unit_test(test_last_words), cmocka_unit_test(test_ready_and_gone),
        cmocka_unit_test(test_nonsense),   cmocka_unit_test(test_channels_are_private),
        cmocka_unit_test(test_deaf),       cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_hard_limit), cmocka_unit_test(test_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
