/* Digests come from OpenSSL's EVP, fetched once: the implicit fetch behind EVP_sha256() and its kin costs
 * more than hashing a short text. CRC-32C and SipHash guard tables and files, not secrets; the first uses the
 * processor's own instruction where there is one. */
#include "base/digest.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

enum { DIGESTS = TG_SHA512 + 1 };

static const struct {
    const char *name; /* ours, in scripts and options */
    const char *openssl;
} digests[DIGESTS] = {
    [TG_MD5] = {"md5", "MD5"},
    [TG_SHA1] = {"sha1", "SHA1"},
    [TG_SHA256] = {"sha256", "SHA2-256"},
    [TG_SHA512] = {"sha512", "SHA2-512"},
};

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *methods[DIGESTS]; /* NULL where the policy forbids it; kept for the life of the process */
static EVP_MAC *hmac_method;

static void fetch_methods(void)
{
    for (int i = 0; i < DIGESTS; i++)
        methods[i] = EVP_MD_fetch(NULL, digests[i].openssl, NULL);
    hmac_method = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    ERR_clear_error();
}

bool tg_digest_parse(struct tg_str name, enum tg_digest *digest)
{
    for (int i = 0; i < DIGESTS; i++) {
        if (tg_str_is(name, digests[i].name)) {
            *digest = (enum tg_digest)i;
            return true;
        }
    }
    return false;
}

int tg_digest(enum tg_digest digest, struct tg_str data, unsigned char *out, size_t *len)
{
    (void)pthread_once(&fetched, fetch_methods);
    unsigned n = 0;
    if (!methods[digest])
        return TG_UNSUPPORTED;
    if (EVP_Digest(data.n ? data.p : "", data.n, out, &n, methods[digest], NULL) != 1) {
        ERR_clear_error();
        return TG_NOMEM; /* the only way left to fail */
    }
    *len = n;
    return TG_OK;
}

int tg_hmac(enum tg_digest digest, struct tg_str key, struct tg_str data, unsigned char *out, size_t *len)
{
    (void)pthread_once(&fetched, fetch_methods);
    if (!methods[digest] || !hmac_method)
        return TG_UNSUPPORTED;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac_method);
    if (!ctx)
        return TG_NOMEM;
    char *name = (char *)(uintptr_t)digests[digest].openssl; /* OpenSSL only reads it */
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    /* A NULL key would mean "keep the one from before". */
    int ok = EVP_MAC_init(ctx, (const unsigned char *)(key.n ? key.p : ""), key.n, params) == 1 &&
             EVP_MAC_update(ctx, (const unsigned char *)(data.n ? data.p : ""), data.n) == 1 &&
             EVP_MAC_final(ctx, out, len, TG_DIGEST_MAX) == 1;
    EVP_MAC_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok ? TG_OK : TG_NOMEM;
}

/* --- checksums --- */

uint32_t tg_crc32(uint32_t seed, const void *data, size_t n)
{
    return n ? (uint32_t)crc32_z(seed, data, n) : seed;
}

enum { CASTAGNOLI = (int)0x82f63b78 }; /* the polynomial, bits reversed */

static uint32_t crc32c_tables[8][256]; /* [k][b]: byte b followed by k zero bytes */
static pthread_once_t crc32c_made = PTHREAD_ONCE_INIT;

static void make_crc32c_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? (uint32_t)CASTAGNOLI : 0);
        crc32c_tables[0][b] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++) {
            uint32_t before = crc32c_tables[k - 1][b];
            crc32c_tables[k][b] = before >> 8 ^ crc32c_tables[0][before & 0xff];
        }
    }
}

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t tg_crc32c_portable(uint32_t seed, const void *data, size_t n)
{
    (void)pthread_once(&crc32c_made, make_crc32c_tables);
    const unsigned char *p = data;
    uint32_t crc = ~seed;
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t low = crc ^ load32(p), high = load32(p + 4);
        crc = 0;
        for (int i = 0; i < 4; i++) {
            crc ^= crc32c_tables[7 - i][low >> 8 * i & 0xff];
            crc ^= crc32c_tables[3 - i][high >> 8 * i & 0xff];
        }
    }
    for (; n; p++, n--)
        crc = crc >> 8 ^ crc32c_tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
