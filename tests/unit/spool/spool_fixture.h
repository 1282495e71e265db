/* What the spool's unit tests share: a folder, a loop with its helper thread, a log on them, and short ways
 * to append, wait and reread. Included by one test program at a time. */
#ifndef TG_TEST_SPOOL_FIXTURE_H
#define TG_TEST_SPOOL_FIXTURE_H

#include "base/clock.h"
#include "base/helper.h"
#include "base/log.h"
#include "base/mem.h"
#include "spool/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

enum { SHM_BYTES = 48 << 20 }; /* several times what a test writes */

struct fixture {
    char root[64], dir[128];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_log_options o;
    struct tg_log *log;
    struct tg_log_found found;
    struct tg_err err;
};

/* Answers to appends, in the order in which they came. */
struct answers {
    size_t n, ok;
    int last;
    char why[256];
    uint64_t first_seq;
};

static inline void on_answer(void *arg, int status, const char *why, uint64_t first_seq)
{
    struct answers *a = arg;
    a->n++;
    a->ok += status == TG_OK;
    a->last = status;
    a->first_seq = first_seq;
    (void)snprintf(a->why, sizeof a->why, "%s", why);
}

static inline void fixture_init(struct fixture *f, struct tg_io *io)
{
    memset(f, 0, sizeof *f);
    tg_log_set_fd(-1);
    /* In memory where possible: these tests sync thousands of times, and prove nothing about the disk. But
     * containers have little of it, or none. */
    struct statvfs shm;
    bool room = access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &shm) == 0 &&
                shm.f_bavail * shm.f_frsize >= SHM_BYTES;
    const char *where = room ? "/dev/shm" : "/tmp";
    (void)snprintf(f->root, sizeof f->root, "%s/tidegate-spool-XXXXXX", where);
    assert_non_null(mkdtemp(f->root));
    (void)snprintf(f->dir, sizeof f->dir, "%s/p0", f->root);
    f->base = event_base_new();
    assert_non_null(f->base);
    assert_int_equal(tg_helper_new(f->base, &f->helper, &f->err), TG_OK);
    f->o = (struct tg_log_options){
        .dir = f->dir,
        .partition = 0,
        .epoch = 1,
        .segment_bytes = 64 << 10,
        .max_bytes = 1 << 20,
        .reserve_bytes = 16 << 10,
        .sync = TG_SYNC_GROUP,
        .max_pending_bytes = 1 << 20,
        .io = io,
        .helper = f->helper,
        .base = f->base,
    };
}

static inline void fixture_fini(struct fixture *f)
{
    char cmd[128];
    tg_log_close(&f->log);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    (void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", f->root);
    assert_int_equal(system(cmd), 0);
}

static inline void open_log(struct fixture *f)
{
    int rc = tg_log_open(&f->o, &f->log, &f->found, &f->err);
    if (rc)
        fail_msg("open: %s", f->err.msg);
}

static inline void reopen_log(struct fixture *f)
{
    tg_log_close(&f->log);
    open_log(f);
}

/* Runs the loop and the helper until neither has anything to do. */
static inline void settle(struct fixture *f)
{
    for (int i = 0; i < 3; i++) {
        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
        tg_helper_drain(f->helper);
    }
}

/* Record i: a recognisable header and a body of `len` bytes. */
static inline struct tg_record make_record(char *buf, size_t i, size_t len)
{
    int n = snprintf(buf, 32, "h%zu", i);
    char *body = buf + 32;
    memset(body, 'a' + (int)(i % 26), len);
    return (struct tg_record){
        .received_at = 1000 + (int64_t)i,
        .flags = (uint32_t)i,
        .header = {buf, (size_t)n},
        .body = {body, len},
    };
}

static inline int append_one(struct fixture *f, size_t i, size_t len, struct answers *a)
{
    char *buf = malloc(32 + len);
    assert_non_null(buf);
    struct tg_record r = make_record(buf, i, len);
    int rc = tg_log_append(f->log, &r, 1, on_answer, a, &f->err);
    free(buf);
    return rc;
}

/* Appends records i to i + n - 1, each in a commit of its own, and expects them to become durable. */
static inline void append_synced(struct fixture *f, size_t i, size_t n, size_t len)
{
    for (size_t k = 0; k < n; k++) {
        struct answers a = {0};
        assert_int_equal(append_one(f, i + k, len, &a), TG_OK);
        settle(f);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.last, TG_OK);
    }
}

static inline void assert_is_record(const struct tg_record *r, size_t i, size_t len)
{
    char *buf = malloc(32 + len);
    assert_non_null(buf);
    struct tg_record want = make_record(buf, i, len);
    assert_int_equal(r->received_at, want.received_at);
    assert_int_equal(r->flags, want.flags);
    assert_int_equal(r->header.n, want.header.n);
    assert_memory_equal(r->header.p, want.header.p, want.header.n);
    assert_int_equal(r->body.n, len);
    if (len)
        assert_memory_equal(r->body.p, want.body.p, len);
    free(buf);
}

/* Reads everything at or above `from` with a new reader; the flags (which record it is) go to `which`, the
 * count is returned. */
static inline size_t read_all(struct fixture *f, uint64_t from, uint32_t *which, uint64_t *seqs, size_t max)
{
    struct tg_log_reader *r;
    struct tg_record rec;
    size_t n = 0;
    int rc;
    assert_int_equal(tg_log_reader_open(f->log, from, &r, &f->err), TG_OK);
    while ((rc = tg_log_reader_next(r, &rec, &f->err)) == 1) {
        assert_true(n < max);
        if (which)
            which[n] = rec.flags;
        if (seqs)
            seqs[n] = rec.seq;
        n++;
    }
    assert_int_equal(rc, 0);
    tg_log_reader_close(&r);
    return n;
}

#endif
