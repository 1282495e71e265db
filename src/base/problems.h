/* A list of everything that is wrong with an input, so that all of it is reported at once: each problem has a
 * path
 * ("destinations.impact_uk.settings.campaignId"), a reason ("required") and, where known, file and line. */
#ifndef TG_BASE_PROBLEMS_H
#define TG_BASE_PROBLEMS_H

#include "base/buf.h"

struct tg_problem {
    char *where;  /* file:line, or NULL */
    char *path;   /* or NULL */
    char *reason; /* what is wrong and what to do */
};

struct tg_problems {
    struct tg_problem *items;
    size_t n, cap;
    size_t lost; /* problems for which there was no memory, or past the limit of 1000 */
};

void tg_problems_init(struct tg_problems *p);
void tg_problems_fini(struct tg_problems *p);
/* where and path may be NULL. What has been said in the same words is not said again. Never fails: what
 * cannot be kept is counted in `lost`. */
void tg_problem_add(struct tg_problems *p, const char *where, const char *path, const char *fmt, ...)
    TG_PRINTF(4, 5);
/* Takes out those from index `from` on of which `is` says so. */
void tg_problems_drop(struct tg_problems *p, size_t from,
                      bool (*is)(const struct tg_problem *problem, void *arg), void *arg);
/* One line each: "where: path: reason". */
TG_MUST_CHECK int tg_problems_print(const struct tg_problems *p, struct tg_buf *out);
static inline bool tg_problems_any(const struct tg_problems *p)
{
    return p->n || p->lost;
}

#endif
