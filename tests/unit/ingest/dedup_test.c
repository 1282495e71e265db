#include "ingest/dedup.h"

#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const int64_t now = INT64_C(1767323046000);

enum { DAY = 24 * 3600 * 1000 };

/* A set in memory that forked children share. */
struct fixture {
    void *memory;
    size_t bytes;
    struct tg_dedup *set;
};

static struct fixture make(size_t entries, int64_t window_ms)
{
    struct fixture f = {.bytes = tg_dedup_bytes(entries)};
    f.memory = mmap(NULL, f.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f.memory != MAP_FAILED);
    assert_int_equal(tg_dedup_init(&f.set, f.memory, entries, window_ms), TG_OK);
    return f;
}

static void drop(struct fixture *f)
{
    assert_int_equal(munmap(f->memory, f->bytes), 0);
}

static struct tg_str numbered(char text[24], unsigned n)
{
    (void)snprintf(text, 24, "id-%u", n);
    return tg_str_of(text);
}

static void add(struct tg_dedup *set, unsigned n, int64_t at)
{
    char text[24];
    tg_dedup_add(set, TG_STR("web"), numbered(text, n), at);
}

static bool seen(struct tg_dedup *set, unsigned n, int64_t at)
{
    char text[24];
    return tg_dedup_seen(set, TG_STR("web"), numbered(text, n), at);
}

/* An id is seen from its adding to the end of the window, and looking alone adds nothing. */
static void test_window(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY);
    assert_false(seen(f.set, 1, now));
    assert_false(seen(f.set, 1, now));
    add(f.set, 1, now);
    assert_true(seen(f.set, 1, now));
    assert_true(seen(f.set, 1, now + DAY - 1000));
    assert_false(seen(f.set, 1, now + DAY));
    drop(&f);
}

/* The same id of another source is another event; source and id do not run together. */
static void test_scope(void **state)
{
    (void)state;
    static const struct {
        const char *source, *id;
    } others[] = {{"app", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""},
                  {"a", "bC"},   {"a", "b"},  {"a", "bcd"}};
    struct fixture f = make(100, DAY);
    tg_dedup_add(f.set, TG_STR("a"), TG_STR("bc"), now);
    assert_true(tg_dedup_seen(f.set, TG_STR("a"), TG_STR("bc"), now));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(tg_dedup_seen(f.set, tg_str_of(others[i].source), tg_str_of(others[i].id), now));
    drop(&f);
}

/* Two sets have different keys: nobody outside can aim for collisions. */
static void test_keyed(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY), g = make(100, DAY);
    struct tg_fingerprint a = tg_dedup_fingerprint(f.set, TG_STR("web"), TG_STR("m"));
    struct tg_fingerprint b = tg_dedup_fingerprint(g.set, TG_STR("web"), TG_STR("m"));
    assert_true(a.a != b.a && a.b != b.b && a.a != a.b);
    drop(&f);
    drop(&g);
}

/* Adding what is there keeps its time: a sender that repeats for ever is let through once a window. */
static void test_repeat_keeps_its_time(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY);
    add(f.set, 1, now);
    add(f.set, 1, now + DAY / 2);
    assert_int_equal(tg_dedup_stats(f.set, now).entries, 1);
    assert_false(seen(f.set, 1, now + DAY));
    add(f.set, 1, now + DAY);
    assert_true(seen(f.set, 1, now + 2 * (int64_t)DAY - 1000));
    drop(&f);
}

