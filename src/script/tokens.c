#include "script/tokens.h"

#include "base/mem.h"
#include "script/cache.h"

#include <string.h>

enum { TOKENS_MAX = 8 };

struct tg_token {
    struct tg_token *next;
    size_t key_len, value_len;
    char bytes[]; /* key and value */
};

int tg_tokens_note(struct tg_token **tokens, struct tg_cache *cache, struct tg_str key, int64_t now)
{
    struct tg_cache_value value;
    if (!tg_cache_get(cache, key, now, &value) || value.kind != TG_CACHE_TEXT)
        return TG_OK;
    unsigned n = 0;
    for (const struct tg_token *t = *tokens; t; t = t->next)
        if (++n == TOKENS_MAX || (t->key_len == key.n && memcmp(t->bytes, key.p, key.n) == 0))
            return TG_OK;
    struct tg_token *token = tg_malloc(sizeof *token + key.n + value.text.n);
    if (!token)
        return TG_NOMEM;
    *token = (struct tg_token){.next = *tokens, .key_len = key.n, .value_len = value.text.n};
    memcpy(token->bytes, key.p, key.n);
    memcpy(token->bytes + key.n, value.text.p, value.text.n);
    *tokens = token;
    return TG_OK;
}

static struct tg_str key_of(const struct tg_token *t)
{
    return tg_str_n(t->bytes, t->key_len);
}

static bool is_cached(const struct tg_token *t, struct tg_cache *cache, int64_t now)
{
    struct tg_cache_value value;
    return cache && tg_cache_get(cache, key_of(t), now, &value) && value.kind == TG_CACHE_TEXT &&
           tg_str_eq(value.text, tg_str_n(t->bytes + t->key_len, t->value_len));
}

enum tg_tokens tg_tokens_look(const struct tg_token *tokens, struct tg_cache *cache, int64_t now)
{
    for (const struct tg_token *t = tokens; t; t = t->next)
        if (!is_cached(t, cache, now))
            return TG_TOKENS_GONE;
    return tokens ? TG_TOKENS_GOOD : TG_TOKENS_NONE;
}

void tg_tokens_refuse(const struct tg_token *tokens, struct tg_cache *cache, int64_t now)
{
    for (const struct tg_token *t = tokens; t; t = t->next)
        if (is_cached(t, cache, now))
            tg_cache_delete(cache, key_of(t));
}

void tg_tokens_free(struct tg_token **tokens)
{
    for (struct tg_token *next, *t = *tokens; t; t = next) {
        next = t->next;
        tg_free(t);
    }
    *tokens = NULL;
}
