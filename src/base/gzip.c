#include "base/gzip.h"

#include "base/mem.h"

#include <limits.h>
#include <stdint.h>
#include <zlib.h>

enum { LEAST_ROOM = 4096, GZIP_BITS = 16 + MAX_WBITS };

struct tg_inflate {
    z_stream z;
    bool deflate; /* zlib or raw, whichever comes; else gzip */
    bool begun;   /* the format is known and z is set up */
    bool ended;   /* at the end of a member */
    bool broken;
};

static voidpf z_alloc(voidpf opaque, uInt count, uInt size)
{
    (void)opaque;
    return tg_calloc(count, size);
}

static void z_release(voidpf opaque, voidpf p)
{
    (void)opaque;
    tg_free(p);
}

int tg_inflate_new(struct tg_inflate **out, bool deflate)
{
    struct tg_inflate *z = tg_calloc(1, sizeof *z);
    if (!z)
        return TG_NOMEM;
    z->deflate = deflate;
    z->z.zalloc = z_alloc;
    z->z.zfree = z_release;
    *out = z;
    return TG_OK;
}

void tg_inflate_free(struct tg_inflate **z)
{
    if (!*z)
        return;
    if ((*z)->begun)
        (void)inflateEnd(&(*z)->z);
    tg_free(*z);
    *z = NULL;
}

/* Senders disagree whether "deflate" has zlib's header. The first byte tells: zlib's is 8 in the lower half
 * and at most 7 in the upper; raw deflate could begin so only with a stored block whose padding bits are not
 * zero. */
static int window_bits(bool deflate, unsigned char first)
{
    if (!deflate)
        return GZIP_BITS;
    return (first & 0x0f) == 8 && first >> 4 <= 7 ? MAX_WBITS : -MAX_WBITS;
}

static int begin(struct tg_inflate *z, unsigned char first, struct tg_err *err)
{
    int rc = inflateInit2(&z->z, window_bits(z->deflate, first));
    if (rc != Z_OK)
        return tg_fail(err, TG_NOMEM, "decompress: out of memory");
    z->begun = true;
    return TG_OK;
}

/* Where the next bytes go: the buffer, or, when it is at its ceiling, one spare byte. The stream may still
 * have a trailer to read then, and must not have another byte to give. */
static int make_room(struct tg_inflate *z, struct tg_buf *out, unsigned char *spare)
{
    size_t room = out->max - out->len;
    if (room == 0) {
        z->z.next_out = spare;
        z->z.avail_out = 1;
        return TG_OK;
    }
    size_t want = z->z.avail_in > LEAST_ROOM / 4 ? (size_t)z->z.avail_in * 4 : LEAST_ROOM;
    int rc = tg_buf_reserve(out, want < room ? want : room);
    if (rc)
        return rc;
    if (room > out->cap - out->len)
        room = out->cap - out->len;
    z->z.next_out = (unsigned char *)out->data + out->len;
    z->z.avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
    return TG_OK;
}

/* One call of inflate. */
static int step(struct tg_inflate *z, struct tg_buf *out, struct tg_err *err)
{
    unsigned char spare;
    int rc = make_room(z, out, &spare);
    if (rc)
        return tg_fail(err, rc, "decompress: %s", tg_code_text(rc));
    uInt before = z->z.avail_out;
    bool full = z->z.next_out == &spare;
    int zrc = inflate(&z->z, Z_NO_FLUSH);
    size_t made = before - z->z.avail_out;
    if (full && made)
        return tg_fail(err, TG_TOOBIG, "decompress: more than %zu bytes", out->max);
    out->len += made;
    if (zrc == Z_STREAM_END)
        z->ended = true;
    else if (zrc == Z_MEM_ERROR)
        return tg_fail(err, TG_NOMEM, "decompress: out of memory");
    else if (zrc != Z_OK && zrc != Z_BUF_ERROR) /* the latter: it needs more input */
        return tg_fail(err, TG_INVALID, "decompress: %s", z->z.msg ? z->z.msg : "bad data");
    return TG_OK;
}

/* Takes what follows the end of a member: another member of gzip, nothing else. */
static int next_member(struct tg_inflate *z, struct tg_err *err)
{
    if (z->deflate)
        return tg_fail(err, TG_INVALID, "decompress: bytes behind the end");
    if (inflateReset(&z->z) != Z_OK)
        return tg_fail(err, TG_INVALID, "decompress: bad state");
    z->ended = false;
    return TG_OK;
}

static int feed(struct tg_inflate *z, struct tg_buf *out, struct tg_err *err)
{
    for (;;) {
        int rc = z->ended ? next_member(z, err) : TG_OK;
        if (!rc)
            rc = step(z, out, err);
        if (rc)
            return rc;
        /* Output left over means that inflate wants input; there may be more output only when it used all the
         * room. */
        if (z->z.avail_in == 0 && (z->ended || z->z.avail_out != 0))
            return TG_OK;
    }
}

int tg_inflate_feed(struct tg_inflate *z, struct tg_str in, struct tg_buf *out, struct tg_err *err)
{
    if (z->broken)
        return tg_fail(err, TG_INVALID, "decompress: the stream was broken before");
    if (in.n == 0)
        return TG_OK;
    if (in.n > UINT_MAX)
        return tg_fail(err, TG_TOOBIG, "decompress: too much at once");
    int rc = z->begun ? TG_OK : begin(z, (unsigned char)in.p[0], err);
    if (!rc) {
        z->z.next_in = (Bytef *)(uintptr_t)in.p;
        z->z.avail_in = (uInt)in.n;
        rc = feed(z, out, err);
    }
    z->broken = rc != TG_OK;
    return rc;
}

bool tg_inflate_complete(const struct tg_inflate *z)
{
    return z->ended && !z->broken;
}

int tg_gzip(struct tg_buf *out, struct tg_str in, int level)
{
    if (in.n > UINT_MAX)
        return TG_TOOBIG;
    z_stream z = {.zalloc = z_alloc, .zfree = z_release};
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return TG_NOMEM;
    size_t room = out->max - out->len, bound = deflateBound(&z, in.n);
    if (room > bound)
        room = bound; /* the real length is mostly far below the bound, so a ceiling below it may still do */
    if (room > UINT_MAX)
        room = UINT_MAX;
    int rc = tg_buf_reserve(out, room);
    if (!rc && room == 0)
        rc = TG_TOOBIG;
    if (!rc) {
        z.next_in = (Bytef *)(uintptr_t)in.p;
        z.avail_in = (uInt)in.n;
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)room;
        if (deflate(&z, Z_FINISH) == Z_STREAM_END)
            out->len += room - z.avail_out;
        else
            rc = TG_TOOBIG;
    }
    (void)deflateEnd(&z);
    return rc;
}