/* A full set drops the oldest entry and says how far back it still remembers. */
static void test_full(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY);
    for (unsigned i = 0; i < 100; i++)
        add(f.set, i, now + i * 1000);
    struct tg_dedup_stats stats = tg_dedup_stats(f.set, now + 100000);
    assert_int_equal(stats.entries, 100);
    assert_int_equal(stats.evictions, 0);
    assert_true(stats.covered_ms == DAY);
    for (unsigned i = 100; i < 110; i++)
        add(f.set, i, now + i * 1000);
    for (unsigned i = 0; i < 110; i++)
        assert_int_equal(seen(f.set, i, now + 110000), i >= 10);
    stats = tg_dedup_stats(f.set, now + 110000);
    assert_int_equal(stats.entries, 100);
    assert_int_equal(stats.evictions, 10);
    assert_true(stats.covered_ms == 110000 - 9000); /* number 9 was the last to go */
    assert_true(tg_dedup_stats(f.set, now + 2 * (int64_t)DAY).covered_ms == DAY);
    drop(&f);
}

/* Entries past their time make room without counting as evicted. */
static void test_expiry(void **state)
{
    (void)state;
    struct fixture f = make(1000, DAY);
    for (unsigned i = 0; i < 1000; i++)
        add(f.set, i, now);
    for (unsigned i = 1000; i < 3000; i++)
        add(f.set, i, now + DAY);
    struct tg_dedup_stats stats = tg_dedup_stats(f.set, now + DAY);
    assert_int_equal(stats.entries, 1000);
    assert_int_equal(stats.evictions, 1000);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(seen(f.set, i, now + DAY), i >= 2000);
    drop(&f);
}

/* An id that is added again while its old entry still waits to be removed survives that removal. */
static void test_added_again(void **state)
{
    (void)state;
    struct fixture f = make(1000, DAY);
    for (unsigned i = 0; i < 500; i++)
        add(f.set, i, now);
    add(f.set, 450, now + DAY);
    assert_true(tg_dedup_stats(f.set, now + DAY).entries > 400); /* the old one is among them */
    for (unsigned i = 1000; i < 1020; i++)
        add(f.set, i, now + DAY);
    assert_int_equal(tg_dedup_stats(f.set, now + DAY).entries, 21);
    assert_true(seen(f.set, 450, now + DAY));
    drop(&f);
}

/* After the clock jumped back, entries count as young, and those from too far ahead are forgotten. */
static void test_clock_jumps(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY);
    add(f.set, 1, now);
    assert_true(seen(f.set, 1, now - 3600 * 1000));
    assert_false(seen(f.set, 1, now - 400 * (int64_t)DAY));
    add(f.set, 2, now - 400 * (int64_t)DAY);
    assert_true(seen(f.set, 2, now - 400 * (int64_t)DAY));
    assert_int_equal(tg_dedup_stats(f.set, now).entries, 1);
    assert_false(seen(f.set, 2, -5000));
    assert_false(seen(f.set, 2, INT64_MAX));
    drop(&f);
}

/* Any sequence of adds and looks agrees with a plain list that is searched from end to end. */
static void test_against_model(void **state)
{
    (void)state;
    enum { STEPS = 60000, IDS = 3000, ENTRIES = 1500 };
    struct fixture f = make(ENTRIES, 60 * 1000);
    static int64_t added[IDS]; /* time of the entry that counts, 0: none */
    static struct {
        unsigned id;
        int64_t at;
    } ring[STEPS];
    size_t head = 0, tail = 0;
    int64_t t = now;
    srandom(7);
    for (int step = 0; step < STEPS; step++) {
        unsigned id = (unsigned)random() % IDS;
        t += random() % 60;
        int64_t s = t / 1000;
        bool live = added[id] && s - added[id] < 60;
        assert_int_equal(seen(f.set, id, t), live);
        if (random() % 4 == 0)
            continue;
        add(f.set, id, t);
        for (int i = 0; i < 64 && tail < head && s - ring[tail].at >= 60; i++, tail++)
            added[ring[tail].id] = added[ring[tail].id] == ring[tail].at ? 0 : added[ring[tail].id];
        if (live)
            continue;
        if (head - tail == ENTRIES) {
            added[ring[tail].id] = added[ring[tail].id] == ring[tail].at ? 0 : added[ring[tail].id];
            tail++;
        }
        ring[head].id = id;
        ring[head++].at = added[id] = s;
    }
    assert_int_equal(tg_dedup_stats(f.set, t).entries, head - tail);
    assert_true(head > 2 * ENTRIES);
    drop(&f);
}

