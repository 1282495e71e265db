#include "ingest/public_url.h"

#include "base/url.h"

enum { MAX_BYTES = 4096 };

void tg_public_url_init(struct tg_public_url *u)
{
    *u = (struct tg_public_url){.base = TG_BUF_INIT(MAX_BYTES)};
}

void tg_public_url_fini(struct tg_public_url *u)
{
    tg_buf_fini(&u->base);
}

int tg_public_url_set(struct tg_public_url *u, const char *url, struct tg_err *err)
{
    struct tg_url parts = {0};
    struct tg_buf base = TG_BUF_INIT(MAX_BYTES);
    int rc = url ? tg_url_parse(tg_str_of(url), &parts, err) : TG_OK;
    if (rc)
        return tg_err_prefix(err, "public_url");
    while (parts.path.n && parts.path.p[parts.path.n - 1] == '/')
        parts.path.n--;
    const char *start = url ? strstr(url, "://") + 3 : "";
    size_t authority = strcspn(start, "/?#");
    rc = tg_buf_addstr(&base, tg_str_n(start, authority));
    if (!rc)
        rc = tg_buf_addstr(&base, parts.path);
    if (rc) {
        tg_buf_fini(&base);
        return tg_fail(err, rc, "public_url: %s", tg_code_text(rc));
    }
    tg_buf_fini(&u->base);
    *u = (struct tg_public_url){base, parts.https};
    return TG_OK;
}
