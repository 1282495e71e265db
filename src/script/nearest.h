/* "did you mean": the name of a list that is nearest to a misspelt one. */
#ifndef TG_SCRIPT_NEAREST_H
#define TG_SCRIPT_NEAREST_H

#include "base/str.h"

/* Keeps the nearest of the names shown to it. */
struct tg_nearest {
    struct tg_str wrong;
    char best[64]; /* empty while nothing is near */
    unsigned distance;
};
void tg_nearest_init(struct tg_nearest *n, struct tg_str wrong);
void tg_nearest_try(struct tg_nearest *n, struct tg_str name);
/* The nearest of a NULL-terminated list, or NULL when none is near. Points into the list. */
const char *tg_nearest_of(struct tg_str wrong, const char *const *names);

#endif