/* A set that grows remembers all entries, and touches memory only as it grows: of large pages (16 or 64 KiB)
 * a hundred entries touch most of the index, but hardly anything of the entries, which are two thirds. */
static void test_grows(void **state)
{
    (void)state;
    enum { ENTRIES = 200000 };
    struct fixture f = make(ENTRIES, DAY);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = f.bytes / page, resident = 0;
    unsigned char *in_core = tg_malloc(pages + 1);
    (void)madvise(f.memory, f.bytes, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < 100; i++)
        add(f.set, i, now);
    assert_int_equal(mincore(f.memory, f.bytes, in_core), 0);
    for (size_t i = 0; i < pages; i++)
        resident += in_core[i] & 1;
    tg_free(in_core);
    assert_true(resident < (page > 4096 ? pages / 2 : pages / 10));
    for (unsigned i = 100; i < ENTRIES; i++)
        add(f.set, i, now);
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_true(seen(f.set, i, now));
    assert_false(seen(f.set, ENTRIES, now));
    drop(&f);
}

/* Sizes outside of the range are brought into it. */
static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(tg_dedup_bytes(0), tg_dedup_bytes(TG_DEDUP_MIN_ENTRIES));
    assert_int_equal(tg_dedup_bytes((size_t)-1), tg_dedup_bytes(TG_DEDUP_MAX_ENTRIES));
    assert_true(tg_dedup_bytes(1000000) < 32u << 20);
    struct fixture f = make(0, -5);
    for (unsigned i = 0; i < 40; i++)
        add(f.set, i, now);
    assert_int_equal(tg_dedup_stats(f.set, now).entries, TG_DEDUP_MIN_ENTRIES);
    assert_true(seen(f.set, 39, now));
    assert_false(seen(f.set, 39, now + 1000));
    drop(&f);
}

/* --- processes --- */

