#include "base/json_find.h"

#include "base/json_bytes.h"
#include "base/json_text.h"
#include "base/json_walk.h"

static bool is_object(struct tg_str v)
{
    return v.n && v.p[0] == '{';
}

bool tg_json_may_have(struct tg_str text, struct tg_str quoted)
{
    if (text.n == 0)
        return false;
    /* An escape could hide the name. */
    return memmem(text.p, text.n, quoted.p, quoted.n) ||
           (memchr(text.p, '\\', text.n) && memmem(text.p, text.n, "\\u", 2));
}

struct tg_str tg_json_get(struct tg_str object, const char *name)
{
    struct tg_str found = {0}, wanted = tg_str_of(name);
    if (!is_object(object))
        return found;
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w)) {
        if (tg_json_key_equals(w.key, wanted))
            found = w.value;
    }
    return found;
}

static struct tg_str item_at(struct tg_str array, struct tg_str step)
{
    size_t index = 0;
    if (step.n == 0 || step.n > 9 || (step.p[0] == '0' && step.n > 1))
        return (struct tg_str){0};
    for (size_t i = 0; i < step.n; i++) {
        if (!is_digit(step.p[i]))
            return (struct tg_str){0};
        index = index * 10 + (size_t)(step.p[i] - '0');
    }
    struct tg_json_walk w = tg_json_walk(array);
    while (tg_json_next(&w)) {
        if (index-- == 0)
            return w.value;
    }
    return (struct tg_str){0};
}

/* One step down. *whole is set when the member found is named by all that is left of the path. */
static struct tg_str step_down(struct tg_str value, struct tg_str step, struct tg_str rest, bool *whole)
{
    struct tg_str found = {0};
    *whole = false;
    if (!is_object(value))
        return item_at(value, step);
    struct tg_json_walk w = tg_json_walk(value);
    while (tg_json_next(&w)) {
        if (tg_json_key_equals(w.key, rest)) {
            found = w.value;
            *whole = true;
        } else if (!*whole && tg_json_key_equals(w.key, step)) {
            found = w.value;
        }
    }
    return found;
}

struct tg_str tg_json_path(struct tg_str value, struct tg_str path)
{
    if (!path.p)
        path.p = "";
    for (;;) {
        const char *dot = path.n ? memchr(path.p, '.', path.n) : NULL;
        struct tg_str step = dot ? tg_str_n(path.p, (size_t)(dot - path.p)) : path;
        bool whole;
        value = step_down(value, step, path, &whole);
        if (whole || !dot || value.n == 0)
            return value;
        path = tg_str_n(dot + 1, path.n - step.n - 1);
    }
}
