/* Responses kept by a run: for handlers that wait, and for the retry row. */
#ifndef TG_SCRIPT_RESPONSE_H
#define TG_SCRIPT_RESPONSE_H

#include "base/buf.h"
#include "script/request.h"

#include <lua.h>

struct tg_kept {
    uint32_t what;    /* hash of method and address: with `lasting` it says which call of the event it is */
    unsigned lasting; /* number among those of the same hash that are not repeatable, from 1; 0: repeatable */
    int status;
    struct tg_header *headers;
    size_t n_headers;
    char *body;
    size_t body_len;
    bool cut; /* the body's end is missing */
};

TG_MUST_CHECK int tg_kept_set(struct tg_kept *k, const struct tg_response *r);
void tg_kept_fini(struct tg_kept *k);
void tg_kept_lend(const struct tg_kept *k, struct tg_response *r);
uint32_t tg_kept_what(const struct tg_request *r);

/* JSON of n of them (those with a lasting number), at most `max` bytes; bodies are cut from the largest. */
TG_MUST_CHECK int tg_kept_write(const struct tg_kept *kept, size_t n, size_t max, struct tg_buf *json);
/* The opposite. What does not parse is left out: the call is then sent again. *kept is freed with
 * tg_kept_free. */
TG_MUST_CHECK int tg_kept_read(struct tg_str json, struct tg_kept **kept, size_t *n);
void tg_kept_free(struct tg_kept *kept, size_t n);

/* Pushes { status, headers, body, error, cut }; names of headers in lower case. May raise out of memory. */
void tg_lua_push_response(lua_State *L, const struct tg_response *r, bool cut);

/* The same of one that was kept. */
void tg_kept_push(lua_State *L, const struct tg_kept *k);

/* Pushes { name = value }: names in lower case, values of one name with commas between. */
void tg_lua_push_headers(lua_State *L, const struct tg_header *headers, size_t n);

#endif
