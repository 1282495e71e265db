#include "spool/scan.h"

#include "base/digest.h"
#include "spool/segment_scan.h"
#include "spool_fixture.h"

#include <fcntl.h>

/* A segment in memory, made record by record, and the file that it is written to. */
struct test {
    struct fixture f;
    unsigned char bytes[8192];
    size_t size;
    char path[256];
    size_t records, stretches;
    char why[64];
};

static void add(struct test *t, uint64_t seq, const char *body, uint32_t len)
{
    struct tg_record_header h = {.len = len, .seq = seq, .header_len = 0};
    memcpy(t->bytes + t->size + TG_RECORD_HEADER, body, strlen(body));
    h.crc = tg_crc32c(0, body, strlen(body));
    tg_record_header_put(&h, t->bytes + t->size);
    t->size += TG_RECORD_HEADER + strlen(body);
}

static int set_up(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    fixture_init(&t->f, tg_io_system());
    struct tg_segment_header h = {.version = TG_SEGMENT_VERSION, .partition = 3, .epoch = 7, .first_seq = 10};
    tg_segment_header_put(&h, t->bytes);
    t->size = TG_SEGMENT_HEADER;
    (void)snprintf(t->path, sizeof t->path, "%s/000000000000000a.seg", t->f.root);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct test *t = *state;
    fixture_fini(&t->f);
    free(t);
    return 0;
}

static int count_record(void *arg, const struct tg_record *record, uint64_t offset)
{
    (void)record, (void)offset;
    ((struct test *)arg)->records++;
    return 0;
}

static void count_stretch(void *arg, uint64_t offset, uint64_t bytes, const char *why)
{
    struct test *t = arg;
    (void)offset, (void)bytes;
    t->stretches++;
    (void)snprintf(t->why, sizeof t->why, "%s", why);
}

static struct tg_segment_info scan(struct test *t)
{
    struct tg_segment_info info;
    int fd = open(t->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, t->bytes, t->size), t->size);
    close(fd);
    t->records = t->stretches = 0;
    assert_int_equal(
        tg_segment_scan(tg_io_system(), t->path, &info, count_record, count_stretch, t, &t->f.err), TG_OK);
    assert_int_equal(t->records, info.records);
    return info;
}

/* What a whole segment says of itself. */
static void test_info(void **state)
{
    struct test *t = *state;
    add(t, 10, "one", 3);
    add(t, 11, "two!", 4);
    struct tg_segment_info info = scan(t);
    assert_true(info.version == 1 && info.partition == 3 && info.epoch == 7 && info.first_seq == 10);
    assert_true(info.records == 2 && info.last_seq == 11 && info.bytes == t->size);
    assert_true(info.damaged == 0 && !info.torn && t->stretches == 0);
}

/* A length that lies, with a good checksum round it, costs what it covers and never reads beyond the file. */
static void test_lying_lengths(void **state)
{
    struct test *t = *state;
    const uint32_t lies[] = {0, 1, 50, 4096, TG_RECORD_MAX, TG_RECORD_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        t->size = TG_SEGMENT_HEADER;
        memset(t->bytes + t->size, 0, sizeof t->bytes - t->size);
        add(t, 10, "liar", lies[i]);
        add(t, 11, "honest", 6);
        add(t, 12, "honest", 6);
        struct tg_segment_info info = scan(t);
        assert_true(info.damaged >= 1);
        assert_int_equal(info.records, lies[i] == 50 ? 1 : 2); /* 50 reaches into the next record */
        assert_int_equal(info.last_seq, 12);
    }
}

/* Numbers that cannot be: lower than what was seen, or higher than there was room for. */
static void test_lying_numbers(void **state)
{
    struct test *t = *state;
    add(t, 10, "a", 1);
    add(t, 10, "again", 5);
    add(t, UINT64_MAX, "far", 3);
    add(t, 1, "low", 3);
    add(t, 11, "b", 1);
    struct tg_segment_info info = scan(t);
    assert_int_equal(info.records, 2);
    assert_int_equal(info.last_seq, 11);
    assert_int_equal(info.damaged, 1); /* one stretch of things that are no records */
    add(t, 14, "c", 1);
    info = scan(t);
    assert_int_equal(info.records, 3);
    assert_int_equal(info.damaged, 3); /* 12 and 13 are missing */
}

/* A record's image inside an event's body is not taken for a record while the event is intact. */
static void test_nested(void **state)
{
    struct test *t = *state, *inner = calloc(1, sizeof *inner);
    add(inner, 11, "forged", 6);
    char text[64] = {0};
    memcpy(text, inner->bytes, inner->size++); /* and a byte behind it */
    struct tg_record_header h = {.len = (uint32_t)inner->size, .seq = 10, .header_len = 0};
    h.crc = tg_crc32c(0, text, inner->size);
    tg_record_header_put(&h, t->bytes + t->size);
    memcpy(t->bytes + t->size + TG_RECORD_HEADER, text, inner->size);
    t->size += TG_RECORD_HEADER + inner->size;
    free(inner);
    struct tg_segment_info info = scan(t);
    assert_int_equal(info.records, 1);
    assert_int_equal(info.damaged, 0);
    t->bytes[t->size - 1] ^= 1; /* nor when only its payload is damaged */
    info = scan(t);
    assert_int_equal(info.records, 0);
    assert_true(info.torn);
    assert_string_equal(t->why, "torn tail");
}

