#include "script/folders.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "script/nearest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILES = 256, MAX_PATH = 4096, MAX_DEPTH = 3 };

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The folder that the running program is in; false where that is not known. */
static bool program_folder(char folder[MAX_PATH])
{
    ssize_t n = readlink("/proc/self/exe", folder, MAX_PATH - 1);
    folder[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return slash != NULL;
}

/* <root>/<name>, where <root> holds the library: another folder of that name is somebody else's. */
static bool in_root(const char *root, const char *more, const char *name, char *path, size_t size)
{
    int n = snprintf(path, size, "%s%s/lua/tidegate.lua", root, more);
    if (n < 0 || (size_t)n >= size || !is_file(path))
        return false;
    n = snprintf(path, size, "%s%s/%s", root, more, name);
    return n > 0 && (size_t)n < size && is_dir(path);
}

/* The program's own files come first: those of another version may be in the other places.
 * <prefix>/bin/tidegate has <prefix>/share/tidegate wherever it was moved to, build/<flavour>/tidegate has
 * the checkout. */
static const char *shipped(const char *name, char *path, size_t size)
{
    char program[MAX_PATH], real[MAX_PATH];
    if (program_folder(program) &&
        (in_root(program, "/../share/tidegate", name, path, size) ||
         in_root(program, "/../..", name, path, size)) &&
        strlen(path) < MAX_PATH && realpath(path, real)) {
        (void)snprintf(path, size, "%s", real);
        return path;
    }
    return in_root(TG_SOURCE_DIR, "", name, path, size) ||
                   in_root(TG_PREFIX, "/share/tidegate", name, path, size)
               ? path
               : NULL;
}

const char *tg_scripts_shipped_dir(void)
{
    static char path[2 * MAX_PATH];
    return shipped("destinations", path, sizeof path);
}

const char *tg_lua_shipped_dir(void)
{
    static char path[2 * MAX_PATH];
    return shipped("lua", path, sizeof path);
}

/* --- reading one folder --- */

/* Adds one file; `name` is relative to the script's folder. */
static int add_file(struct tg_script_source *s, const char *name, const char *path, struct tg_err *err)
{
    if (s->n_files == MAX_FILES)
        return tg_fail(err, TG_TOOBIG, "%s: more than %d files", path, MAX_FILES);
    struct tg_script_file *files = tg_realloc((void *)s->files, (s->n_files + 1) * sizeof *files);
    if (!files)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    s->files = files;
    char *text = NULL;
    size_t len = 0;
    int rc = tg_file_read(path, &text, &len, err);
    if (rc)
        return rc;
    files[s->n_files] = (struct tg_script_file){tg_strdup(name), tg_strdup(path), {text, len}};
    s->n_files++;
    if (!files[s->n_files - 1].name || !files[s->n_files - 1].path)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    return TG_OK;
}

static bool is_lua(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".lua") == 0;
}

static int by_visible_name(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Every *.lua below `dir`, sorted; folders too, but fixtures/. */
static int add_folder(struct tg_script_source *s, const char *dir, const char *prefix, int depth,
                      struct tg_err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, by_visible_name, alphasort);
    int rc = n < 0 ? tg_fail_errno(err, errno, "%s", dir) : TG_OK;
    for (int i = 0; i < n; i++) {
        char path[MAX_PATH], name[MAX_PATH];
        int a = snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        int b = snprintf(name, sizeof name, "%s%s", prefix, entries[i]->d_name);
        if (!rc && (a >= (int)sizeof path || b >= (int)sizeof name - 1))
            rc = tg_fail(err, TG_TOOBIG, "%s: the path is too long", dir);
        else if (!rc && is_lua(name) && is_file(path))
            rc = add_file(s, name, path, err);
        else if (!rc && depth < MAX_DEPTH && strcmp(entries[i]->d_name, "fixtures") != 0 && is_dir(path)) {
            name[b] = '/';
            name[b + 1] = '\0';
            rc = add_folder(s, path, name, depth + 1, err);
        }
        free(entries[i]); /* scandir's */
    }
    free(entries); /* scandir's */
    return rc;
}

static int read_source(const char *dir, const char *name, struct tg_script_source *out, struct tg_err *err)
{
    *out = (struct tg_script_source){0};
    out->name = tg_strdup(name);
    int rc = out->name ? add_folder(out, dir, "", 0, err) : tg_fail(err, TG_NOMEM, "out of memory");
    if (rc)
        tg_script_source_free(out);
    return rc;
}

/* tidegate.lua and what is in tidegate/; where LuaRocks installs there are other people's modules beside. */
static int read_library(const char *dir, const char *main, struct tg_script_source *out, struct tg_err *err)
{
    char folder[MAX_PATH];
    *out = (struct tg_script_source){0};
    out->name = tg_strdup("tidegate");
    int n = snprintf(folder, sizeof folder, "%s/tidegate", dir);
    int rc = out->name ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
    if (!rc)
        rc = add_file(out, "tidegate.lua", main, err);
    if (!rc && n > 0 && n < (int)sizeof folder && is_dir(folder))
        rc = add_folder(out, folder, "tidegate/", 0, err);
    if (rc)
        tg_script_source_free(out);
    return rc;
}

/* --- finding --- */

static bool plain_name(const char *name)
{
    return *name && name[0] != '.' && !strchr(name, '/') && strlen(name) < 64;
}

