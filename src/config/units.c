#include "config/units.h"

#include <stdlib.h>

struct unit {
    const char *name;
    double factor;
};

static bool parse_unit(struct tg_str text, const struct unit *units, double *out)
{
    text = tg_str_trim(text);
    char digits[32];
    size_t n = 0;
    while (n < text.n && n < sizeof digits - 1 &&
           ((text.p[n] >= '0' && text.p[n] <= '9') || text.p[n] == '.'))
        digits[n] = text.p[n], n++;
    digits[n] = '\0';
    char *end;
    double number = strtod(digits, &end);
    if (n == 0 || *end)
        return false;
    struct tg_str unit = tg_str_trim(tg_str_n(text.p + n, text.n - n));
    for (; units->name; units++) {
        if (tg_str_ieq(unit, units->name)) {
            *out = number * units->factor;
            return true;
        }
    }
    return false;
}

bool tg_parse_size(struct tg_str text, double *bytes)
{
    static const struct unit units[] = {
        {"", 1},      {"B", 1},      {"KB", 1e3},      {"MB", 1e6},           {"GB", 1e9},
        {"TB", 1e12}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
        {NULL, 0},
    };
    return parse_unit(text, units, bytes);
}

bool tg_parse_duration(struct tg_str text, double *ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"min", 6e4}, {"h", 36e5}, {"d", 864e5}, {NULL, 0},
    };
    return parse_unit(text, units, ms);
}
