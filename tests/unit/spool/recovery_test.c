#include "spool_fixture.h"

#include "spool/scan.h"
#include "spool/segment.h"
#include "spool/segment_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* A log of a few small records in its first segment, and the bytes and record borders of that file. */
enum { RECORDS = 8, BODY = 30, FILE_MAX = 4096 };

struct test {
    struct fixture f;
    char path[256];
    unsigned char bytes[FILE_MAX];
    size_t size;
    size_t border[RECORDS + 1]; /* border[i]: offset of record i; border[RECORDS]: the end */
};

static void path_of(struct test *t, uint64_t first_seq)
{
    char name[TG_SEGMENT_NAME + 1];
    tg_segment_name(first_seq, name);
    (void)snprintf(t->path, sizeof t->path, "%s/%s", t->f.dir, name);
}

static int note_border(void *arg, const struct tg_record *record, uint64_t offset)
{
    struct test *t = arg;
    t->border[record->seq - 1] = offset;
    t->border[record->seq] = offset + TG_RECORD_HEADER + record->header.n + record->body.n;
    return 0;
}

static void load_file(struct test *t)
{
    struct tg_segment_info info;
    int fd = open(t->path, O_RDONLY);
    assert_true(fd >= 0);
    t->size = (size_t)read(fd, t->bytes, sizeof t->bytes);
    close(fd);
    assert_int_equal(tg_segment_scan(tg_io_system(), t->path, &info, note_border, NULL, t, &t->f.err), TG_OK);
    assert_int_equal(info.records, RECORDS);
    assert_int_equal(t->size, t->border[RECORDS]);
}

