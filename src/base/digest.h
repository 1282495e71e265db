/* Digests and binary-to-text encodings, over OpenSSL's EVP. */
#ifndef TG_BASE_DIGEST_H
#define TG_BASE_DIGEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tg_digest { TG_MD5, TG_SHA1, TG_SHA256, TG_SHA512 };
enum { TG_DIGEST_MAX = 64 };

/* By name ("md5", "sha1", "sha256", "sha512"). */
bool tg_digest_parse(struct tg_str name, enum tg_digest *digest);
/* out has TG_DIGEST_MAX bytes; *len is how many were used. TG_UNSUPPORTED where the crypto policy forbids the
 * digest. */
TG_MUST_CHECK int tg_digest(enum tg_digest digest, struct tg_str data, unsigned char *out, size_t *len);
TG_MUST_CHECK int tg_hmac(enum tg_digest digest, struct tg_str key, struct tg_str data, unsigned char *out,
                          size_t *len);

uint32_t tg_crc32(uint32_t seed, const void *data, size_t n); /* zlib's; seed 0 to begin */
uint32_t tg_crc32c(uint32_t seed, const void *data,
                   size_t n); /* Castagnoli; SSE 4.2 where present; seed 0 to begin */
uint32_t tg_crc32c_portable(uint32_t seed, const void *data, size_t n); /* the same without SSE 4.2 */
/* 64-bit keyed hash for tables that senders could flood (SipHash-2-4). */
uint64_t tg_siphash(const unsigned char key[16], const void *data, size_t n);
/* The same of a name within a scope, neither of which runs into the other. */
uint64_t tg_siphash_pair(const unsigned char key[16], struct tg_str scope, struct tg_str name);

TG_MUST_CHECK int tg_hex(struct tg_buf *out, const void *data, size_t n); /* lower case */
TG_MUST_CHECK int tg_unhex(struct tg_buf *out,
                           struct tg_str text); /* TG_INVALID on other characters; either case */
TG_MUST_CHECK int tg_base64(struct tg_buf *out, const void *data, size_t n, bool url_safe, bool padding);
/* Both alphabets, padding optional, no white space; bits left over must be zero. TG_INVALID on anything else.
 */
TG_MUST_CHECK int tg_unbase64(struct tg_buf *out, struct tg_str text);

/* Cryptographically random bytes. TG_IO when the system has none. */
TG_MUST_CHECK int tg_random(void *out, size_t n);
enum { TG_UUID_LEN = 36 };
TG_MUST_CHECK int tg_uuid4(char out[TG_UUID_LEN + 1]);
void tg_uuid4_of(const unsigned char random[16], char out[TG_UUID_LEN + 1]); /* from given random bytes */
/* Comparison in time independent of the contents, for keys and tokens. */
bool tg_equal_secret(struct tg_str a, struct tg_str b);

#endif