/* The instruction takes three cycles, and one can begin in each: three lanes side by side take a third of the
 * time of one. What a lane found is carried over the bytes of the next by a table: what it would be behind so
 * many zero bytes. */
enum { LANE = 128 };
static uint32_t crc32c_over_lane[4][256]; /* [k][b]: byte b at place k of a sum */
static pthread_once_t over_lane_made = PTHREAD_ONCE_INIT;

static uint32_t behind_zeros(uint32_t crc)
{
    for (int i = 0; i < LANE; i++)
        crc = crc >> 8 ^ crc32c_tables[0][crc & 0xff];
    return crc;
}

static void make_over_lane(void)
{
    (void)pthread_once(&crc32c_made, make_crc32c_tables);
    for (int k = 0; k < 4; k++) {
        for (uint32_t bit = 1; bit < 256; bit *= 2) {
            uint32_t alone = behind_zeros(bit << 8 * k);
            for (uint32_t lower = 0; lower < bit; lower++)
                crc32c_over_lane[k][bit + lower] = crc32c_over_lane[k][lower] ^ alone;
        }
    }
}

static inline uint64_t over_lane(uint64_t crc)
{
    return crc32c_over_lane[0][crc & 0xff] ^ crc32c_over_lane[1][crc >> 8 & 0xff] ^
           crc32c_over_lane[2][crc >> 16 & 0xff] ^ crc32c_over_lane[3][crc >> 24 & 0xff];
}

static inline uint64_t word_at(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static uint64_t three_lanes(uint64_t crc, const unsigned char *p)
{
    uint64_t second = 0, third = 0;
    for (int i = 0; i < LANE; i += 8) {
        crc = _mm_crc32_u64(crc, word_at(p + i));
        second = _mm_crc32_u64(second, word_at(p + LANE + i));
        third = _mm_crc32_u64(third, word_at(p + 2 * LANE + i));
    }
    return over_lane(over_lane(crc) ^ second) ^ third;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t seed, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t crc = ~seed;
    if (n >= 3 * LANE)
        (void)pthread_once(&over_lane_made, make_over_lane);
    for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE)
        crc = three_lanes(crc, p);
    for (; n >= 8; p += 8, n -= 8)
        crc = _mm_crc32_u64(crc, word_at(p));
    for (; n; p++, n--)
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}
#endif

uint32_t tg_crc32c(uint32_t seed, const void *data, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(seed, data, n);
#endif
    return tg_crc32c_portable(seed, data, n);
}

static uint64_t load64(const unsigned char *p)
{
    return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32;
}

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* Inline, so that v stays in registers: events are hashed several times each. */
static inline __attribute__((always_inline)) void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static inline __attribute__((always_inline)) void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t tg_siphash(const unsigned char key[16], const void *data, size_t n)
{
    uint64_t k0 = load64(key), k1 = load64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    const unsigned char *p = data, *end = p + n;
    uint64_t last = (uint64_t)n << 56;
    for (; end - p >= 8; p += 8)
        sip_word(v, load64(p));
    for (int shift = 0; p < end; p++, shift += 8)
        last |= (uint64_t)*p << shift;
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t tg_siphash_pair(const unsigned char key[16], struct tg_str scope, struct tg_str name)
{
    uint64_t a = tg_siphash(key, scope.n ? scope.p : "", scope.n),
             b = tg_siphash(key, name.n ? name.p : "", name.n);
    return (a * 0x9e3779b97f4a7c15u) ^ b;
}

/* --- text forms --- */

int tg_hex(struct tg_buf *out, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    if (n > SIZE_MAX / 2)
        return TG_TOOBIG;
    int rc = tg_buf_reserve(out, 2 * n);
    if (rc)
        return rc;
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) {
        out->data[out->len++] = digits[p[i] >> 4];
        out->data[out->len++] = digits[p[i] & 15];
    }
    return TG_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int tg_unhex(struct tg_buf *out, struct tg_str text)
{
    if (text.n % 2)
        return TG_INVALID;
    int rc = tg_buf_reserve(out, text.n / 2);
    if (rc)
        return rc;
    size_t before = out->len;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_digit(text.p[i]), low = hex_digit(text.p[i + 1]);
        if (high < 0 || low < 0) {
            out->len = before;
            return TG_INVALID;
        }
        out->data[out->len++] = (char)(high << 4 | low);
    }
    return TG_OK;
}

