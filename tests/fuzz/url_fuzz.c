/* URLs: the parts of what parses lie within the text in order; encoding and decoding are inverse; a walk over
 * a form ends and its pieces lie within the text. */
#include "base/url.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct tg_str whole, struct tg_str part)
{
    if (part.n && (part.p < whole.p || part.p + part.n > whole.p + whole.n))
        abort();
}

static void check_url(struct tg_str text)
{
    struct tg_url u;
    struct tg_err err = {0};
    if (tg_url_parse(text, &u, &err)) {
        if (err.code != TG_INVALID || !err.msg[0])
            abort();
        return;
    }
    if (u.port < 1 || u.port > 65535 || u.host.n == 0 || (u.path.n && u.path.p[0] != '/'))
        abort();
    within(text, u.scheme);
    within(text, u.host);
    within(text, u.path);
    within(text, u.query);
    within(text, u.fragment);
}

static void check_encoding(struct tg_str text)
{
    struct tg_buf there = TG_BUF_INIT(1 << 20), back = TG_BUF_INIT(1 << 20);
    if (tg_url_encode(&there, text) || tg_url_decode(&back, tg_buf_str(&there), true))
        abort();
    if (!tg_str_eq(tg_buf_str(&back), text))
        abort();
    tg_buf_clear(&back);
    if (tg_url_decode(&back, text, true) || back.len > text.n)
        abort();
    tg_buf_fini(&there);
    tg_buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str text = tg_str_n((const char *)data, size);
    if (size > 1 << 16)
        return 0;
    check_url(text);
    check_encoding(text);
    size_t pieces = 0;
    for (struct tg_form_walk w = tg_form_walk(text); tg_form_next(&w);) {
        within(text, w.name);
        within(text, w.value);
        if (++pieces > size)
            abort();
    }
    return 0;
}
