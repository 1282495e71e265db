/* The commented full configuration, printed from the option tables, so that it cannot fall behind them. */
#include "config/example.h"

#include "base/mem.h"
#include "config/options.h"

#include <ctype.h>

static bool bare(const struct tg_option *o) /* written without quotes */
{
    if (strcmp(o->def, "true") == 0 || strcmp(o->def, "false") == 0)
        return true;
    return o->type == TG_OPT_UINT || o->type == TG_OPT_COUNT || o->type == TG_OPT_NUMBER;
}

static int add_value(struct tg_buf *out, const struct tg_option *o)
{
    if (o->example)
        return tg_buf_adds(out, o->example);
    if (!o->def)
        return tg_buf_adds(out, "nil");
    return tg_buf_printf(out, bare(o) ? "%s" : "\"%s\"", o->def);
}

static int add_options(struct tg_buf *out, const struct tg_option *options, int indent);

/* Options without a default are shown but commented out, unless they are required. */
static int add_option(struct tg_buf *out, const struct tg_option *o, int indent)
{
    int rc = tg_buf_printf(out, "%*s-- %s%s%s\n", indent, "", o->help, o->words ? " One of: " : "",
                           o->words ? o->words : "");
    if (rc)
        return rc;
    if (o->sub) {
        rc = tg_buf_printf(out, "%*s%s = {\n", indent, "", o->name);
        if (!rc)
            rc = add_options(out, o->sub, indent + 2);
        return rc ? rc : tg_buf_printf(out, "%*s},\n", indent, "");
    }
    bool off = !o->def && !o->required && strcmp(o->name, "write_key") != 0 &&
               strcmp(o->name, "script") != 0 && strcmp(o->name, "settings") != 0;
    rc = tg_buf_printf(out, "%*s%s%s = ", indent, "", off ? "-- " : "", o->name);
    if (!rc)
        rc = add_value(out, o);
    return rc ? rc : tg_buf_adds(out, ",\n");
}

static int add_options(struct tg_buf *out, const struct tg_option *options, int indent)
{
    int rc = TG_OK;
    for (const struct tg_option *o = options; !rc && o->name; o++) {
        if (strcmp(o->name, "sources") == 0 && o->type == TG_OPT_SPECIAL) {
            rc = tg_buf_printf(out, "%*s-- %s\n%*ssources = {\n%*s{\n", indent, "", o->help, indent, "",
                               indent + 2, "");
            if (!rc)
                rc = add_options(out, tg_source_options, indent + 4);
            if (!rc)
                rc = tg_buf_printf(out, "%*s},\n%*s},\n", indent + 2, "", indent, "");
        } else if (strcmp(o->name, "destinations") == 0) {
            rc = tg_buf_printf(out, "%*s-- %s\n%*sdestinations = {\n%*shooks = {\n", indent, "", o->help,
                               indent, "", indent + 2, "");
            if (!rc)
                rc = add_options(out, tg_destination_options, indent + 4);
            if (!rc)
                rc = tg_buf_printf(out, "%*s},\n%*s},\n", indent + 2, "", indent, "");
        } else {
            rc = add_option(out, o, indent);
        }
    }
    return rc;
}

int tg_config_example(struct tg_buf *out)
{
    int rc =
        tg_buf_adds(out, "-- Every option of tidegate with its default. What is commented out has none.\n"
                         "-- env(\"NAME\", \"default\") reads the environment, file(\"path\") a file. Check "
                         "it: tidegate check -c FILE\n"
                         "return {\n");
    if (!rc)
        rc = add_options(out, tg_root_options, 2);
    return rc ? rc : tg_buf_adds(out, "}\n");
}
