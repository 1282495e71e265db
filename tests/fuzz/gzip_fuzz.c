/* gzip: any bytes, fed in two pieces, end in a code and never pass the ceiling; what was packed comes back.
 * The first byte chooses the format and where to cut. */
#include "base/gzip.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CEILING = 1 << 16 };

static int inflate_cut(struct tg_str in, bool deflate, size_t cut, struct tg_buf *out, bool *complete)
{
    struct tg_inflate *z;
    if (tg_inflate_new(&z, deflate))
        abort();
    int rc = tg_inflate_feed(z, tg_str_n(in.p, cut), out, NULL);
    if (!rc)
        rc = tg_inflate_feed(z, tg_str_n(in.p + cut, in.n - cut), out, NULL);
    *complete = tg_inflate_complete(z);
    tg_inflate_free(&z);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > CEILING)
        return 0;
    struct tg_str in = tg_str_n((const char *)data + 1, size - 1);
    struct tg_buf out = TG_BUF_INIT(CEILING), packed = TG_BUF_INIT(2 * CEILING);
    bool complete;
    size_t cut = in.n * (data[0] >> 1) / 127;
    int rc = inflate_cut(in, data[0] & 1, cut, &out, &complete);
    if (out.len > CEILING || (rc && complete) || (rc && rc != TG_INVALID && rc != TG_TOOBIG))
        abort();
    tg_buf_clear(&out);
    if (tg_gzip(&packed, in, 1 + data[0] % 9) ||
        inflate_cut(tg_buf_str(&packed), false, packed.len / 2, &out, &complete))
        abort();
    if (!complete || !tg_str_eq(tg_buf_str(&out), in))
        abort();
    tg_buf_fini(&out);
    tg_buf_fini(&packed);
    return 0;
}
