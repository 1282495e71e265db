#include "../spool/faulty_io.h"
#include "../tg_test.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/dedup_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ENTRIES = 200000, EVERY_MS = 1000 };

/* A spool folder, and a run of the daemon as far as the store sees one. */
struct fixture {
    char dir[64], path[80];
    struct tg_io_faulty io;
    struct tg_metrics *metrics;
    void *memory;
    struct tg_dedup *set;
    struct tg_dedup_store *store;
};

static void start(struct fixture *f, size_t max_entries)
{
    (void)tg_io_faulty_init(&f->io);
    f->metrics = tg_metrics_new(1);
    assert_non_null(f->metrics);
    f->memory =
        mmap(NULL, tg_dedup_bytes(MAX_ENTRIES), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->memory, MAP_FAILED);
    assert_ok(tg_dedup_init(&f->set, f->memory, max_entries, 3600 * 1000));
    const struct tg_dedup_store_options options = {
        .spool_dir = f->dir, .set = f->set, .metrics = f->metrics, .io = &f->io.io, .every_ms = EVERY_MS};
    f->store = tg_dedup_store_open(&options);
    assert_non_null(f->store);
}

/* save: as a stop does; else as kill -9 does. */
static void end(struct fixture *f, bool save)
{
    if (!save) {
        f->io.fault[FAULTY_OPEN].nth = 1;
        f->io.fault[FAULTY_OPEN].on = true;
        f->io.fault[FAULTY_OPEN].error = EIO;
    }
    tg_dedup_store_close(&f->store);
    munmap(f->memory, tg_dedup_bytes(MAX_ENTRIES));
    tg_metrics_free(&f->metrics);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg_dedup_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/dedup", f->dir);
    tg_log_set_fd(-1);
    start(f, MAX_ENTRIES);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    end(f, false);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0); /* nothing else was left there */
    free(f);
    return 0;
}

static void restart(struct fixture *f, bool save)
{
    end(f, save);
    start(f, MAX_ENTRIES);
}

static struct tg_str id(char text[32], int n)
{
    return tg_str_n(text, (size_t)snprintf(text, 32, "message-%d", n));
}

static void add(struct fixture *f, int from, int n)
{
    char text[32];
    for (int i = from; i < from + n; i++)
        tg_dedup_add(f->set, TG_STR("web"), id(text, i), tg_wall_ms());
}

static int known(struct fixture *f, int from, int n)
{
    char text[32];
    int count = 0;
    for (int i = from; i < from + n; i++)
        count += tg_dedup_seen(f->set, TG_STR("web"), id(text, i), tg_wall_ms());
    return count;
}

static int64_t metric(struct fixture *f, const char *name)
{
    return tg_metric_total(f->metrics, name, "");
}

static off_t size(struct fixture *f)
{
    struct stat st;
    return stat(f->path, &st) == 0 ? st.st_size : -1;
}

/* Ticks until the save that is due has ended; whether it succeeded. */
static bool save_once(struct fixture *f, int64_t *now)
{
    int64_t saves = metric(f, "tidegate_dedup_saves_total");
    int64_t failures = metric(f, "tidegate_dedup_save_failures_total");
    *now += 3600 * 1000; /* whenever the store was opened */
    do
        tg_dedup_store_tick(f->store, *now);
    while (metric(f, "tidegate_dedup_saves_total") == saves &&
           metric(f, "tidegate_dedup_save_failures_total") == failures);
    return metric(f, "tidegate_dedup_saves_total") > saves;
}

/* What was saved at a stop is known after a restart, and only that. */
static void test_survives_a_stop(void **state)
{
    struct fixture *f = *state;
    add(f, 0, 10000);
    restart(f, true);
    assert_int_equal(known(f, 0, 10000), 10000);
    assert_int_equal(known(f, 10000, 100), 0);
    assert_int_equal(metric(f, "tidegate_dedup_entries"), 10000);
    assert_int_equal(metric(f, "tidegate_dedup_covered_seconds"), 3600);
}

/* It says up to when it knows all: the time of the last that was saved; with damage or without a file it does
 * not know. */
static void test_until(void **state)
{
    struct fixture *f = *state;
    char text[32];
    int64_t then = (tg_wall_ms() / 1000 - 600) * 1000;
    assert_int_equal(tg_dedup_store_until(f->store), 0);
    for (int i = 0; i < 5; i++)
        tg_dedup_add(f->set, TG_STR("web"), id(text, i), then + 1000 * i);
    restart(f, true);
    assert_int_equal(tg_dedup_store_until(f->store), then + 4000);
    end(f, false);
    assert_int_equal(truncate(f->path, 100), 0);
    start(f, MAX_ENTRIES);
    assert_int_equal(tg_dedup_store_until(f->store), 0);
}

/* A save appends what is new; a process killed later loses only what came behind it. */
static void test_survives_a_kill_as_far_as_saved(void **state)
{
    struct fixture *f = *state;
    int64_t now = tg_mono_ms();
    add(f, 0, 100);
    uint64_t mark = tg_dedup_mark(f->set);
    assert_false(tg_dedup_is_kept(f->set, mark));
    assert_true(save_once(f, &now));
    assert_true(tg_dedup_is_kept(f->set, mark));
    off_t first = size(f);
    add(f, 100, 50);
    assert_true(save_once(f, &now));
    assert_int_equal(size(f) - first, 64 + 50 * 20);
    add(f, 150, 10);
    restart(f, false);
    assert_int_equal(known(f, 0, 150), 150);
    assert_int_equal(known(f, 150, 10), 0);
    mark = tg_dedup_mark(f->set);
    assert_true(mark > 0 && tg_dedup_is_kept(f->set, mark));
    restart(f, true);
    assert_int_equal(known(f, 0, 150), 150);
}

