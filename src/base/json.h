/* JSON text: validate it once, then look into it without building anything.
 *
 * tg_json_validate checks grammar (RFC 8259), UTF-8 and depth. Every other reader here takes validated text
 * only and returns spans of it. A string value's span includes its quotes; text behind escapes comes from
 * tg_json_text. Lone surrogates (\ud800 without its half) are valid as escapes and are kept; where text must
 * be decoded they become U+FFFD. */
#ifndef TG_BASE_JSON_H
#define TG_BASE_JSON_H

#include "base/json_find.h"
#include "base/json_number.h"
#include "base/json_quote.h"
#include "base/json_text.h"
#include "base/json_utf8.h"
#include "base/json_validate.h"
#include "base/json_walk.h"

#endif
