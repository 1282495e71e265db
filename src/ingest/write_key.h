/* Where a request says who is calling (ingest contract section 2), and the table of those who may. */
#ifndef TG_INGEST_WRITE_KEY_H
#define TG_INGEST_WRITE_KEY_H

#include "base/buf.h"
#include "ingest/http_parser.h"

/* Header and query places, in order of precedence: Basic (user name, with or without a colon), X-Write-Key,
 * ?writeKey=. *key is a span of the request or of `scratch` (cleared first), empty when none is there: then
 * the body's is meant. Bearer is never a key. A Basic value that does not decode counts as absent. For Basic
 * *key is "user:password" with a closing colon removed: keys with a colon in them exist; tg_write_keys_find
 * tries the part before it too. */
TG_MUST_CHECK int tg_write_key_of(const struct tg_http_msg *msg, struct tg_buf *scratch, struct tg_str *key);

/* A set of keys, hashed with a secret so that senders cannot aim for collisions, compared in constant time.
 */
struct tg_write_keys;

TG_MUST_CHECK int tg_write_keys_new(struct tg_write_keys **out, size_t expected);
void tg_write_keys_free(struct tg_write_keys **keys);
/* Copies the key. TG_EXISTS when it is there for another owner, TG_INVALID when empty. */
TG_MUST_CHECK int tg_write_keys_add(struct tg_write_keys *keys, struct tg_str key, unsigned owner);
/* The owner, or -1. Tries `key`, then what stands before its last colon and before its first. */
int tg_write_keys_find(const struct tg_write_keys *keys, struct tg_str key);

#endif
