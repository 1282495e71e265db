/* Finding scripts and the library on disk, and reading them whole. A script is a folder with an init.lua; its
 * other *.lua files (not those in fixtures/) are modules that it may require. Used where a snapshot is built
 * and by the command line; nothing of Lua runs. */
#ifndef TG_SCRIPT_FOLDERS_H
#define TG_SCRIPT_FOLDERS_H

#include "base/err.h"
#include "script/source.h"

/* The shipped folders: ../share/tidegate beside the running program, else the checkout that it lies in (as
 * build/<flavour>/tidegate) or was built in (TG_SOURCE_DIR), else under the install prefix (TG_PREFIX
 * "/share/tidegate"). NULL when none is there. Static storage. */
const char *tg_scripts_shipped_dir(void); /* …/destinations */
const char *tg_lua_shipped_dir(void);     /* …/lua */

/* Reads script `name` from the first of `dirs` (n of them) that has <dir>/<name>/init.lua, then from the
 * shipped folder. `name` must be a plain file name. TG_NOTFOUND names every folder searched and the nearest
 * script that there is. */
TG_MUST_CHECK int tg_script_source_find(const char *const *dirs, size_t n, const char *name,
                                        struct tg_script_source *out, struct tg_err *err);
/* Reads the library (tidegate.lua and tidegate/….lua) from `dir`, NULL: the shipped folder. */
TG_MUST_CHECK int tg_script_library_find(const char *dir, struct tg_script_source *out, struct tg_err *err);

/* Names of all scripts in `dirs` and the shipped folder, sorted, each once. Freed with tg_free each and the
 * array too. */
TG_MUST_CHECK int tg_script_names(const char *const *dirs, size_t n, char ***names, size_t *count,
                                  struct tg_err *err);
/* The folder of a script, into path. */
TG_MUST_CHECK int tg_script_folder(const char *const *dirs, size_t n, const char *name, char *path,
                                   size_t size, struct tg_err *err);

#endif
