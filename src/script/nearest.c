#include "script/nearest.h"

#include <ctype.h>

enum { LONGEST = 63 };

/* Edits (insert, remove, replace, swap of neighbours counts as two) between two short names, case aside. */
static unsigned distance(struct tg_str a, struct tg_str b)
{
    unsigned row[LONGEST + 1];
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned up = row[j];
            bool same = tolower((unsigned char)a.p[i - 1]) == tolower((unsigned char)b.p[j - 1]);
            unsigned best = diagonal + !same;
            if (up + 1 < best)
                best = up + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[b.n];
}

void tg_nearest_init(struct tg_nearest *n, struct tg_str wrong)
{
    n->wrong = wrong;
    n->best[0] = '\0';
    n->distance = (unsigned)(wrong.n < 2    ? 0
                             : wrong.n <= 3 ? 1
                                            : 1 + wrong.n / 3) +
                  1; /* nearer than this counts */
}

void tg_nearest_try(struct tg_nearest *n, struct tg_str name)
{
    if (n->wrong.n > LONGEST || name.n > LONGEST)
        return;
    unsigned d = distance(n->wrong, name);
    if (d >= n->distance)
        return;
    n->distance = d;
    memcpy(n->best, name.p, name.n);
    n->best[name.n] = '\0';
}

const char *tg_nearest_of(struct tg_str wrong, const char *const *names)
{
    struct tg_nearest n;
    tg_nearest_init(&n, wrong);
    const char *found = NULL;
    for (; *names; names++) {
        unsigned before = n.distance;
        tg_nearest_try(&n, tg_str_of(*names));
        if (n.distance < before)
            found = *names;
    }
    return found;
}
