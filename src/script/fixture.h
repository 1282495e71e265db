/* A fixture file: a Lua table that says what a script makes of one event (lua/README.md has its keys). Read
 * in a throw-away state that offers nothing. Used by the fixture runner (which needs all of it) and by the
 * demo (settings and event of sample.lua). */
#ifndef TG_SCRIPT_FIXTURE_H
#define TG_SCRIPT_FIXTURE_H

#include "base/err.h"

#include <stdbool.h>

struct tg_fixture {
    char *name;         /* what it shows; the file's name where it says nothing */
    char *settings;     /* JSON object text */
    char *event;        /* JSON text, as given or encoded; of `events` an array of them */
    char *at;           /* ISO time of "now", or NULL */
    char *responses;    /* JSON array text of scripted responses, or NULL */
    char *expect;       /* JSON object text: {outcome, reason, requests}, or NULL */
    bool allow_private; /* http addresses in settings and requests */
};

/* TG_NOTFOUND when there is no such file; TG_SCRIPT names file, line and what is wrong. */
TG_MUST_CHECK int tg_fixture_load(const char *path, struct tg_fixture *fixture, struct tg_err *err);
void tg_fixture_fini(struct tg_fixture *fixture);

#endif