/* What one process adds, another sees. */
static void test_shared(void **state)
{
    (void)state;
    struct fixture f = make(5000, DAY);
    pid_t children[2];
    for (unsigned c = 0; c < COUNT(children); c++) {
        children[c] = fork();
        assert_true(children[c] >= 0);
        if (children[c] == 0) {
            for (unsigned i = 0; i < 2000; i++)
                add(f.set, c * 2000 + i, now);
            _exit(0);
        }
    }
    for (unsigned c = 0; c < COUNT(children); c++) {
        int status;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(tg_dedup_stats(f.set, now).entries, 4000);
    for (unsigned i = 0; i < 4000; i++)
        assert_true(seen(f.set, i, now));
    drop(&f);
}

/* The lock of a process that died with it is taken over, and the index, which it may have left half done, is
 * made anew. */
static void test_owner_dies(void **state)
{
    (void)state;
    enum { ENTRIES = 1000, INDEX = 2048 };
    struct fixture f = make(ENTRIES, DAY);
    for (unsigned i = 0; i < 500; i++)
        add(f.set, i, now);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    /* As dedup.c lays out the block: header, index, four bytes and sixteen bytes for each entry. */
    size_t header = f.bytes - (size_t)ENTRIES * 20 - INDEX * sizeof(uint32_t);
    memset((char *)f.memory + header, 0, INDEX * sizeof(uint32_t));
    assert_false(seen(f.set, 7, now));
    *(int *)f.memory = (int)child; /* the lock: pid of its owner */
    for (unsigned i = 0; i < 500; i++)
        assert_true(seen(f.set, i, now));
    add(f.set, 500, now);
    assert_int_equal(tg_dedup_stats(f.set, now).entries, 501);
    drop(&f);
}

/* So it is where another process has the dead one's pid by now, once its parent says that it died. */
static void test_owner_pid_is_used_again(void **state)
{
    (void)state;
    struct fixture f = make(1000, DAY);
    add(f.set, 1, now);
    *(int *)f.memory = 1; /* the lock: pid of its owner; this one is always there */
    tg_dedup_died(f.set, (int)getpid());
    assert_int_equal(*(int *)f.memory, 1);
    tg_dedup_died(f.set, 1);
    alarm(60); /* the deadline of the next line */
    assert_true(seen(f.set, 1, now));
    alarm(0);
    drop(&f);
}

/* So is the lock of a child that died and that nobody has waited for: it is this process that would have to.
 */
static void test_owner_is_an_unburied_child(void **state)
{
    (void)state;
    struct fixture f = make(1000, DAY);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    *(int *)f.memory = (int)child; /* the lock: pid of its owner */
    alarm(60);                     /* the deadline of the next line */
    add(f.set, 1, now);
    alarm(0);
    assert_true(seen(f.set, 1, now));
    assert_int_equal(waitpid(child, NULL, 0), child);
    drop(&f);
}

/* Processes killed at any moment leave a set that works and has forgotten nothing that was added before. */
static void test_killed_at_random(void **state)
{
    (void)state;
    struct fixture f = make(20000, DAY);
    alarm(60); /* the deadline of the waiting below */
    for (unsigned i = 0; i < 1000; i++)
        add(f.set, i, now);
    for (unsigned round = 0; round < 30; round++) {
        uint64_t before = tg_dedup_stats(f.set, now).next;
        pid_t child = fork();
        assert_true(child >= 0); /* -1 would be everybody, for kill */
        if (child == 0) {
            for (unsigned i = 0;; i++)
                add(f.set, 1000000 + round * 500 + i % 500, now);
        }
        while (tg_dedup_stats(f.set, now).next < before + 17 * round)
            (void)usleep(50);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        add(f.set, 2000000 + round, now);
        assert_true(seen(f.set, 2000000 + round, now));
    }
    alarm(0);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(seen(f.set, i, now));
    drop(&f);
}

/* --- snapshots --- */

/* What was exported, in blocks and later only what is new, is seen again in a fresh set, each at its own
 * time. */
static void test_snapshot(void **state)
{
    (void)state;
    struct fixture f = make(5000, DAY), g = make(5000, DAY);
    struct tg_buf block = TG_BUF_INIT(1 << 20);
    uint64_t from = 0;
    struct tg_err err;
    for (unsigned i = 0; i < 1000; i++)
        add(f.set, i, now + i * 1000);
    for (int blocks = 0;; blocks++) {
        tg_buf_clear(&block);
        assert_int_equal(tg_dedup_export(f.set, &from, 300, &block), TG_OK);
        if (!block.len) {
            assert_int_equal(blocks, 4);
            break;
        }
        assert_int_equal(tg_dedup_import(g.set, tg_buf_str(&block), now + 1000000, &err), TG_OK);
    }
    assert_true(from == tg_dedup_stats(f.set, now).next);
    add(f.set, 1000, now + 1000000);
    assert_int_equal(tg_dedup_export(f.set, &from, 300, &block), TG_OK);
    assert_int_equal(block.len, 60 + 20 + 4);
    assert_int_equal(tg_dedup_import(g.set, tg_buf_str(&block), now + 1000000, &err), TG_OK);
    assert_int_equal(tg_dedup_import(g.set, tg_buf_str(&block), now + 1000000, &err),
                     TG_OK); /* twice is fine */
    for (unsigned i = 0; i <= 1000; i++)
        assert_true(seen(g.set, i, now + 1000000));
    assert_int_equal(tg_dedup_stats(g.set, now).entries, 1001);
    for (unsigned i = 0; i <= 1000; i++)
        assert_int_equal(seen(g.set, i, now + DAY + 500000), i > 500);
    tg_buf_fini(&block);
    drop(&f);
    drop(&g);
}

/* Entries that are too old by now stay out; a smaller set takes the youngest. */
static void test_import_into_smaller(void **state)
{
    (void)state;
    struct fixture f = make(1000, DAY), g = make(100, DAY);
    for (unsigned i = 0; i < 1000; i++)
        add(f.set, i, now + i * 1000);
    struct tg_buf block = TG_BUF_INIT(1 << 20);
    uint64_t from = 0;
    assert_int_equal(tg_dedup_export(f.set, &from, 1000, &block), TG_OK);
    int64_t later = now + DAY + 950 * 1000;
    assert_int_equal(tg_dedup_import(g.set, tg_buf_str(&block), later, NULL), TG_OK);
    assert_int_equal(tg_dedup_stats(g.set, later).entries, 49);
    struct fixture h = make(100, DAY);
    assert_int_equal(tg_dedup_import(h.set, tg_buf_str(&block), now + 1000000, NULL), TG_OK);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(seen(h.set, i, now + 1000000), i >= 900);
    assert_true(tg_dedup_stats(h.set, now + 1000000).covered_ms == 1000000 - 899000);
    tg_buf_fini(&block);
    drop(&f);
    drop(&g);
    drop(&h);
}

/* A block that was cut or altered anywhere is refused, and the set stays as it was. */
static void test_damaged_block(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY), g = make(100, DAY);
    for (unsigned i = 0; i < 5; i++)
        add(f.set, i, now);
    struct tg_buf block = TG_BUF_INIT(1 << 16);
    uint64_t from = 0;
    assert_int_equal(tg_dedup_export(f.set, &from, 100, &block), TG_OK);
    struct tg_err err;
    for (size_t n = 0; n < block.len; n++) {
        char *cut = tg_memdup(block.data, n);
        assert_int_equal(tg_dedup_import(g.set, tg_str_n(cut, n), now, &err), TG_CORRUPT);
        tg_free(cut);
        block.data[n] ^= 4;
        int rc = tg_dedup_import(g.set, tg_buf_str(&block), now, &err);
        assert_int_equal(rc, n >= 4 && n < 8 ? TG_BADVERSION : TG_CORRUPT);
        block.data[n] ^= 4;
    }
    assert_int_equal(tg_dedup_stats(g.set, now).entries, 0);
    add(g.set, 1, now);
    assert_int_equal(tg_dedup_import(g.set, tg_buf_str(&block), now, &err), TG_INVALID); /* another key */
    assert_int_equal(tg_dedup_stats(g.set, now).entries, 1);
    tg_buf_fini(&block);
    drop(&f);
    drop(&g);
}

