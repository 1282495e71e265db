#include "deliver/shot_rate.h"

#include "base/clock.h"
#include "deliver/rate.h"

#include <stdio.h>

static const struct tg_rate *find_rate(const struct tg_dest *dest, const char *name)
{
    for (size_t i = 0; i < dest->n_rates; i++)
        if (strcmp(dest->rates[i].name, name) == 0)
            return &dest->rates[i];
    return NULL;
}

/* As it is in force: a reload that raises a rate must not wait for what the script before it has asked for.
 */
const struct tg_rate *tg_shot_rate(const struct shot *shot)
{
    const char *name = shot->deliveries[0]->request->rate;
    const struct script *now = shot->outlet->script;
    const struct tg_rate *rate = name && now ? find_rate(now->dest, name) : NULL;
    return rate || !name ? rate : find_rate(shot->script->dest, name);
}

/* The account that the script's rate names counts; without one each destination has its own. */
static tg_shared_cell *bucket_of(const struct outlet *o, const struct shot *shot, const struct tg_rate *rate)
{
    char name[512];
    const char *account = rate->account_key;
    bool shared = account && *account;
    int n = snprintf(name, sizeof name, "%s %s %s", shared ? shot->script->dest->script : "", rate->name,
                     shared ? account : o->name);
    return tg_shared_cell_of(o->engine->o.rates, "rate",
                             tg_str_n(name, (size_t)n < sizeof name ? (size_t)n : sizeof name - 1));
}

/* Takes a token. 0, or for how many microseconds there is none. */
int64_t tg_shot_take_token(const struct outlet *o, const struct shot *shot)
{
    const struct tg_rate *rate = tg_shot_rate(shot);
    tg_shared_cell *bucket = rate ? bucket_of(o, shot, rate) : NULL;
    return bucket ? tg_rate_take(bucket, rate->per_second, rate->burst, tg_mono_us()) : 0;
}

bool tg_shot_may_take_token(const struct outlet *o, const struct shot *shot)
{
    const struct tg_rate *rate = tg_shot_rate(shot);
    tg_shared_cell *bucket = rate ? bucket_of(o, shot, rate) : NULL;
    return !bucket || tg_rate_wait(bucket, rate->per_second, rate->burst, tg_mono_us()) == 0;
}
