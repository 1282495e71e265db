/* The same tests over the 64-bit masks, which other processors use. */
#define TG_JSON_PORTABLE

#include "../../../src/base/json_skip.c"

#include "json_skip_test.c"
