#include "deliver/poison.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { STRIKES_MAX = 2, SETTLED_MS = 120 * 1000, EXPIRE_MS = 3600 * 1000 };

static char *name_of(const char *destination, uint64_t mark)
{
    struct tg_buf name = TG_BUF_INIT(4096);
    char *text = NULL;
    if (tg_buf_printf(&name, "%s %llu", destination, (unsigned long long)mark) == TG_OK)
        text = tg_buf_take(&name, NULL);
    tg_buf_fini(&name);
    return text;
}

static struct tg_strike_entry *find(const struct tg_poison *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->entries[i].name, name) == 0)
            return &p->entries[i];
    return NULL;
}

static struct tg_strike_entry *add(struct tg_poison *p, const char *name)
{
    struct tg_strike_entry *entries = tg_realloc(p->entries, (p->n + 1) * sizeof *entries);
    if (!entries)
        return NULL;
    p->entries = entries;
    struct tg_strike_entry *e = &entries[p->n];
    memset(e, 0, sizeof *e);
    e->name = tg_strdup(name);
    if (!e->name)
        return NULL;
    p->n++;
    return e;
}

static int recall(void *arg, const char *name, struct tg_str value)
{
    struct tg_poison *p = arg;
    char text[128] = "";
    long long last = 0;
    struct tg_strike_entry *e = add(p, name);
    if (!e)
        return 1;
    memcpy(text, value.n ? value.p : "", value.n < sizeof text ? value.n : sizeof text - 1);
    if (sscanf(text, "%u %lld %63s", &e->count, &last, e->reason) < 2)
        e->count = 1;
    e->last = last;
    return 0;
}

int tg_poison_load(struct tg_poison *p, struct tg_state *s, struct tg_err *err)
{
    return tg_state_facts_each(s, "strike", recall, p, err);
}

void tg_poison_fini(struct tg_poison *p)
{
    for (size_t i = 0; i < p->n; i++)
        tg_free(p->entries[i].name);
    tg_free(p->entries);
    *p = (struct tg_poison){0};
}

int tg_poison_strike(struct tg_poison *p, struct tg_state *s, const char *destination, uint64_t mark,
                     const char *reason, int64_t now, struct tg_err *err)
{
    char text[128];
    char *name = name_of(destination, mark);
    struct tg_strike_entry *e = name ? find(p, name) : NULL;
    if (name && !e)
        e = add(p, name);
    if (!e) {
        tg_free(name);
        return tg_fail(err, TG_NOMEM, "strike: out of memory");
    }
    e->count++;
    e->last = now;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    int n = snprintf(text, sizeof text, "%u %lld %s", e->count, (long long)now, e->reason);
    int rc = tg_state_put_fact_now(s, "strike", name, tg_str_n(text, (size_t)n), err);
    tg_free(name);
    return rc;
}

const char *tg_poison_of(const struct tg_poison *p, const char *destination, uint64_t mark)
{
    if (p->n == 0)
        return NULL;
    char *name = name_of(destination, mark);
    struct tg_strike_entry *e = name ? find(p, name) : NULL;
    tg_free(name);
    return e && e->count >= STRIKES_MAX ? e->reason : NULL;
}

/* A fact that stays by mistake costs a look-up at each start, nothing else: numbers are not used twice. */
static bool drop(struct tg_poison *p, struct tg_state *s, struct tg_strike_entry *e)
{
    if (tg_state_put_fact(s, "strike", e->name, (struct tg_str){0}, NULL, NULL) != TG_OK)
        return false;
    tg_free(e->name);
    *e = p->entries[--p->n];
    return true;
}

void tg_poison_settled(struct tg_poison *p, const char *destination, uint64_t mark)
{
    if (p->n == 0)
        return;
    char *name = name_of(destination, mark);
    struct tg_strike_entry *e = name ? find(p, name) : NULL;
    if (e)
        e->settled = true;
    tg_free(name);
}

void tg_poison_expire(struct tg_poison *p, struct tg_state *s, int64_t now)
{
    for (size_t i = 0; i < p->n;) {
        struct tg_strike_entry *e = &p->entries[i];
        if (e->last > now - (e->settled ? SETTLED_MS : EXPIRE_MS) || !drop(p, s, e))
            i++;
    }
}

void tg_poison_forget(struct tg_poison *p, struct tg_state *s, const char *destination, uint64_t mark)
{
    if (p->n == 0)
        return;
    char *name = name_of(destination, mark);
    struct tg_strike_entry *e = name ? find(p, name) : NULL;
    if (e)
        (void)drop(p, s, e);
    tg_free(name);
}

unsigned tg_poison_recent(const struct tg_poison *p, const char *destination, int64_t since)
{
    size_t n = strlen(destination);
    unsigned count = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct tg_strike_entry *e = &p->entries[i];
        bool counts = e->last >= since && strncmp(e->name, destination, n) == 0 && e->name[n] == ' ' &&
                      strchr(e->name + n + 1, ' ') == NULL;
        bool of_no_event = counts && strcmp(e->name + n + 1, "0") == 0;
        count += of_no_event ? e->count : counts;
    }
    return count;
}
