/* The same tests over the 64-bit loops, which other processors use. */
#define TG_JSON_PORTABLE

#include "../../../src/base/json_find.c"
#include "../../../src/base/json_quote.c"
#include "../../../src/base/json_text.c"
#include "../../../src/base/json_utf8.c"
#include "../../../src/base/json_validate.c"
#include "../../../src/base/json_walk.c"

#include "json_test.c"
