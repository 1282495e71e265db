/* The one home of heap allocation (`make lint` bans malloc and friends elsewhere), so that tests can make the
 * n-th allocation fail. Thread-safe. All return NULL when out of memory; a size of 0 yields a valid pointer.
 */
#ifndef TG_BASE_MEM_H
#define TG_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *tg_malloc(size_t size);
void *tg_calloc(size_t count, size_t size); /* zeroed; NULL too when count * size overflows */
void *tg_realloc(void *p, size_t size);     /* on failure p stays valid */
/* As tg_realloc, but never refused by tests: for a library that crashes when it is (lua_newstate of
 * LuaJIT 2.1). */
void *tg_realloc_vital(void *p, size_t size);
/* For allocators above these: counts as an allocation; true when a test wants it to fail. */
bool tg_mem_refuses(void);
void tg_free(void *p); /* NULL is fine */
char *tg_strdup(const char *s);
char *tg_strndup(const char *s, size_t n); /* n bytes of s and a NUL */
void *tg_memdup(const void *p, size_t n);

/* Tests only: the n-th allocation from now (1 = the next) and all after it fail; 0 switches this off. */
void tg_mem_fail_after(long n);
/* Tests only: whether an allocation has been refused since the last tg_mem_fail_after. */
int tg_mem_failed(void);

#endif