static const char base64_standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int tg_base64(struct tg_buf *out, const void *data, size_t n, bool url_safe, bool padding)
{
    const char *alphabet = url_safe ? base64_url : base64_standard;
    const unsigned char *p = data;
    if (n > SIZE_MAX / 2)
        return TG_TOOBIG;
    size_t tail = n % 3;
    int rc = tg_buf_reserve(out, n / 3 * 4 + (tail == 0 ? 0 : padding ? 4 : tail + 1));
    if (rc)
        return rc;
    char *to = out->data + out->len;
    for (; n >= 3; p += 3, n -= 3) {
        unsigned v = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        *to++ = alphabet[v >> 6 & 63];
        *to++ = alphabet[v & 63];
    }
    if (tail) {
        unsigned v = (unsigned)p[0] << 16 | (tail == 2 ? (unsigned)p[1] << 8 : 0);
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        if (tail == 2)
            *to++ = alphabet[v >> 6 & 63];
        for (size_t i = tail; padding && i < 3; i++)
            *to++ = '=';
    }
    out->len = (size_t)(to - out->data);
    return TG_OK;
}

/* The six bits of a character of either alphabet, -1 for others. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Without its padding. False when there is padding and it does not fill the last group of four. */
static bool strip_padding(struct tg_str *text)
{
    size_t n = text->n, pad = 0;
    while (pad < 2 && n > pad && text->p[n - 1 - pad] == '=')
        pad++;
    if (pad && n % 4 != 0)
        return false;
    text->n -= pad;
    return text->n % 4 != 1;
}

int tg_unbase64(struct tg_buf *out, struct tg_str text)
{
    if (!strip_padding(&text))
        return TG_INVALID;
    int rc = tg_buf_reserve(out, text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0));
    if (rc)
        return rc;
    size_t before = out->len;
    unsigned bits = 0, held = 0; /* the lowest `held` bits are not yet written */
    for (size_t i = 0; i < text.n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0)
            goto invalid;
        bits = (bits << 6 | (unsigned)digit) & 0xfff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out->data[out->len++] = (char)(bits >> held & 0xff);
        }
    }
    /* What is left over must be zero, or two texts would stand for the same bytes. */
    if ((bits & ((1u << held) - 1)) == 0)
        return TG_OK;
invalid:
    out->len = before;
    return TG_INVALID;
}

/* --- randomness and secrets --- */

int tg_random(void *out, size_t n)
{
    unsigned char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return TG_IO;
        p += got;
        n -= (size_t)got;
    }
    return TG_OK;
}

void tg_uuid4_of(const unsigned char random[16], char out[TG_UUID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        unsigned byte = random[i];
        if (i == 6)
            byte = (byte & 0x0f) | 0x40; /* version 4 */
        if (i == 8)
            byte = (byte & 0x3f) | 0x80; /* the variant of RFC 9562 */
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
    *out = '\0';
}

int tg_uuid4(char out[TG_UUID_LEN + 1])
{
    unsigned char random[16];
    int rc = tg_random(random, sizeof random);
    if (rc)
        return rc;
    tg_uuid4_of(random, out);
    return TG_OK;
}

bool tg_equal_secret(struct tg_str a, struct tg_str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}
