/* Writing what a script made of an event into its fixture, as what is expected from now on. */
#ifndef TG_DAEMON_FIXTURE_EDIT_H
#define TG_DAEMON_FIXTURE_EDIT_H

#include "base/buf.h"

/* Adds to `out` the fixture's text `source` with its `expect` replaced (or added) by what `got` says (as
 * tg_render does); nothing else of the text changes. TG_INVALID when the text is not a fixture that
 * tg_fixture_load reads, or when `got` holds what a fixture cannot say: null. */
TG_MUST_CHECK int tg_fixture_edit(struct tg_str source, struct tg_str got, struct tg_buf *out,
                                  struct tg_err *err);

#endif
