#ifndef TG_CONFIG_EXAMPLE_H
#define TG_CONFIG_EXAMPLE_H

#include "base/buf.h"

/* The commented full configuration, as Lua text. */
TG_MUST_CHECK int tg_config_example(struct tg_buf *out);

#endif
