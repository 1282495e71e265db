/* What a partner may put into its answer: header lines split in place, and the pause read from them. Input:
 * one byte for the status and the reset's unit, then the header lines. */
#include "base/mem.h"
#include "deliver/headers.h"
#include "deliver/judge.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 429, 503, 400};
    struct tg_buf raw = TG_BUF_INIT(1 << 20);
    struct tg_header *headers = NULL;
    if (size < 1 || tg_buf_add(&raw, data + 1, size - 1) != TG_OK)
        return 0;
    struct tg_response r = {.status = statuses[data[0] & 3]};
    r.n_headers = tg_headers_split(&raw, &headers);
    r.headers = headers;
    for (size_t i = 0; i < r.n_headers; i++)
        check(!strpbrk(headers[i].name, ":\n") && !strchr(headers[i].value, '\n'));
    struct tg_rate rate = {0};
    rate.reset = data[0] & 4 ? TG_RESET_SECONDS : TG_RESET_EPOCH;
    int64_t pause = tg_judge_pause(&r, &rate, 1767323045000);
    check(pause >= 0 && pause <= TG_PAUSE_MAX_MS);
    tg_free(headers);
    tg_buf_fini(&raw);
    return 0;
}
