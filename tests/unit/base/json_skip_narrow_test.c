/* The same tests for a machine without AVX2. */
#define TG_JSON_NARROW

#include "../../../src/base/json_skip.c"

#include "json_skip_test.c"
