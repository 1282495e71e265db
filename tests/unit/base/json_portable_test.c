/* The same tests over the scanner's 64-bit loops, which other processors use. */
#define TG_JSON_PORTABLE

#include "../../../src/base/json.c"

#include "json_test.c"
