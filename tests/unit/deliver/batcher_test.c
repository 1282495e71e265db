#include "deliver/batcher.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct tg_batch_spec spec = {
    .name = (char *)"b", .max_items = 3, .max_bytes = 100, .max_wait_ms = 50};

static struct tg_request request(const char *url, size_t bytes)
{
    return (struct tg_request){
        .method = (char *)"POST", .url = (char *)url, .batch = (char *)"b", .item = 1, .item_bytes = bytes};
}

static void add(struct tg_batcher *b, struct tg_request *r, int64_t now)
{
    assert_int_equal(tg_batcher_add(b, &spec, r, r, now), TG_OK);
}

static void expect(struct tg_batcher *b, int64_t now, size_t n)
{
    struct tg_batch *batch = tg_batcher_take(b, now, false);
    if (n == 0) {
        assert_null(batch);
        return;
    }
    assert_non_null(batch);
    assert_int_equal(batch->n, n);
    tg_batch_free(&batch);
}

/* A group is ready when it has its items, and a later item begins a new one. */
static void by_items(void **state)
{
    (void)state;
    struct tg_batcher b = {0};
    struct tg_request r[5];
    for (int i = 0; i < 5; i++) {
        r[i] = request("u", 10);
        add(&b, &r[i], 0);
    }
    expect(&b, 0, 3);
    expect(&b, 49, 0);
    expect(&b, 50, 2);
    expect(&b, 1000, 0);
    assert_true(tg_batcher_due(&b) == INT64_MAX);
    tg_batcher_fini(&b);
}

/* The bytes of a group stay below the ceiling; one item that is larger goes alone. */
static void by_bytes(void **state)
{
    (void)state;
    struct tg_batcher b = {0};
    struct tg_request small = request("u", 60), other = request("u", 60), large = request("u", 500);
    add(&b, &small, 0);
    expect(&b, 0, 0);
    add(&b, &other, 0);
    expect(&b, 0, 1);
    add(&b, &large, 0);
    expect(&b, 0, 1);
    expect(&b, 0, 1);
    tg_batcher_fini(&b);
}

/* Another URL, header or compression is another group. */
static void groups(void **state)
{
    (void)state;
    struct tg_batcher b = {0};
    struct tg_header one = {(char *)"X-A", (char *)"1"}, two = {(char *)"X-A", (char *)"2"};
    struct tg_request r[6];
    for (int i = 0; i < 6; i++)
        r[i] = request(i == 1 ? "v" : "u", 1);
    r[2].headers = &one;
    r[3].headers = &two;
    r[2].n_headers = r[3].n_headers = 1;
    r[4].gzip = true;
    for (int i = 0; i < 6; i++)
        add(&b, &r[i], i);
    assert_int_equal(b.n_open, 5);
    assert_int_equal(tg_batcher_due(&b), 50);
    expect(&b, 50, 2);
    expect(&b, 100, 1);
    tg_batcher_fini(&b);
}

/* What is taken out again leaves the rest in place; the last one takes its group along. */
static void removes(void **state)
{
    (void)state;
    struct tg_batcher b = {0};
    struct tg_request r[4];
    for (int i = 0; i < 4; i++) {
        r[i] = request("u", 10);
        add(&b, &r[i], 0);
    }
    assert_true(tg_batcher_remove(&b, &r[1])); /* in the ready group */
    assert_false(tg_batcher_remove(&b, &r[1]));
    assert_true(tg_batcher_remove(&b, &r[3])); /* the only one of the open group */
    assert_int_equal(b.n_open, 0);
    struct tg_batch *batch = tg_batcher_take(&b, 0, false);
    assert_int_equal(batch->n, 2);
    assert_ptr_equal(batch->owners[0], &r[0]);
    assert_ptr_equal(batch->owners[1], &r[2]);
    tg_batch_free(&batch);
    assert_null(tg_batcher_take(&b, 0, true));
}

/* More different groups than the ceiling: the oldest goes first. */
static void bounds_open_groups(void **state)
{
    (void)state;
    struct tg_batcher b = {0};
    struct tg_request r[TG_BATCH_GROUPS + 5];
    char urls[TG_BATCH_GROUPS + 5][16];
    for (int i = 0; i < TG_BATCH_GROUPS + 5; i++) {
        snprintf(urls[i], sizeof urls[i], "u%d", i);
        r[i] = request(urls[i], 1);
        add(&b, &r[i], 0);
    }
    assert_int_equal(b.n_open, TG_BATCH_GROUPS);
    for (int i = 0; i < 5; i++) {
        struct tg_batch *batch = tg_batcher_take(&b, 0, false);
        assert_ptr_equal(batch->owners[0], &r[i]);
        tg_batch_free(&batch);
    }
    expect(&b, 0, 0);
    tg_batcher_fini(&b);
}

/* Without memory nothing is kept and nothing lost. */
static void survives_lack_of_memory(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct tg_batcher b = {0};
        struct tg_request r = request("u", 10);
        tg_mem_fail_after(n);
        int rc = tg_batcher_add(&b, &spec, &r, &r, 0);
        int failed = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_int_equal(rc, failed ? TG_NOMEM : TG_OK);
        assert_int_equal(b.n_open, failed ? 0 : 1);
        tg_batcher_fini(&b);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_items),
        cmocka_unit_test(by_bytes),
        cmocka_unit_test(groups),
        cmocka_unit_test(removes),
        cmocka_unit_test(bounds_open_groups),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