/* Without memory for a block nothing is exported and nothing is skipped. */
static void test_export_without_memory(void **state)
{
    (void)state;
    struct fixture f = make(100, DAY);
    add(f.set, 1, now);
    struct tg_buf block = TG_BUF_INIT(1 << 16), small = TG_BUF_INIT(80);
    uint64_t from = 0;
    tg_mem_fail_after(1);
    int rc = tg_dedup_export(f.set, &from, 100, &block);
    tg_mem_fail_after(0);
    assert_int_equal(rc, TG_NOMEM);
    assert_int_equal(tg_dedup_export(f.set, &from, 100, &small), TG_TOOBIG);
    assert_true(from == 0);
    assert_int_equal(tg_dedup_export(f.set, &from, 100, &block), TG_OK);
    assert_true(from == 1);
    tg_buf_fini(&block);
    tg_buf_fini(&small);
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_scope),
        cmocka_unit_test(test_keyed),
        cmocka_unit_test(test_repeat_keeps_its_time),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_added_again),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_owner_dies),
        cmocka_unit_test(test_owner_pid_is_used_again),
        cmocka_unit_test(test_owner_is_an_unburied_child),
        cmocka_unit_test(test_killed_at_random),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_import_into_smaller),
        cmocka_unit_test(test_damaged_block),
        cmocka_unit_test(test_export_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
