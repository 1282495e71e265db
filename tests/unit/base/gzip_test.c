#include "tg_test.h"

#include "base/gzip.h"

#include <zlib.h>

/* "hello" as gzip(1) writes it, with a name and a time in its header. */
static const unsigned char named[] = {0x1f, 0x8b, 0x08, 0x08, 0x5e, 0x3c, 0x4b, 0x66, 0x00,
                                      0x03, 'a',  0x00, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07,
                                      0x00, 0x86, 0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00};
/* The same as zlib and as raw deflate. */
static const unsigned char with_zlib[] = {0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
                                          0x07, 0x00, 0x06, 0x2c, 0x02, 0x15};
static const unsigned char raw[] = {0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};

static struct tg_str bytes(const unsigned char *p, size_t n)
{
    return tg_str_n((const char *)p, n);
}

/* Feeds `in` in pieces; *complete says whether the stream ended. */
static int inflate_pieces(bool deflate, struct tg_str in, size_t piece, struct tg_buf *out, bool *complete)
{
    struct tg_inflate *z = NULL;
    int rc = tg_inflate_new(&z, deflate);
    for (size_t at = 0; !rc && at < in.n; at += piece)
        rc = tg_inflate_feed(z, tg_str_n(in.p + at, in.n - at < piece ? in.n - at : piece), out, NULL);
    *complete = !rc && tg_inflate_complete(z);
    tg_inflate_free(&z);
    return rc;
}

static void inflates_to(bool deflate, struct tg_str in, const char *text)
{
    struct tg_buf out = TG_BUF_INIT(strlen(text));
    for (size_t piece = 1; piece <= in.n; piece++) {
        bool complete;
        tg_buf_clear(&out);
        assert_ok(inflate_pieces(deflate, in, piece, &out, &complete));
        assert_true(complete);
        assert_buf(&out, text);
    }
    tg_buf_fini(&out);
}

/* Files of gzip, and deflate with and without zlib's header, in pieces of any length, with no byte of room to
 * spare. */
static void reads_what_senders_write(void **state)
{
    (void)state;
    inflates_to(false, bytes(named, sizeof named), "hello");
    inflates_to(true, bytes(with_zlib, sizeof with_zlib), "hello");
    inflates_to(true, bytes(raw, sizeof raw), "hello");
}

/* Members of gzip one after another are one text. */
static void several_members(void **state)
{
    (void)state;
    unsigned char three[3 * sizeof named];
    for (int i = 0; i < 3; i++)
        memcpy(three + (size_t)i * sizeof named, named, sizeof named);
    inflates_to(false, bytes(three, sizeof three), "hellohellohello");
}

/* A stream that is cut is not complete, wherever the cut is. */
static void cut_streams_are_not_complete(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(64);
    for (size_t n = 0; n < sizeof named; n++) {
        bool complete = true;
        assert_ok(inflate_pieces(false, bytes(named, n), 5, &out, &complete));
        assert_false(complete);
    }
    tg_buf_fini(&out);
}

static void is_invalid(bool deflate, struct tg_str in)
{
    struct tg_buf out = TG_BUF_INIT(1024);
    struct tg_inflate *z = NULL;
    struct tg_err err = {0};
    assert_ok(tg_inflate_new(&z, deflate));
    assert_int_equal(tg_inflate_feed(z, in, &out, &err), TG_INVALID);
    assert_memory_equal(err.msg, "decompress: ", 12);
    assert_false(tg_inflate_complete(z));
    /* And it stays broken. */
    assert_int_equal(tg_inflate_feed(z, bytes(named, sizeof named), &out, &err), TG_INVALID);
    assert_false(tg_inflate_complete(z));
    tg_inflate_free(&z);
    tg_buf_fini(&out);
}

/* Bad data, a wrong checksum, bytes behind the end: refused, and the stream stays refused. */
static void bad_data_is_refused(void **state)
{
    (void)state;
    unsigned char bad[sizeof named + 2];
    is_invalid(false, TG_STR("{\"batch\":[]}"));
    is_invalid(false, bytes(with_zlib, sizeof with_zlib));
    is_invalid(true, bytes(named, sizeof named));
    memcpy(bad, named, sizeof named);
    bad[sizeof named - 5] ^= 1; /* of the checksum */
    is_invalid(false, bytes(bad, sizeof named));
    bad[sizeof named - 5] ^= 1;
    bad[sizeof named - 1] ^= 1; /* of the length */
    is_invalid(false, bytes(bad, sizeof named));
    bad[sizeof named - 1] ^= 1;
    bad[sizeof named] = bad[sizeof named + 1] = 'x'; /* the first alone might yet become a member */
    is_invalid(false, bytes(bad, sizeof bad));
    memcpy(bad, with_zlib, sizeof with_zlib);
    bad[sizeof with_zlib] = 0;
    is_invalid(true, bytes(bad, sizeof with_zlib + 1));
    is_invalid(true, TG_STR("\x78\xbb\x01\x02\x03\x04\x05\x06")); /* wants a preset dictionary */
}

