/* Whatever the bytes: the scanner says yes or no, and what it has let pass can be walked, decoded, quoted and
 * printed, and comes back as itself. */
#include "base/json.h"

#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_string(struct tg_str string, size_t limit)
{
    struct tg_buf text = TG_BUF_INIT(limit), quoted = TG_BUF_INIT(8 * limit), again = TG_BUF_INIT(limit);
    struct tg_str plain;
    bool escaped;
    assert(tg_json_string_end(string.p, string.p + string.n, &escaped) == string.p + string.n);
    assert(tg_json_plain(string, &plain) == !escaped);
    if (tg_json_text(string, &text))
        abort();
    assert(tg_json_utf8(text.data, text.len) == text.len);
    if (tg_json_quote(&quoted, tg_buf_str(&text)) || tg_json_text(tg_buf_str(&quoted), &again))
        abort();
    assert(tg_str_eq(tg_buf_str(&text), tg_buf_str(&again)));
    assert(tg_json_validate(tg_buf_str(&quoted), 0, NULL, NULL) == TG_OK);
    tg_buf_fini(&text);
    tg_buf_fini(&quoted);
    tg_buf_fini(&again);
}

static void look_at_number(struct tg_str number)
{
    char text[TG_JSON_NUMBER_MAX];
    double x, again;
    int64_t i;
    if (tg_json_int(number, &i) && tg_json_double(number, &x))
        assert((double)i == x);
    if (!tg_json_double(number, &x))
        return;
    size_t n = tg_json_format(text, x);
    assert(n > 0 && tg_json_double(tg_str_n(text, n), &again) && again == x);
}

static void look_at(struct tg_str value, unsigned depth)
{
    struct tg_json_walk w = tg_json_walk(value);
    assert(value.n > 0 && depth <= 64);
    if (tg_json_type(value) == TG_JSON_STRING)
        look_at_string(value, value.n + 64);
    else if (tg_json_type(value) == TG_JSON_NUMBER)
        look_at_number(value);
    while (tg_json_next(&w)) {
        assert(w.whole.p >= value.p && w.whole.p + w.whole.n < value.p + value.n);
        if (w.key.n)
            look_at_string(w.key, w.key.n + 64);
        look_at(w.value, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str text = tg_str_n((const char *)data, size), value;
    struct tg_err err;
    struct tg_buf quoted = TG_BUF_INIT(8 * size + 16);
    if (tg_json_validate(text, 64, &value, &err) == TG_OK) {
        look_at(value, 0);
        (void)tg_json_path(value, TG_STR("a.0.b"));
    }
    /* Any bytes at all can be quoted, and the result is JSON. */
    if (tg_json_quote(&quoted, text) || tg_json_validate(tg_buf_str(&quoted), 0, NULL, NULL))
        abort();
    /* Walking what was never validated stays in bounds and ends. */
    struct tg_json_walk w = tg_json_walk(text);
    for (size_t steps = 0; tg_json_next(&w); steps++)
        assert(steps <= size);
    tg_buf_fini(&quoted);
    return 0;
}
