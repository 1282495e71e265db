#include "config/text.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_INPUTS = 10000 };

int tg_config_read_file(const char *path, char **out, size_t *len, struct tg_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tg_fail_errno(err, errno, "%s", path);
    struct tg_buf buf = TG_BUF_INIT(TG_CONFIG_MAX_FILE);
    int rc = TG_OK;
    for (;;) {
        rc = tg_buf_reserve(&buf,
                            65536 < TG_CONFIG_MAX_FILE - buf.len ? 65536 : TG_CONFIG_MAX_FILE - buf.len + 1);
        if (rc) {
            rc = tg_fail(err, rc, "%s: larger than %d MiB, or out of memory", path,
                         TG_CONFIG_MAX_FILE / 1048576);
            break;
        }
        ssize_t n = read(fd, buf.data + buf.len, buf.cap - buf.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = tg_fail_errno(err, errno, "%s", path);
        if (n <= 0)
            break;
        buf.len += (size_t)n;
    }
    (void)close(fd);
    if (!rc) {
        *out = tg_buf_take(&buf, len);
        if (!*out)
            rc = tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    }
    tg_buf_fini(&buf);
    return rc;
}

int tg_config_text_read(struct tg_config_text *t, const char *path, struct tg_err *err)
{
    *t = (struct tg_config_text){0};
    t->path = tg_strdup(path);
    if (!t->path)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    int rc = tg_config_read_file(path, &t->text, &t->len, err);
    if (rc == TG_NOTFOUND)
        (void)tg_err_prefix(
            err, "configuration (name another with -c, or print one with 'tidegate config --example')");
    if (rc)
        tg_config_text_fini(t);
    return rc;
}

void tg_config_text_fini(struct tg_config_text *t)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        tg_free(t->inputs[i].name);
        tg_free(t->inputs[i].value);
    }
    tg_free(t->inputs);
    tg_free(t->path);
    tg_free(t->text);
    *t = (struct tg_config_text){0};
}

struct tg_config_input *tg_config_input_find(struct tg_config_text *t, int kind, const char *name)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        if ((int)t->inputs[i].kind == kind && strcmp(t->inputs[i].name, name) == 0)
            return &t->inputs[i];
    }
    return NULL;
}

struct tg_config_input *tg_config_input_add(struct tg_config_text *t, int kind, const char *name, char *value,
                                            size_t len)
{
    struct tg_config_input *more = NULL;
    char *copy = tg_strdup(name);
    if (copy && t->n_inputs < MAX_INPUTS)
        more = tg_realloc(t->inputs, (t->n_inputs + 1) * sizeof *more);
    if (!more) {
        tg_free(copy);
        tg_free(value);
        return NULL;
    }
    t->inputs = more;
    more[t->n_inputs] = (struct tg_config_input){.kind = kind, .name = copy, .value = value, .len = len};
    return &more[t->n_inputs++];
}

bool tg_config_has_stand_in(struct tg_str text)
{
    return text.n && memmem(text.p, text.n, TG_CONFIG_STAND_IN, sizeof TG_CONFIG_STAND_IN - 1) != NULL;
}

bool tg_config_text_resolve(const struct tg_config_text *t, const char *path, char *out, size_t size)
{
    const char *slash = strrchr(t->path, '/');
    int folder = !slash ? 0 : slash == t->path ? 1 : (int)(slash - t->path);
    int n = path[0] == '/' || !slash ? snprintf(out, size, "%s", path)
                                     : snprintf(out, size, "%.*s/%s", folder, t->path, path);
    return n >= 0 && (size_t)n < size;
}
