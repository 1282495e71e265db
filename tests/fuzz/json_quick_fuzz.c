/* Whatever the bytes: the quick validator and the scanner of json_validate.c, which here takes no short way,
 * say the same. */
#define TG_JSON_PORTABLE

#include "../../src/base/json_validate.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int able = -1;
    if (able < 0)
        able = tg_json_quick(TG_STR("1"), 0);
    struct tg_str text = tg_str_n((const char *)data, size);
    bool good = tg_json_validate(text, 16, NULL, NULL) == TG_OK;
    if (tg_json_quick(text, 16) != (able && good))
        abort();
    return 0;
}
