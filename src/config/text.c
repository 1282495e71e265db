#include "config/text.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { MAX_INPUTS = 10000 };

int tg_config_text_read(struct tg_config_text *t, const char *path, struct tg_err *err)
{
    *t = (struct tg_config_text){0};
    t->path = tg_strdup(path);
    if (!t->path)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    int rc = tg_file_read(path, &t->text, &t->len, err);
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
