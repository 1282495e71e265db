/* The files are those of lua/template/, with the name put in: they are linted and tested as what they are. */
#include "daemon/cmd_new.h"

#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/preview.h"
#include "script/folders.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 4096, NAME_MAX_LEN = 60, FILE_MAX = 1 << 20 };

static const char *const files[] = {"init.lua", "README.md", "fixtures/sample.lua", "fixtures/no-email.lua",
                                    "fixtures/write-me.lua"};

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    return n > 0 && n <= NAME_MAX_LEN && name[0] != '-';
}

static int put_name(struct tg_str text, const char *name, struct tg_buf *out)
{
    static const char mark[] = "@NAME@";
    const char *end = text.p + text.n;
    int rc = TG_OK;
    for (const char *p = text.p; !rc && p < end;) {
        const char *q = strstr(p, mark);
        rc = tg_buf_add(out, p, (size_t)((q ? q : end) - p));
        if (!rc && q)
            rc = tg_buf_adds(out, name);
        p = q ? q + sizeof mark - 1 : end;
    }
    return rc;
}

static int write_file(const char *path, struct tg_str text, struct tg_err *err)
{
    FILE *f = fopen(path, "wxe"); /* never over somebody's work */
    if (!f)
        return tg_fail_errno(err, errno, "%s", path);
    bool whole = fwrite(text.p, 1, text.n, f) == text.n;
    if (fclose(f) != 0 || !whole)
        return tg_fail_errno(err, errno, "%s", path);
    return TG_OK;
}

static int make_file(const char *folder, const char *file, const char *name, struct tg_err *err)
{
    char path[PATH_SIZE + 64];
    char *text = NULL;
    size_t len;
    struct tg_buf out = TG_BUF_INIT(FILE_MAX);
    (void)snprintf(path, sizeof path, "%s/template/%s", tg_lua_shipped_dir(), file);
    int rc = tg_preview_read(path, &text, &len, err);
    if (!rc && put_name(tg_str_n(text, len), name, &out))
        rc = tg_fail(err, TG_NOMEM, "out of memory");
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!rc)
        rc = write_file(path, tg_buf_str(&out), err);
    tg_buf_fini(&out);
    tg_free(text);
    return rc;
}

static int make_folder(const char *folder, struct tg_err *err)
{
    char fixtures[PATH_SIZE];
    if (mkdir(folder, 0777) != 0)
        return tg_fail_errno(err, errno, "%s", folder);
    int n = snprintf(fixtures, sizeof fixtures, "%s/fixtures", folder);
    if (n >= PATH_SIZE || mkdir(fixtures, 0777) != 0)
        return tg_fail_errno(err, errno, "%s/fixtures", folder);
    return TG_OK;
}

static int make(const char *dir, const char *name, struct tg_err *err)
{
    char folder[PATH_SIZE];
    int n = snprintf(folder, sizeof folder, "%s/%s", dir, name);
    if (n >= PATH_SIZE - 64)
        return tg_fail(err, TG_TOOBIG, "%s: the path is too long", dir);
    if (!good_name(name))
        return tg_fail(err, TG_INVALID,
                       "'%.80s' is not a script's name: letters, digits, _ and -, %d at most", name,
                       NAME_MAX_LEN);
    if (!tg_lua_shipped_dir())
        return tg_fail(err, TG_NOTFOUND, "the shipped folder lua/ is not there");
    (void)mkdir(dir, 0777); /* what is wrong with it is seen next */
    int rc = make_folder(folder, err);
    for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++)
        rc = make_file(folder, files[i], name, err);
    return rc;
}

int tg_cmd_new(int argc, char **argv)
{
    bool bad = false;
    struct tg_err err;
    const char *dir = tg_cli_option(&argc, argv, NULL, "--dir", &bad);
    if (bad || tg_cli_too_many(argc, argv, 1, 1))
        return TG_EXIT_USAGE;
    const char *name = argv[1];
    if (make(dir ? dir : ".", name, &err)) {
        (void)fprintf(stderr, "tidegate new: %s\n", err.msg);
        return TG_EXIT_FAILED;
    }
    (void)printf("%s/%s/\n", dir ? dir : ".", name);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)printf("  %s\n", files[i]);
    (void)printf("\nfixtures/write-me.lua fails, and says what to write:\n  tidegate test %s%s%s --watch\n",
                 name, dir ? " --scripts " : "", dir ? dir : "");
    (void)printf(
        "Then name the folder that it is in under `scripts` in the configuration, and a destination:\n"
        "  scripts = { \"%s\" }, destinations = { %s = { settings = { apiKey = env(\"API_KEY\") } } }\n",
        dir ? dir : ".", name);
    return TG_EXIT_OK;
}
