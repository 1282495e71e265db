/* The one table of every option: name, type, default, range, help and where its value goes. The loader checks
 * a file against it, `tidegate config --example` prints it, the documentation check reads it. */
#ifndef TG_CONFIG_OPTIONS_H
#define TG_CONFIG_OPTIONS_H

#include <stddef.h>

enum { TG_OPTION_PATH = 512 }; /* bytes of an option's path in problems: "destinations.impact.retry.first" */

enum tg_option_type {
    TG_OPT_STRING,   /* char * */
    TG_OPT_PATH,     /* char *, relative to the configuration file's folder */
    TG_OPT_BOOL,     /* bool */
    TG_OPT_SIZE,     /* uint64_t bytes: 1024, "4MiB", "10GB" */
    TG_OPT_DURATION, /* int64_t ms: "500ms", "8s", "10m", "4h", "7d" */
    TG_OPT_UINT,     /* unsigned */
    TG_OPT_COUNT,    /* uint64_t */
    TG_OPT_NUMBER,   /* double */
    TG_OPT_ENUM,     /* int: index into `words` */
    TG_OPT_WORD,     /* char *: one of `words` */
    TG_OPT_STRINGS,  /* struct tg_strings: { "a", "b" }, or one string */
    TG_OPT_PATHS,    /* struct tg_strings of paths */
    TG_OPT_QUOTA,    /* struct tg_quota: "50%" or a size */
    TG_OPT_OBJECT,   /* char *: JSON text of a table */
    TG_OPT_TABLE,    /* a nested table of options: `sub` */
    TG_OPT_SPECIAL   /* read by a function of its own, found by name: read_special.c */
};

struct tg_option {
    const char *name;
    enum tg_option_type type;
    size_t offset;               /* in the struct that the table fills */
    const char *def;             /* as one would write it (without quotes); NULL: none */
    double min, max;             /* inclusive, in units of the value; both 0: any */
    const char *words;           /* ENUM and WORD: "a b c" */
    const char *help;            /* one line */
    const char *example;         /* Lua text for the example; NULL: the default */
    const struct tg_option *sub; /* TABLE; ends with a NULL name */
    int required;
};

extern const struct tg_option tg_root_options[];
extern const struct tg_option tg_listen_options[];
extern const struct tg_option tg_source_options[];
extern const struct tg_option tg_destination_options[];

#endif