static bool try_folder(const char *dir, const char *name, char *path, size_t size)
{
    char init[MAX_PATH];
    int n = snprintf(init, sizeof init, "%s/%s/init.lua", dir, name);
    if (n < 0 || (size_t)n >= sizeof init || !is_file(init))
        return false;
    n = snprintf(path, size, "%s/%s", dir, name);
    return n >= 0 && (size_t)n < size;
}

static int say_missing(const char *const *dirs, size_t n, const char *name, struct tg_err *err)
{
    char **names = NULL;
    size_t count = 0;
    struct tg_buf text = TG_BUF_INIT(sizeof err->msg);
    int rc = tg_buf_printf(&text, "there is no script '%s'", name);
    if (!rc && tg_script_names(dirs, n, &names, &count, NULL) == TG_OK) {
        struct tg_nearest nearest;
        tg_nearest_init(&nearest, tg_str_of(name));
        for (size_t i = 0; i < count; i++)
            tg_nearest_try(&nearest, tg_str_of(names[i]));
        if (nearest.best[0])
            rc = tg_buf_printf(&text, "; did you mean '%s'?", nearest.best);
        else
            rc = tg_buf_addc(&text, '.');
    }
    for (size_t i = 0; i < n && !rc; i++)
        rc = tg_buf_printf(&text, "%s%s/%s/init.lua", i ? ", " : " Searched: ", dirs[i], name);
    const char *shipped = tg_scripts_shipped_dir();
    if (!rc)
        rc = tg_buf_printf(&text, "%s%s/%s/init.lua",
                           n ? ", " : " Searched: ", shipped ? shipped : "(no shipped scripts)", name);
    (void)tg_fail(err, TG_NOTFOUND, "%.*s%s", TG_STR_ARG(tg_buf_str(&text)), rc ? " …" : "");
    for (size_t i = 0; i < count; i++)
        tg_free(names[i]);
    tg_free(names);
    tg_buf_fini(&text);
    return TG_NOTFOUND;
}

int tg_script_folder(const char *const *dirs, size_t n, const char *name, char *path, size_t size,
                     struct tg_err *err)
{
    const char *shipped = tg_scripts_shipped_dir();
    if (!plain_name(name))
        return tg_fail(err, TG_INVALID, "'%.80s' is not a script's name: it is the name of a folder", name);
    for (size_t i = 0; i < n; i++) {
        if (try_folder(dirs[i], name, path, size))
            return TG_OK;
    }
    if (shipped && try_folder(shipped, name, path, size))
        return TG_OK;
    return say_missing(dirs, n, name, err);
}

int tg_script_source_find(const char *const *dirs, size_t n, const char *name, struct tg_script_source *out,
                          struct tg_err *err)
{
    char path[MAX_PATH];
    int rc = tg_script_folder(dirs, n, name, path, sizeof path, err);
    return rc ? rc : read_source(path, name, out, err);
}

int tg_script_library_find(const char *dir, struct tg_script_source *out, struct tg_err *err)
{
    char path[MAX_PATH];
    if (!dir)
        dir = tg_lua_shipped_dir();
    if (!dir)
        return tg_fail(err, TG_NOTFOUND,
                       "the folder of tidegate.lua is neither at ../share/tidegate/lua beside the program, "
                       "nor at %s, nor "
                       "at %s: name it with lua_path",
                       TG_SOURCE_DIR "/lua", TG_PREFIX "/share/tidegate/lua");
    int n = snprintf(path, sizeof path, "%s/tidegate.lua", dir);
    if (n < 0 || (size_t)n >= sizeof path || !is_file(path))
        return tg_fail(err, TG_NOTFOUND, "there is no tidegate.lua in %s", dir);
    return read_library(dir, path, out, err);
}

/* --- names --- */

static int add_name(char ***names, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*names)[i], name) == 0)
            return TG_OK;
    }
    char **more = tg_realloc(*names, (*count + 1) * sizeof *more);
    if (!more)
        return TG_NOMEM;
    *names = more;
    more[*count] = tg_strdup(name);
    return more[*count] ? ((*count)++, TG_OK) : TG_NOMEM;
}

static int add_names(char ***names, size_t *count, const char *dir)
{
    char path[MAX_PATH];
    struct dirent **entries = NULL;
    int rc = TG_OK, n = scandir(dir, &entries, by_visible_name, alphasort);
    for (int i = 0; i < n; i++) {
        if (!rc && plain_name(entries[i]->d_name) && try_folder(dir, entries[i]->d_name, path, sizeof path))
            rc = add_name(names, count, entries[i]->d_name);
        free(entries[i]); /* scandir's */
    }
    free(entries); /* scandir's */
    return rc;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int tg_script_names(const char *const *dirs, size_t n, char ***names, size_t *count, struct tg_err *err)
{
    const char *shipped = tg_scripts_shipped_dir();
    int rc = TG_OK;
    *names = NULL;
    *count = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = add_names(names, count, dirs[i]);
    if (!rc && shipped)
        rc = add_names(names, count, shipped);
    if (rc) {
        for (size_t i = 0; i < *count; i++)
            tg_free((*names)[i]);
        tg_free(*names);
        *names = NULL;
        *count = 0;
        return tg_fail(err, rc, "out of memory");
    }
    if (*count)
        qsort(*names, *count, sizeof **names, compare);
    return TG_OK;
}
