#include "ingest/item_values.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/time.h"

/* Times are kept only within the years that can be written. */
static const int64_t first_ms = INT64_C(-62167219200000);
static const int64_t last_ms = INT64_C(253402300799999);

static int decoded(struct tg_items *items, struct tg_str string, struct tg_str *out)
{
    if (tg_json_plain(string, out))
        return TG_OK;
    tg_buf_clear(&items->scratch);
    int rc = tg_json_text(string, &items->scratch);
    return rc ? rc : tg_items_keep_scratch(items, out);
}

static bool only_digits(struct tg_str number)
{
    for (size_t i = number.p[0] == '-'; i < number.n; i++) {
        if (number.p[i] < '0' || number.p[i] > '9')
            return false;
    }
    return true;
}

/* Digits as they are, so that none is lost; 1e3 and 1.50 as JavaScript would print them. */
static int number_text(struct tg_items *items, struct tg_str number, struct tg_str *out)
{
    double value;
    if (only_digits(number) || !tg_json_double(number, &value)) {
        *out = number;
        return TG_OK;
    }
    tg_buf_clear(&items->scratch);
    int rc = tg_json_number(&items->scratch, value);
    return rc ? rc : tg_items_keep_scratch(items, out);
}

int tg_item_text(struct tg_items *items, struct tg_str json, struct tg_str *text)
{
    *text = tg_str_n(NULL, 0);
    switch (tg_json_type(json)) {
    case TG_JSON_STRING:
        return decoded(items, json, text);
    case TG_JSON_NUMBER:
        return number_text(items, json, text);
    default:
        return TG_OK;
    }
}

static int64_t time_of_number(struct tg_str json)
{
    double value;
    if (!tg_json_double(json, &value))
        return TG_NO_TIME;
    if (value < 1e11 && value > -1e11)
        value *= 1000;
    return value >= (double)first_ms && value <= (double)last_ms ? (int64_t)value : TG_NO_TIME;
}

int64_t tg_item_time_of_text(struct tg_str text)
{
    int64_t ms;
    return tg_time_parse(tg_str_trim(text), &ms) ? ms : TG_NO_TIME;
}

int64_t tg_item_time(struct tg_str json)
{
    struct tg_str text;
    if (tg_json_type(json) == TG_JSON_NUMBER)
        return time_of_number(json);
    if (tg_json_plain(json, &text))
        return tg_item_time_of_text(text);
    if (tg_json_type(json) != TG_JSON_STRING || json.n > 200)
        return TG_NO_TIME;
    struct tg_buf unescaped = TG_BUF_INIT(200);
    int64_t ms = tg_json_text(json, &unescaped) ? TG_NO_TIME : tg_item_time_of_text(tg_buf_str(&unescaped));
    tg_buf_fini(&unescaped);
    return ms;
}

int64_t tg_item_corrected_time(int64_t received_at, int64_t sent_at, int64_t original)
{
    if (original == TG_NO_TIME)
        return received_at;
    return sent_at == TG_NO_TIME ? original : received_at - (sent_at - original);
}