/* Files that are no segments: empty, short, of other bytes, not there. */
static void test_no_segment(void **state)
{
    struct test *t = *state;
    struct tg_segment_info info;
    for (t->size = 0; t->size < TG_SEGMENT_HEADER; t->size++) {
        info = scan(t);
        assert_true(info.torn && info.records == 0 && info.first_seq == 10);
    }
    memset(t->bytes, 'x', sizeof t->bytes);
    t->size = sizeof t->bytes;
    info = scan(t);
    assert_true(info.torn && info.records == 0 && info.damaged == 1);
    memset(t->bytes, TG_RECORD_MAGIC_0, sizeof t->bytes);
    info = scan(t);
    assert_true(info.torn && info.records == 0);
    assert_int_equal(tg_segment_scan(tg_io_system(), "/nowhere/1.seg", &info, NULL, NULL, NULL, &t->f.err),
                     TG_NOTFOUND);
}

static int stop_at_once(void *arg, const struct tg_record *record, uint64_t offset)
{
    (void)record, (void)offset;
    ++*(int *)arg;
    return 1;
}

/* The caller may stop. */
static void test_stop(void **state)
{
    struct test *t = *state;
    struct tg_segment_info info;
    int n = 0;
    add(t, 10, "one", 3);
    add(t, 11, "two", 3);
    (void)scan(t);
    assert_int_equal(tg_segment_scan(tg_io_system(), t->path, &info, stop_at_once, NULL, &n, &t->f.err),
                     TG_OK);
    assert_int_equal(n, 1);
}

/* A device whose file is being written: the first `early` reads do not see yet what is at `from`, and the
 * file is `more` bytes longer then. */
struct busy_io {
    struct tg_io io;
    size_t from, n, more;
    int early;
};

static ssize_t busy_pread(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    struct busy_io *busy = (struct busy_io *)io;
    ssize_t got = tg_io_system()->pread(tg_io_system(), fd, buf, n, at);
    if (got <= 0 || busy->early == 0)
        return got;
    if (n > TG_SEGMENT_HEADER)
        busy->early--;
    for (size_t i = 0; i < busy->n; i++)
        if ((off_t)(busy->from + i) >= at && (off_t)(busy->from + i) < at + got)
            ((char *)buf)[(off_t)(busy->from + i) - at] = 0;
    return got;
}

static int busy_size(struct tg_io *io, int fd, uint64_t *bytes)
{
    struct busy_io *busy = (struct busy_io *)io;
    int rc = tg_io_system()->size(tg_io_system(), fd, bytes);
    *bytes += busy->early ? busy->more : 0;
    return rc;
}

static struct tg_segment_info scan_busy(struct test *t, struct busy_io busy)
{
    struct tg_segment_info info;
    (void)scan(t);
    busy.io = *tg_io_system();
    busy.io.pread = busy_pread;
    busy.io.size = busy_size;
    t->records = t->stretches = 0;
    assert_int_equal(tg_segment_scan(&busy.io, t->path, &info, count_record, count_stretch, t, &t->f.err),
                     TG_OK);
    assert_int_equal(t->records, info.records);
    return info;
}

/* A record that the relay was just writing, at the end or before others that were seen, is no damage. */
static void test_being_written(void **state)
{
    struct test *t = *state;
    add(t, 10, "one", 3);
    size_t second = t->size;
    add(t, 11, "two", 3);
    size_t third = t->size;
    add(t, 12, "three", 5);
    const struct busy_io moments[] = {
        {.from = second, .n = third - second, .early = 1},
        {.from = second + TG_RECORD_HEADER, .n = 2, .early = 1},
        {.from = third + TG_RECORD_HEADER, .n = 2, .early = 1},
        {.from = second, .n = t->size - second - 1, .early = 1},
    };
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        struct tg_segment_info info = scan_busy(t, moments[i]);
        assert_int_equal(info.records, 3);
        assert_true(info.damaged == 0 && !info.torn && t->stretches == 0);
    }
    struct tg_segment_info info =
        scan_busy(t, (struct busy_io){.from = second, .n = third - second, .early = 9});
    assert_true(info.records == 2 && info.damaged == 1 && t->stretches == 1);
}

/* A file that is cut to its length meanwhile has no torn tail. */
static void test_being_finished(void **state)
{
    struct test *t = *state;
    add(t, 10, "one", 3);
    struct tg_segment_info info = scan_busy(t, (struct busy_io){.more = 4096, .early = 1});
    assert_true(info.records == 1 && !info.torn && t->stretches == 0);
}

/* Out of memory is told. */
static void test_no_memory(void **state)
{
    struct test *t = *state;
    struct tg_segment_info info;
    add(t, 10, "one", 3);
    (void)scan(t);
    tg_mem_fail_after(1);
    assert_int_equal(tg_segment_scan(tg_io_system(), t->path, &info, NULL, NULL, NULL, &t->f.err), TG_NOMEM);
    tg_mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_info, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lying_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lying_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nested, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_segment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_being_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_being_finished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
