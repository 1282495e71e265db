/* What the demo relays: for every script its sample (fixtures/sample.lua), with every address of the partner
 * replaced by the stand-in's, and the configuration file that follows from it. */
#ifndef TG_DAEMON_DEMO_CONFIG_H
#define TG_DAEMON_DEMO_CONFIG_H

#include "base/buf.h"

struct tg_demo_item {
    char *script;
    char *event;     /* JSON */
    char *settings;  /* Lua table text */
    unsigned caught; /* requests so far */
};

struct tg_demo {
    struct tg_demo_item *items;
    size_t n;
};

/* `catcher` is host:port of the stand-in; each script reaches it as http://<script>.localhost:<port>, so that
 * its requests can be told apart. Scripts without a sample are left out. */
TG_MUST_CHECK int tg_demo_collect(const char *catcher, struct tg_demo *demo, struct tg_err *err);
void tg_demo_fini(struct tg_demo *demo);

/* The configuration: a source per script (write key demo-<script>) whose events reach that script only, and
 * the source "demo" (write key "demo") whose events reach all. */
TG_MUST_CHECK int tg_demo_config(const struct tg_demo *demo, const char *listen, const char *admin,
                                 const char *spool, struct tg_buf *out);

#endif
