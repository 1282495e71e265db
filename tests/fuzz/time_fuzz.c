/* Times: what parses is in range, and its ISO form means the same moment. Any text may be a format. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int64_t ms)
{
    char iso[TG_TIME_LEN + 1];
    int64_t back = TG_NO_TIME;
    tg_time_format(ms, iso);
    if (!tg_time_parse(tg_str_n(iso, TG_TIME_LEN), &back) || back != ms)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str text = tg_str_n((const char *)data, size);
    int64_t ms = 0;
    if (tg_time_parse(text, &ms))
        check(ms);
    if (tg_time_parse_http(text, &ms))
        check(ms);
    char *format = tg_strndup(text.p, text.n);
    struct tg_buf out = TG_BUF_INIT(256);
    if (!format || (tg_time_strftime(&out, format, ms) && out.len != 0))
        abort();
    tg_free(format);
    tg_buf_fini(&out);
    return 0;
}
