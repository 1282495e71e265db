#include "base/json_find.h"

#include "base/json_bytes.h"
#include "base/json_text.h"
#include "base/json_walk.h"

static bool is_object(struct tg_str v)
{
    return v.n && v.p[0] == '{';
}

#if USE_SSE2
/* Whether the needle begins among the sixteen bytes at p, which has so many more behind it. Where its first
 * and last byte stand at their distance, the rest is compared. */
static inline bool begins_in_16(const char *p, struct tg_str needle)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(p + needle.n - 1));
    __m128i first = _mm_cmpeq_epi8(x, _mm_set1_epi8(needle.p[0]));
    __m128i last = _mm_cmpeq_epi8(y, _mm_set1_epi8(needle.p[needle.n - 1]));
    for (unsigned at = (unsigned)_mm_movemask_epi8(_mm_and_si128(first, last)); at; at &= at - 1) {
        if (memcmp(p + __builtin_ctz(at), needle.p, needle.n) == 0)
            return true;
    }
    return false;
}
#endif

/* memmem for a short needle: what that prepares would cost more than the search. */
static bool has_quoted(struct tg_str text, struct tg_str quoted)
{
#if USE_SSE2
    const size_t block = 16 + quoted.n - 1;
    if (text.n >= block) {
        const char *p = text.p, *last = p + text.n - block;
        for (; p < last; p += 16) {
            if (begins_in_16(p, quoted))
                return true;
        }
        return begins_in_16(last, quoted); /* perhaps some bytes again */
    }
#endif
    return memmem(text.p, text.n, quoted.p, quoted.n) != NULL;
}

bool tg_json_may_have(struct tg_str text, struct tg_str quoted)
{
    if (text.n == 0)
        return false;
    /* An escape could hide the name. */
    return has_quoted(text, quoted) || (memchr(text.p, '\\', text.n) && memmem(text.p, text.n, "\\u", 2));
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
