/* What SDKs fetch before they send (ingest contract section 5; RudderStack's boot). */
#ifndef TG_INGEST_SETTINGS_REPLY_H
#define TG_INGEST_SETTINGS_REPLY_H

#include "base/buf.h"

#include <stdbool.h>

/* analytics.js and mobile settings. base: the Host header that the browser used, or host and path of the
 * public URL; empty or unfit: apiHost is left out. */
TG_MUST_CHECK int tg_settings_segment(struct tg_buf *out, struct tg_str write_key, struct tg_str base,
                                      bool https);
/* RudderStack's sourceConfig, for an enabled source without device-mode destinations. */
TG_MUST_CHECK int tg_settings_rudder(struct tg_buf *out, struct tg_str source, struct tg_str write_key);

#endif
