#include "deliver/headers.h"

#include "base/mem.h"

static void split_line(char *line, char *colon, struct tg_header *header)
{
    struct tg_str value = tg_str_trim(tg_str_of(colon + 1));
    *colon = 0;
    header->name = line;
    header->value = colon + 1 + (value.p - (colon + 1));
    header->value[value.n] = 0;
}

size_t tg_headers_split(struct tg_buf *raw, struct tg_header **out)
{
    size_t lines = 0, n = 0;
    for (size_t i = 0; i < raw->len; i++)
        lines += raw->data[i] == '\n';
    *out = lines ? tg_calloc(lines, sizeof **out) : NULL;
    if (!*out)
        return 0;
    char *p = raw->data, *end = raw->data + raw->len, *eol;
    for (; p < end && (eol = memchr(p, '\n', (size_t)(end - p))); p = eol + 1) {
        *eol = 0;
        char *colon = strchr(p, ':');
        if (colon)
            split_line(p, colon, &(*out)[n++]);
    }
    return n;
}
