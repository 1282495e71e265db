/* The script's contract as a person or a tool wants it. */
#ifndef TG_SCRIPT_DESCRIBE_H
#define TG_SCRIPT_DESCRIBE_H

#include "base/buf.h"
#include "script/contract.h"

/* The script's contract as JSON (name, settings schema, hosts, rates, batches, accepted types):
 * documentation, `new`, coverage. */
TG_MUST_CHECK int tg_dest_describe(const struct tg_dest *dest, struct tg_buf *json);

#endif
