/* Texts of the destination's cache that a handler authenticates with: noted, so that the engine can tell when
 * one is not good any more. */
#ifndef TG_SCRIPT_TOKENS_H
#define TG_SCRIPT_TOKENS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_cache;
struct tg_token;

/* None were used; or all may still be used; or one has come to its end or was refused since, so that what
 * waits to be sent with it need not be sent. */
enum tg_tokens { TG_TOKENS_NONE, TG_TOKENS_GOOD, TG_TOKENS_GONE };

/* Notes the text that the cache has under that key now (ms, as the cache counts); nothing when there is none,
 * it is known, or there are many. */
TG_MUST_CHECK int tg_tokens_note(struct tg_token **tokens, struct tg_cache *cache, struct tg_str key,
                                 int64_t now);
/* cache: NULL when it cannot be asked. */
enum tg_tokens tg_tokens_look(const struct tg_token *tokens, struct tg_cache *cache, int64_t now);
/* Takes them out of the cache, but not what has been fetched in their place since. */
void tg_tokens_refuse(const struct tg_token *tokens, struct tg_cache *cache, int64_t now);
void tg_tokens_free(struct tg_token **tokens);

#endif
