/* Sources in memory: copying and freeing. */
#ifndef TG_SCRIPT_SOURCE_COPY_H
#define TG_SCRIPT_SOURCE_COPY_H

#include "script/host.h"

TG_MUST_CHECK int tg_source_copy(struct tg_script_source *to, const struct tg_script_source *from);
void tg_source_free(struct tg_script_source *source); /* zeroed afterwards */

#endif
