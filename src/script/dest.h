/* Destinations: a script in an environment of its own, with settings. */
#ifndef TG_SCRIPT_DEST_H
#define TG_SCRIPT_DEST_H

#include "base/err.h"
#include "base/problems.h"
#include "script/contract.h"
#include "script/source.h"

/* What a configuration says of a destination. settings is JSON text of an object; where it came from is known
 * by path. */
struct tg_dest_spec {
    const char *name;
    const char *settings_path; /* "destinations.impact_uk.settings", for problems */
    struct tg_str settings;
    const struct tg_script_source *source;
    /* The configuration, when its destinations.<name>.filter is a function, else NULL: files[0] is its text,
     * the others are what env and file gave when it was checked, named "env:NAME" and "file:PATH". Copied. */
    const struct tg_script_source *config;
    const char *rates; /* JSON text of what the configuration's destinations.<name>.rates says, or NULL */
};
/* Loads the script in an environment of its own, checks its table and the settings (defaults filled in,
 * `check` called). Every problem is added to `problems` (never NULL); TG_INVALID when there was one. */
TG_MUST_CHECK int tg_dest_load(struct tg_host *host, const struct tg_dest_spec *spec, struct tg_dest **out,
                               struct tg_problems *problems);
void tg_dest_free(struct tg_dest **dest); /* its runs must be gone */
/* Empties its cache: a preview is that of the first event after a start. */
void tg_dest_forget(struct tg_dest *dest);

#endif