/* The file is private: its key would let others choose messageIds that suppress events. */
static void test_is_private(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    add(f, 0, 1);
    restart(f, true);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* When most of the file is of entries that are gone, it is written anew. */
static void test_is_written_anew(void **state)
{
    struct fixture *f = *state;
    end(f, false);
    start(f, 20000);
    int64_t now = tg_mono_ms();
    off_t largest = 0;
    int shrunk = 0;
    for (int i = 0; i < 20; i++) {
        add(f, i * 20000, 20000);
        assert_true(save_once(f, &now));
        shrunk += size(f) < largest;
        largest = size(f) > largest ? size(f) : largest;
    }
    assert_true(shrunk > 0);
    assert_in_range(largest, 1024 * 1024, 2 * 1024 * 1024);
    end(f, true);
    start(f, 20000);
    assert_int_equal(known(f, 19 * 20000, 20000), 20000);
}

static void damage(struct fixture *f, off_t at)
{
    int fd = open(f->path, O_RDWR);
    char c = 0;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x55;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* A damaged block costs its entries; the others are read, and the damage is counted once. */
static void test_damage_costs_one_block(void **state)
{
    static const off_t where[] = {0, 5, 30, 57, 100, 3000};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        int64_t now = tg_mono_ms();
        restart(f, false);
        unlink(f->path);
        restart(f, false);
        add(f, 0, 200);
        assert_true(save_once(f, &now));
        add(f, 200, 300);
        assert_true(save_once(f, &now));
        off_t first = 64 + 200 * 20;
        damage(f, where[i] < first ? where[i] : first - 1);
        restart(f, false);
        assert_int_equal(known(f, 0, 200), 0);
        assert_int_equal(known(f, 200, 300), 300);
        assert_int_equal(metric(f, "tidegate_dedup_damaged_total"), 1);
        restart(f, false); /* it was written anew */
        assert_int_equal(metric(f, "tidegate_dedup_damaged_total"), 0);
        assert_int_equal(known(f, 200, 300), 300);
    }
}

/* A torn end is left out, wherever it is torn, and what is saved afterwards is read again. */
static void test_torn_end(void **state)
{
    struct fixture *f = *state;
    for (off_t cut = 1; cut < 64 + 5 * 20; cut += 7) {
        int64_t now = tg_mono_ms();
        restart(f, false);
        unlink(f->path);
        restart(f, false);
        add(f, 0, 30);
        assert_true(save_once(f, &now));
        add(f, 30, 5);
        assert_true(save_once(f, &now));
        assert_int_equal(truncate(f->path, size(f) - cut), 0);
        restart(f, false);
        assert_int_equal(known(f, 0, 30), 30);
        assert_int_equal(known(f, 30, 5), 0);
        add(f, 40, 5);
        restart(f, true);
        assert_int_equal(known(f, 0, 30), 30);
        assert_int_equal(known(f, 40, 5), 5);
    }
}

/* Any file at all can stand there. */
static void test_garbage(void **state)
{
    struct fixture *f = *state;
    end(f, false);
    FILE *file = fopen(f->path, "w");
    for (int i = 0; i < 100000; i++)
        fprintf(file, "TGDD%c%cTG", i, i % 3);
    fclose(file);
    start(f, MAX_ENTRIES);
    assert_int_equal(known(f, 0, 100), 0);
    assert_int_equal(metric(f, "tidegate_dedup_damaged_total"), 1);
    add(f, 0, 100);
    restart(f, true);
    assert_int_equal(known(f, 0, 100), 100);
}

/* A disk that refuses is counted and tried again; what was not saved meanwhile is saved later. */
static void test_full_disk(void **state)
{
    static const enum faulty_call calls[] = {FAULTY_OPEN, FAULTY_PWRITE, FAULTY_SYNC};
    struct fixture *f = *state;
    int64_t now = tg_mono_ms();
    add(f, 0, 100);
    assert_true(save_once(f, &now));
    for (size_t i = 0; i < 3; i++) {
        off_t before = size(f);
        add(f, 100 + (int)i * 100, 100);
        f->io.fault[calls[i]].nth = 1;
        f->io.fault[calls[i]].on = true;
        f->io.fault[calls[i]].error = ENOSPC;
        assert_false(tg_dedup_is_kept(f->set, tg_dedup_mark(f->set)));
        assert_false(save_once(f, &now));
        assert_true(tg_dedup_is_kept(f->set, tg_dedup_mark(f->set))); /* nobody is to wait for a full disk */
        assert_int_equal(size(f), before);
        f->io.fault[calls[i]].nth = 0;
        assert_true(save_once(f, &now));
        assert_true(size(f) > before);
    }
    restart(f, false);
    assert_int_equal(known(f, 0, 400), 400);
    assert_int_equal(metric(f, "tidegate_dedup_damaged_total"), 0);
}

/* More is in the file than the set may hold now: the youngest are kept, and that is said. */
static void test_smaller_set(void **state)
{
    struct fixture *f = *state;
    add(f, 0, 3000);
    end(f, true);
    start(f, 1000);
    assert_int_equal(known(f, 2000, 1000), 1000);
    assert_int_equal(known(f, 0, 2000), 0);
    assert_int_equal(metric(f, "tidegate_dedup_evictions_total"), 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_survives_a_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_until, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_survives_a_kill_as_far_as_saved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_is_private, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_is_written_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_costs_one_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_smaller_set, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
