#include "ingest/request.h"

#include "base/json.h"

int tg_request_fault(struct tg_request_fault *fault, const char *code)
{
    fault->code = code;
    return TG_INVALID;
}

int tg_body_parse(struct tg_str text, unsigned max_depth, struct tg_str *body, struct tg_request_fault *fault)
{
    int rc = tg_json_validate(text, max_depth, body, &fault->err);
    if (rc == TG_TOOBIG) {
        (void)tg_fail(&fault->err, TG_INVALID, "the JSON is nested deeper than %u levels", max_depth);
        return tg_request_fault(fault, "json_too_deep");
    }
    if (rc) {
        (void)tg_err_prefix(&fault->err, "the body is not valid JSON");
        return tg_request_fault(fault, "invalid_json");
    }
    if (tg_json_type(*body) != TG_JSON_OBJECT) {
        (void)tg_fail(&fault->err, TG_INVALID, "the body must be one JSON object");
        return tg_request_fault(fault, "invalid_request");
    }
    return TG_OK;
}

int tg_body_write_key(struct tg_str body, struct tg_buf *out)
{
    struct tg_str key = tg_json_get(body, "writeKey");
    if (!key.n || tg_str_is(key, "\"\""))
        return TG_NOTFOUND;
    switch (tg_json_type(key)) {
    case TG_JSON_STRING:
        return tg_json_text(key, out);
    case TG_JSON_NUMBER:
        return tg_buf_addstr(out, key);
    default:
        return TG_NOTFOUND;
    }
}