static int set_up(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    fixture_init(&t->f, tg_io_system());
    t->f.o.reserve_bytes = 0;
    t->f.o.segment_bytes = 4096;
    t->f.o.max_bytes = 64 << 10;
    open_log(&t->f);
    append_synced(&t->f, 0, RECORDS, BODY);
    tg_log_close(&t->f.log);
    path_of(t, 1);
    load_file(t);
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

/* Only this segment, with these bytes. */
static void store(struct test *t, const unsigned char *bytes, size_t n)
{
    tg_log_close(&t->f.log);
    int fd = open(t->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void clear_dir(const char *path)
{
    char name[600];
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.') {
            (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
            (void)unlink(name);
        }
    if (d)
        closedir(d);
}

static void clear_all(struct test *t)
{
    char path[200];
    tg_log_close(&t->f.log);
    (void)snprintf(path, sizeof path, "%s/quarantine", t->f.dir);
    clear_dir(path);
    clear_dir(t->f.dir);
}

static size_t quarantined(struct test *t)
{
    char path[200];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/quarantine", t->f.dir);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* Reads all and checks that exactly the records in `mask` come, each as it was written. */
static void assert_records(struct test *t, unsigned mask)
{
    struct tg_log_reader *r;
    struct tg_record rec;
    assert_int_equal(tg_log_reader_open(t->f.log, 0, &r, &t->f.err), TG_OK);
    for (size_t i = 0; i < RECORDS; i++) {
        if (!(mask >> i & 1))
            continue;
        assert_int_equal(tg_log_reader_next(r, &rec, &t->f.err), 1);
        assert_int_equal(rec.seq, i + 1);
        assert_is_record(&rec, i, BODY);
    }
    assert_int_equal(tg_log_reader_next(r, &rec, &t->f.err), 0);
    tg_log_reader_close(&r);
}

static size_t record_at(const struct test *t, size_t offset)
{
    size_t i = 0;
    while (i + 1 < RECORDS && offset >= t->border[i + 1])
        i++;
    return i;
}

/* The last segment, cut at every offset: all whole records come back, the torn one is cut and not called
 * damage, and numbering goes on above what is there. */
static void test_truncation(void **state)
{
    struct test *t = *state;
    for (size_t n = 0; n <= t->size; n++) {
        clear_all(t);
        store(t, t->bytes, n);
        open_log(&t->f);
        unsigned whole = 0;
        while (whole < RECORDS && t->border[whole + 1] <= n)
            whole++;
        assert_int_equal(t->f.found.records, whole);
        assert_int_equal(t->f.found.damaged, 0);
        bool at_border = n <= TG_SEGMENT_HEADER || n == t->border[whole];
        assert_int_equal(t->f.found.torn_bytes > 0, !at_border);
        assert_records(t, (1U << whole) - 1);
        append_synced(&t->f, RECORDS, 1, BODY);
        assert_true(tg_log_last(t->f.log) > whole);
        reopen_log(&t->f);
        assert_int_equal(t->f.found.records, whole + 1);
        assert_int_equal(t->f.found.damaged, 0);
    }
}

/* The same with the rest of the file as zeros, as preallocation leaves it. */
static void test_zeroed_tail(void **state)
{
    struct test *t = *state;
    unsigned char bytes[FILE_MAX];
    for (size_t n = TG_SEGMENT_HEADER; n <= t->size; n++) {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, t->bytes, n);
        clear_all(t);
        store(t, bytes, sizeof bytes);
        open_log(&t->f);
        unsigned whole = 0;
        while (whole < RECORDS && t->border[whole + 1] <= n)
            whole++;
        if (n < t->size && memcmp(bytes, t->bytes, t->border[whole + 1]) == 0)
            whole++; /* the bytes that were cut are zeros themselves */
        assert_int_equal(t->f.found.records, whole);
        assert_int_equal(t->f.found.damaged, 0);
        assert_records(t, (1U << whole) - 1);
    }
}

/* Every bit of the last segment flipped: every other record comes back; a damaged record with intact ones
 * behind it is counted once and copied, the last one is a torn tail; what was found is found again at the
 * next start, and not counted anew. */
static void test_bit_flips(void **state)
{
    struct test *t = *state;
    unsigned char bytes[FILE_MAX];
    for (size_t at = 0; at < t->size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(bytes, t->bytes, t->size);
            bytes[at] ^= (unsigned char)(1 << bit);
            clear_all(t);
            store(t, bytes, t->size);
            open_log(&t->f);
            size_t i = record_at(t, at);
            bool header = at < TG_SEGMENT_HEADER, last = !header && i == RECORDS - 1;
            unsigned mask = header ? 0xff : 0xff & ~(1U << i);
            assert_int_equal(t->f.found.damaged, last ? 0 : 1);
            assert_int_equal(t->f.found.records, header ? RECORDS : RECORDS - 1);
            assert_int_equal(t->f.found.torn_bytes > 0, last);
            assert_int_equal(quarantined(t), last ? 0 : 1);
            assert_records(t, mask);
            if (bit == 0) {
                reopen_log(&t->f);
                assert_int_equal(quarantined(t), last ? 0 : 1);
                assert_records(t, mask);
            }
        }
    }
}

/* Seals the first segment by a second one with one record more, and leaves both on disk. */
static void add_second_segment(struct test *t)
{
    open_log(&t->f);
    append_synced(&t->f, RECORDS, 1, BODY);
    tg_log_close(&t->f.log);
    load_file(t);
}

static void assert_last_comes(struct test *t)
{
    uint64_t seqs[RECORDS + 1];
    size_t n = read_all(&t->f, 0, NULL, seqs, RECORDS + 1);
    assert_true(n > 0);
    assert_int_equal(seqs[n - 1], RECORDS + 1);
}

/* A segment that its successor knows to be complete, cut at every offset: what is missing is counted, record
 * by record. */
static void test_truncation_of_sealed(void **state)
{
    struct test *t = *state;
    add_second_segment(t);
    for (size_t n = 0; n <= t->size; n++) {
        store(t, t->bytes, n);
        open_log(&t->f);
        unsigned whole = 0;
        while (whole < RECORDS && t->border[whole + 1] <= n)
            whole++;
        assert_int_equal(t->f.found.records, whole + 1);
        assert_int_equal(t->f.found.damaged, RECORDS - whole);
        assert_int_equal(t->f.found.torn_bytes, 0);
        assert_last_comes(t);
        tg_log_close(&t->f.log);
        char path[200];
        (void)snprintf(path, sizeof path, "%s/quarantine", t->f.dir);
        clear_dir(path);
    }
}

/* A bit flip anywhere in such a segment costs one record, the last one too. */
static void test_bit_flips_of_sealed(void **state)
{
    struct test *t = *state;
    unsigned char bytes[FILE_MAX];
    add_second_segment(t);
    for (size_t at = TG_SEGMENT_HEADER; at < t->size; at++) {
        memcpy(bytes, t->bytes, t->size);
        bytes[at] ^= 4;
        store(t, bytes, t->size);
        open_log(&t->f);
        assert_int_equal(t->f.found.records, RECORDS);
        assert_int_equal(t->f.found.damaged, 1);
        assert_last_comes(t);
        tg_log_close(&t->f.log);
    }
}

/* Whole sectors lost in the middle, or filled with zeros, cost the records in them and no others. */
static void test_lost_stretch(void **state)
{
    struct test *t = *state;
    unsigned char bytes[FILE_MAX];
    for (size_t from = TG_SEGMENT_HEADER; from < t->size; from += 3) {
        for (size_t n = 1; from + n < t->border[RECORDS - 1]; n += 61) {
            memcpy(bytes, t->bytes, t->size);
            memset(bytes + from, 0, n);
            unsigned mask = 0, lost = 0;
            for (size_t i = 0; i < RECORDS; i++) {
                bool intact = memcmp(bytes + t->border[i], t->bytes + t->border[i],
                                     t->border[i + 1] - t->border[i]) == 0;
                mask |= (unsigned)intact << i;
                lost += !intact;
            }
            clear_all(t);
            store(t, bytes, t->size);
            open_log(&t->f);
            assert_int_equal(t->f.found.damaged, lost);
            assert_records(t, mask);
        }
    }
}

/* Bytes pushed in between records, or records swapped or doubled, do not stop the reader and never yield a
 * record twice. */
static void test_shifted(void **state)
{
    struct test *t = *state;
    unsigned char bytes[FILE_MAX];
    for (size_t i = 0; i < RECORDS; i++) {
        size_t at = t->border[i], n = t->border[i + 1] - at;
        memcpy(bytes, t->bytes, at + n);
        memcpy(bytes + at + n, t->bytes + at, t->size - at);
        clear_all(t);
        store(t, bytes, t->size + n);
        open_log(&t->f);
        assert_records(t, 0xff);
        assert_int_equal(t->f.found.damaged, i < RECORDS - 1);
    }
}

/* A segment of a newer format is refused with words that name file and format; nothing is touched. */
static void test_newer(void **state)
{
    struct test *t = *state;
    struct tg_segment_header h = {.version = TG_SEGMENT_VERSION + 1, .first_seq = 1};
    tg_segment_header_put(&h, t->bytes);
    store(t, t->bytes, t->size);
    assert_int_equal(tg_log_open(&t->f.o, &t->f.log, NULL, &t->f.err), TG_BADVERSION);
    assert_non_null(strstr(t->f.err.msg, "0000000000000001.seg"));
    assert_null(t->f.log);
    struct stat st;
    assert_int_equal(stat(t->path, &st), 0);
    assert_int_equal(st.st_size, t->size);
    struct tg_segment_info info;
    assert_int_equal(tg_segment_scan(tg_io_system(), t->path, &info, NULL, NULL, NULL, &t->f.err),
                     TG_BADVERSION);
}

/* Files of other names in the folder are left alone. */
static void test_other_files(void **state)
{
    struct test *t = *state;
    const char *names[] = {"0000000000000001.SEG", "000000000000000g.seg", "1.seg", "0000000000000000.seg",
                           "notes.txt"};
    char path[256];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", t->f.dir, names[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    open_log(&t->f);
    assert_int_equal(t->f.found.segments, 1);
    assert_records(t, 0xff);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", t->f.dir, names[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
}

/* Damage that comes while the log is open is skipped by every reader and counted once. */
static void test_damage_while_open(void **state)
{
    struct test *t = *state;
    struct tg_metrics *m = tg_metrics_new(1);
    t->f.o.metrics = m;
    open_log(&t->f);
    int fd = open(t->path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)t->border[3] + 50), 1);
    close(fd);
    for (int i = 0; i < 3; i++)
        assert_records(t, 0xff & ~8U);
    assert_int_equal(tg_metric_total(m, "tidegate_spool_damaged_records_total", "partition=\"0\""), 1);
    tg_log_close(&t->f.log);
    open_log(&t->f);
    assert_records(t, 0xff & ~8U);
    assert_int_equal(tg_metric_total(m, "tidegate_spool_damaged_records_total", "partition=\"0\""), 2);
    reopen_log(&t->f); /* in quarantine by now: known */
    assert_int_equal(tg_metric_total(m, "tidegate_spool_damaged_records_total", "partition=\"0\""), 2);
    tg_log_close(&t->f.log);
    tg_metrics_free(&m);
}

/* A segment that somebody removed under a running reader is lost, the ones behind it are not. */
static void test_missing_segment(void **state)
{
    struct test *t = *state;
    struct tg_record rec;
    struct tg_log_reader *r;
    open_log(&t->f);
    append_synced(&t->f, RECORDS, 1, BODY);
    assert_int_equal(unlink(t->path), 0);
    assert_int_equal(tg_log_reader_open(t->f.log, 0, &r, &t->f.err), TG_OK);
    assert_int_equal(tg_log_reader_next(r, &rec, &t->f.err), 1);
    assert_int_equal(rec.seq, RECORDS + 1);
    tg_log_reader_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_zeroed_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bit_flips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_of_sealed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bit_flips_of_sealed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_stretch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shifted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_while_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_segment, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