static int deflate_all(struct tg_buf *out, struct tg_str in)
{
    return tg_gzip(out, in, 6);
}

/* A megabyte of zeros stops at the ceiling, having cost no more memory than that. */
static void bombs_stop_at_the_ceiling(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *zeros = tg_calloc(1, n);
    assert_non_null(zeros);
    struct tg_buf packed = TG_BUF_INIT(1 << 16), out = TG_BUF_INIT(10000);
    assert_ok(deflate_all(&packed, tg_str_n(zeros, n)));
    assert_true(packed.len < 2000);
    for (size_t piece = 1; piece < 2000; piece += 333) {
        bool complete;
        tg_buf_clear(&out);
        assert_int_equal(inflate_pieces(false, tg_buf_str(&packed), piece, &out, &complete), TG_TOOBIG);
        assert_true(out.len <= 10000 && out.cap <= 2 * 10000);
    }
    tg_free(zeros);
    tg_buf_fini(&packed);
    tg_buf_fini(&out);
}

/* A ceiling that equals the length is enough, one less is not. */
static void ceiling_is_exact(void **state)
{
    (void)state;
    bool complete;
    struct tg_buf out = TG_BUF_INIT(5);
    assert_ok(inflate_pieces(false, bytes(named, sizeof named), 100, &out, &complete));
    assert_true(complete);
    tg_buf_fini(&out);
    out.max = 4;
    assert_int_equal(inflate_pieces(false, bytes(named, sizeof named), 100, &out, &complete), TG_TOOBIG);
    tg_buf_fini(&out);
}

/* What was packed comes back, at every level, for text that packs well and for text that does not. */
static void round_trip(void **state)
{
    (void)state;
    enum { N = 100000 };
    char *text = tg_malloc(N);
    assert_non_null(text);
    struct tg_buf packed = TG_BUF_INIT(2 * N), out = TG_BUF_INIT(N);
    uint32_t seed = 1;
    for (int kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < N; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = kind ? (char)(seed >> 16) : (char)('a' + i % 7);
        }
        for (int level = 1; level <= 9; level += 4) {
            bool complete;
            tg_buf_clear(&packed);
            tg_buf_clear(&out);
            assert_ok(tg_gzip(&packed, tg_str_n(text, N), level));
            assert_ok(inflate_pieces(false, tg_buf_str(&packed), 777, &out, &complete));
            assert_true(complete);
            assert_int_equal(out.len, N);
            assert_memory_equal(out.data, text, N);
        }
    }
    tg_free(text);
    tg_buf_fini(&packed);
    tg_buf_fini(&out);
}

/* Nothing at all packs and unpacks to nothing. */
static void empty_text(void **state)
{
    (void)state;
    bool complete;
    struct tg_buf packed = TG_BUF_INIT(100), out = TG_BUF_INIT(0);
    assert_ok(tg_gzip(&packed, (struct tg_str){0}, 6));
    assert_ok(inflate_pieces(false, tg_buf_str(&packed), 100, &out, &complete));
    assert_true(complete);
    assert_int_equal(out.len, 0);
    tg_buf_fini(&packed);
    tg_buf_fini(&out);
}

/* Packing goes behind what is there; what does not fit changes nothing. */
static void packing_respects_the_ceiling(void **state)
{
    (void)state;
    struct tg_buf packed = TG_BUF_INIT(60);
    assert_ok(tg_buf_adds(&packed, "keep"));
    assert_int_equal(
        tg_gzip(&packed, TG_STR("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), 6),
        TG_TOOBIG);
    assert_buf(&packed, "keep");
    assert_ok(tg_gzip(
        &packed, TG_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 6));
    assert_memory_equal(packed.data, "keep\x1f\x8b", 6);
    tg_buf_fini(&packed);
    packed.max = 0;
    assert_int_equal(tg_gzip(&packed, TG_STR("a"), 6), TG_TOOBIG);
    tg_buf_fini(&packed);
}

static int there_and_back(void *arg)
{
    (void)arg;
    bool complete = false;
    struct tg_buf packed = TG_BUF_INIT(1000), out = TG_BUF_INIT(1000);
    int rc = tg_gzip(&packed, TG_STR("some text, some text"), 6);
    if (!rc)
        rc = inflate_pieces(false, tg_buf_str(&packed), 7, &out, &complete);
    if (!rc) {
        assert_true(complete);
        assert_buf(&out, "some text, some text");
    }
    tg_buf_fini(&packed);
    tg_buf_fini(&out);
    return rc;
}

/* zlib's own allocations may fail too. */
static void torture(void **state)
{
    (void)state;
    tg_torture(there_and_back, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_senders_write),
        cmocka_unit_test(several_members),
        cmocka_unit_test(cut_streams_are_not_complete),
        cmocka_unit_test(bad_data_is_refused),
        cmocka_unit_test(bombs_stop_at_the_ceiling),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(empty_text),
        cmocka_unit_test(packing_respects_the_ceiling),
        cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
