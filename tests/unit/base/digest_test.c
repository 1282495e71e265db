#include "tg_test.h"

#include "base/digest.h"

static void is_hex(const unsigned char *p, size_t n, const char *hex)
{
    struct tg_buf b = TG_BUF_INIT(4096);
    assert_ok(tg_hex(&b, p, n));
    assert_buf(&b, hex);
    tg_buf_fini(&b);
}

static void digest_is(enum tg_digest digest, const char *text, const char *hex)
{
    unsigned char out[TG_DIGEST_MAX];
    size_t n = 0;
    assert_ok(tg_digest(digest, tg_str_of(text), out, &n));
    is_hex(out, n, hex);
}

/* RFC 1321 section A.5. */
static void md5_vectors(void **state)
{
    (void)state;
    digest_is(TG_MD5, "", "d41d8cd98f00b204e9800998ecf8427e");
    digest_is(TG_MD5, "a", "0cc175b9c0f1b6a831c399e269772661");
    digest_is(TG_MD5, "abc", "900150983cd24fb0d6963f7d28e17f72");
    digest_is(TG_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    digest_is(TG_MD5, "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
    digest_is(TG_MD5, "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
              "57edf4a22be3c955ac49da2e2107b67a");
}

static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

/* RFC 3174 section 7.3 and FIPS 180. */
static void sha1_vectors(void **state)
{
    (void)state;
    digest_is(TG_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_is(TG_SHA1, two_blocks, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    digest_is(TG_SHA1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

/* FIPS 180, and a million times "a". */
static void sha2_vectors(void **state)
{
    (void)state;
    digest_is(TG_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_is(TG_SHA256, two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    digest_is(TG_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_is(TG_SHA512, "abc",
              "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
              "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    digest_is(TG_SHA512, "",
              "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
              "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
    char *million = tg_malloc(1000001);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    million[1000000] = '\0';
    digest_is(TG_SHA256, million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    tg_free(million);
}

static struct tg_str repeat(char *space, char c, size_t n)
{
    memset(space, c, n);
    return tg_str_n(space, n);
}

static void hmac_is(enum tg_digest digest, struct tg_str key, struct tg_str data, const char *hex)
{
    unsigned char out[TG_DIGEST_MAX];
    size_t n = 0;
    assert_ok(tg_hmac(digest, key, data, out, &n));
    is_hex(out, n, hex);
}

/* RFC 2202: HMAC with MD5 and SHA-1. */
static void hmac_rfc2202(void **state)
{
    (void)state;
    char k[80], d[80];
    hmac_is(TG_MD5, repeat(k, 0x0b, 16), TG_STR("Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
    hmac_is(TG_MD5, TG_STR("Jefe"), TG_STR("what do ya want for nothing?"),
            "750c783e6ab0b503eaa86e310a5db738");
    hmac_is(TG_MD5, repeat(k, (char)0xaa, 16), repeat(d, (char)0xdd, 50), "56be34521d144c88dbb8c733f0e8b3f6");
    hmac_is(TG_SHA1, repeat(k, 0x0b, 20), TG_STR("Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
    hmac_is(TG_SHA1, TG_STR("Jefe"), TG_STR("what do ya want for nothing?"),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    hmac_is(TG_SHA1, repeat(k, (char)0xaa, 80),
            TG_STR("Test Using Larger Than Block-Size Key - Hash Key First"),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

/* RFC 4231: HMAC with SHA-2, a key longer than the block too. */
static void hmac_rfc4231(void **state)
{
    (void)state;
    char k[131], d[50];
    hmac_is(TG_SHA256, repeat(k, 0x0b, 20), TG_STR("Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_is(TG_SHA512, repeat(k, 0x0b, 20), TG_STR("Hi There"),
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
            "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854");
    hmac_is(TG_SHA256, TG_STR("Jefe"), TG_STR("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac_is(TG_SHA256, repeat(k, (char)0xaa, 20), repeat(d, (char)0xdd, 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    hmac_is(TG_SHA256, repeat(k, (char)0xaa, 131),
            TG_STR("Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* An empty key and empty data are data like any other, NULL pointers too. */
static void hmac_of_nothing(void **state)
{
    (void)state;
    hmac_is(TG_SHA256, (struct tg_str){0}, (struct tg_str){0},
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    hmac_is(TG_MD5, TG_STR(""), TG_STR(""), "74e6f7298a9c2d168935f58c001bad88");
}

/* Digests are known by their names, exactly. */
static void digest_names(void **state)
{
    (void)state;
    enum tg_digest d = TG_MD5;
    assert_true(tg_digest_parse(TG_STR("sha512"), &d));
    assert_int_equal(d, TG_SHA512);
    assert_true(tg_digest_parse(TG_STR("md5"), &d));
    assert_int_equal(d, TG_MD5);
    assert_false(tg_digest_parse(TG_STR("SHA1"), &d));
    assert_false(tg_digest_parse(TG_STR("sha3"), &d));
    assert_false(tg_digest_parse(TG_STR(""), &d));
}

/* The check values of the CRC catalogue, and CRC-32C of RFC 3720 section B.4. */
static void crc_vectors(void **state)
{
    (void)state;
    unsigned char buf[32];
    assert_int_equal(tg_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(tg_crc32(0, NULL, 0), 0);
    assert_int_equal(tg_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(tg_crc32c(0, NULL, 0), 0);
    memset(buf, 0, 32);
    assert_int_equal(tg_crc32c(0, buf, 32), 0x8a9136aa);
    memset(buf, 0xff, 32);
    assert_int_equal(tg_crc32c(0, buf, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        buf[i] = (unsigned char)i;
    assert_int_equal(tg_crc32c(0, buf, 32), 0x46dd794e);
    for (unsigned i = 0; i < 32; i++)
        buf[i] = (unsigned char)(31 - i);
    assert_int_equal(tg_crc32c(0, buf, 32), 0x113fdb5c);
}

/* A checksum may be taken in pieces, at any alignment, and the portable way gives the same. */
static void crc_in_pieces(void **state)
{
    (void)state;
    unsigned char buf[1700];
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (unsigned char)(i * 167 + 13);
    for (size_t from = 0; from < 9; from++) {
        for (size_t n = 0; from + n <= sizeof buf; n += 7) {
            uint32_t whole = tg_crc32c(0, buf + from, n);
            assert_int_equal(whole,
                             tg_crc32c(tg_crc32c(0, buf + from, n / 3), buf + from + n / 3, n - n / 3));
            assert_int_equal(whole, tg_crc32c_portable(0, buf + from, n));
            assert_int_equal(
                whole, tg_crc32c_portable(tg_crc32c(0, buf + from, n / 2), buf + from + n / 2, n - n / 2));
            assert_int_equal(tg_crc32(0, buf + from, n),
                             tg_crc32(tg_crc32(0, buf + from, n / 3), buf + from + n / 3, n - n / 3));
        }
    }
}

/* The reference vectors of SipHash-2-4: key 00 01 … 0f, message 00 01 … of growing length. */
static void siphash_vectors(void **state)
{
    (void)state;
    static const uint64_t want[16] = {
        0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
        0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
        0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
        0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
    };
    unsigned char key[16], message[16];
    for (unsigned i = 0; i < 16; i++)
        key[i] = message[i] = (unsigned char)i;
    for (size_t n = 0; n < 16; n++)
        assert_true(tg_siphash(key, message, n) == want[n]);
}

/* RFC 4648 section 10, in both alphabets, with and without padding. */
static void base64_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *padded, *bare;
    } rows[] = {{"", "", ""},
                {"f", "Zg==", "Zg"},
                {"fo", "Zm8=", "Zm8"},
                {"foo", "Zm9v", "Zm9v"},
                {"foob", "Zm9vYg==", "Zm9vYg"},
                {"fooba", "Zm9vYmE=", "Zm9vYmE"},
                {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
                {"\xfb\xff\xfe", "+//+", "+//+"}};
    struct tg_buf b = TG_BUF_INIT(64);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_str plain = tg_str_of(rows[i].plain);
        tg_buf_clear(&b);
        assert_ok(tg_base64(&b, plain.p, plain.n, false, true));
        assert_buf(&b, rows[i].padded);
        tg_buf_clear(&b);
        assert_ok(tg_base64(&b, plain.p, plain.n, false, false));
        assert_buf(&b, rows[i].bare);
        tg_buf_clear(&b);
        assert_ok(tg_unbase64(&b, tg_str_of(rows[i].padded)));
        assert_buf(&b, rows[i].plain);
        tg_buf_clear(&b);
        assert_ok(tg_unbase64(&b, tg_str_of(rows[i].bare)));
        assert_buf(&b, rows[i].plain);
    }
    tg_buf_clear(&b);
    assert_ok(tg_base64(&b, "\xfb\xff\xfe\xff", 4, true, true));
    assert_buf(&b, "-__-_w==");
    tg_buf_clear(&b);
    assert_ok(tg_unbase64(&b, TG_STR("-__-_w==")));
    assert_buf(&b, "\xfb\xff\xfe\xff");
    tg_buf_fini(&b);
}

/* Every length of every byte comes back as it went. */
static void base64_and_hex_round_trip(void **state)
{
    (void)state;
    unsigned char in[256];
    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 89 + 7);
    struct tg_buf text = TG_BUF_INIT(1024), back = TG_BUF_INIT(1024);
    for (size_t n = 0; n <= sizeof in; n++) {
        for (int form = 0; form < 5; form++) {
            tg_buf_clear(&text);
            tg_buf_clear(&back);
            assert_ok(form == 4 ? tg_hex(&text, in, n) : tg_base64(&text, in, n, form & 1, form & 2));
            assert_ok(form == 4 ? tg_unhex(&back, tg_buf_str(&text)) : tg_unbase64(&back, tg_buf_str(&text)));
            assert_int_equal(back.len, n);
            assert_memory_equal(n ? back.data : "", n ? (char *)in : "", n);
        }
    }
    tg_buf_fini(&text);
    tg_buf_fini(&back);
}

/* What is no base64 or hex is refused and leaves the buffer as it was. */
static void bad_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad64[] = {"Z",     "Zm9vY", "Zg=",      "Zg===", "Z===",  "====",
                                        "=",     "Zm9v=", "Zm9v====", "Zm=v",  "Zm 9v", "Zm9v\n",
                                        "Zm9v!", "Zh==",  "Zm9=",     "Z\x80", "Zh"};
    static const char *const bad_hex[] = {"0", "0g", "g0", "00 ", "0x00", "\xff\xff"};
    struct tg_buf b = TG_BUF_INIT(64);
    assert_ok(tg_buf_adds(&b, "keep"));
    for (size_t i = 0; i < sizeof bad64 / sizeof bad64[0]; i++) {
        if (tg_unbase64(&b, tg_str_of(bad64[i])) != TG_INVALID)
            fail_msg("\"%s\" decodes", bad64[i]);
    }
    for (size_t i = 0; i < sizeof bad_hex / sizeof bad_hex[0]; i++) {
        if (tg_unhex(&b, tg_str_of(bad_hex[i])) != TG_INVALID)
            fail_msg("\"%s\" decodes", bad_hex[i]);
    }
    assert_int_equal(tg_unbase64(&b, tg_str_n("Zm9\0", 4)), TG_INVALID);
    assert_buf(&b, "keep");
    tg_buf_fini(&b);
}

/* Hex is written in lower case and read in both. */
static void hex_reads_both_cases(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(64);
    assert_ok(tg_unhex(&b, TG_STR("4A4b")));
    assert_buf(&b, "JK");
    tg_buf_clear(&b);
    assert_ok(tg_hex(&b, "\xab\xcd", 2));
    assert_buf(&b, "abcd");
    tg_buf_fini(&b);
}

/* Encoders respect the ceiling. */
static void encoders_respect_the_ceiling(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(3);
    assert_int_equal(tg_hex(&b, "ab", 2), TG_TOOBIG);
    assert_int_equal(tg_base64(&b, "ab", 2, false, true), TG_TOOBIG);
    assert_ok(tg_base64(&b, "ab", 2, false, false));
    assert_int_equal(tg_hex(&b, "", SIZE_MAX), TG_TOOBIG);
    assert_int_equal(tg_base64(&b, "", SIZE_MAX, false, false), TG_TOOBIG);
    tg_buf_fini(&b);
}

/* A UUID has version 4 and its variant in their places, and the next one is another. */
static void uuid_has_its_shape(void **state)
{
    (void)state;
    char a[TG_UUID_LEN + 1], b[TG_UUID_LEN + 1];
    assert_ok(tg_uuid4(a));
    assert_ok(tg_uuid4(b));
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), TG_UUID_LEN);
    for (int i = 0; i < TG_UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(a[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", a[i]));
    }
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    unsigned char zeros[16] = {0};
    tg_uuid4_of(zeros, a);
    assert_string_equal(a, "00000000-0000-4000-8000-000000000000");
    memset(zeros, 0xff, 16);
    tg_uuid4_of(zeros, a);
    assert_string_equal(a, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

/* Random bytes fill all of the space: over many draws every byte differs at least once. */
static void random_fills_all(void **state)
{
    (void)state;
    unsigned char first[64], next[64], changed[64] = {0};
    assert_ok(tg_random(first, sizeof first));
    for (int i = 0; i < 20; i++) {
        assert_ok(tg_random(next, sizeof next));
        for (size_t j = 0; j < sizeof next; j++)
            changed[j] |= next[j] ^ first[j];
    }
    for (size_t j = 0; j < sizeof changed; j++)
        assert_int_not_equal(changed[j], 0);
    assert_ok(tg_random(NULL, 0));
}

/* Keys are equal when all their bytes are. */
static void equal_secrets(void **state)
{
    (void)state;
    assert_true(tg_equal_secret(TG_STR("abc"), TG_STR("abc")));
    assert_true(tg_equal_secret(TG_STR(""), (struct tg_str){0}));
    assert_false(tg_equal_secret(TG_STR("abc"), TG_STR("abd")));
    assert_false(tg_equal_secret(TG_STR("abc"), TG_STR("ab")));
    assert_false(tg_equal_secret(TG_STR("abc"), TG_STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md5_vectors),
        cmocka_unit_test(sha1_vectors),
        cmocka_unit_test(sha2_vectors),
        cmocka_unit_test(hmac_rfc2202),
        cmocka_unit_test(hmac_rfc4231),
        cmocka_unit_test(hmac_of_nothing),
        cmocka_unit_test(digest_names),
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(crc_in_pieces),
        cmocka_unit_test(siphash_vectors),
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_and_hex_round_trip),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(hex_reads_both_cases),
        cmocka_unit_test(encoders_respect_the_ceiling),
        cmocka_unit_test(uuid_has_its_shape),
        cmocka_unit_test(random_fills_all),
        cmocka_unit_test(equal_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
