#include "ingest/browser_script.h"

#include "base/digest.h"

enum { MAX_BYTES = 16 * 1024 * 1024, TAG_BYTES = 16 };

/* As short as the vendor's CDN has it: a new file shall be in the pages soon. */
#define CACHE "Cache-Control: public, max-age=120\r\n"

void tg_browser_script_init(struct tg_browser_script *s)
{
    *s = (struct tg_browser_script){.text = TG_BUF_INIT(MAX_BYTES)};
}

void tg_browser_script_fini(struct tg_browser_script *s)
{
    tg_buf_fini(&s->text);
}

static int make_tag(struct tg_browser_script *s)
{
    unsigned char digest[TG_DIGEST_MAX];
    size_t len;
    struct tg_buf tag = TG_BUF_INIT(sizeof s->tag - 1);
    int rc = tg_digest(TG_SHA256, tg_buf_str(&s->text), digest, &len);
    if (!rc)
        rc = tg_buf_addc(&tag, '"');
    if (!rc)
        rc = tg_hex(&tag, digest, TAG_BYTES);
    if (!rc)
        rc = tg_buf_addc(&tag, '"');
    if (!rc) {
        memcpy(s->tag, tag.data, tag.len);
        s->tag[tag.len] = 0;
    }
    tg_buf_fini(&tag);
    return rc;
}

int tg_browser_script_set(struct tg_browser_script *s, const char *text, struct tg_err *err)
{
    struct tg_browser_script next;
    tg_browser_script_init(&next);
    int rc = tg_buf_addstr(&next.text, tg_str_of(text));
    if (!rc && next.text.len)
        rc = make_tag(&next);
    if (rc) {
        tg_browser_script_fini(&next);
        return tg_fail(err, rc, "analytics_js: %s", tg_code_text(rc));
    }
    tg_browser_script_fini(s);
    *s = next;
    return TG_OK;
}

bool tg_browser_script_is_known(const struct tg_browser_script *s, struct tg_str if_none_match)
{
    /* A list of tags, weak ones among them; ours is nobody else's part. */
    return if_none_match.n && (tg_str_is(if_none_match, "*") ||
                               memmem(if_none_match.p, if_none_match.n, s->tag, strlen(s->tag)));
}

int tg_browser_script_lines(const struct tg_browser_script *s, struct tg_buf *lines)
{
    return tg_buf_printf(lines, "ETag: %s\r\n" CACHE, s->tag);
}
