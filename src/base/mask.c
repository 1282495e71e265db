/* Each secret is kept in every form in which it may stand in text: as it is, percent-encoded, with JSON
 * escapes, and in base64, at each of the three positions that it can have within a longer encoded text
 * ("user:secret").
 *
 * The forms are sorted by their first four bytes, longest first. A bitmap over a hash of four bytes says for
 * nearly every position of a text that nothing begins there, so the cost does not grow with the number of
 * secrets. */
#include "base/mask.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"

#include <pthread.h>
#include <stdint.h>

enum { LEAST = 4, LEAST_INNER = 8, FORM_MAX = 1 << 20, BITS = 1 << 16 };

struct form {
    uint32_t head; /* the first four bytes */
    size_t n;
    unsigned char *p;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct form *forms; /* sorted by head, then length, longest first */
static size_t form_count, form_cap;
static unsigned char begins[BITS / 8];

static uint32_t head_of(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t bit_of(uint32_t head)
{
    return head * UINT32_C(2654435761) >> 16;
}

static int compare(const struct form *f, uint32_t head, size_t n)
{
    if (f->head != head)
        return f->head < head ? -1 : 1;
    return f->n == n ? 0 : f->n > n ? -1 : 1;
}

/* The first form that does not come before (head, n). */
static size_t place_of(uint32_t head, size_t n)
{
    size_t low = 0, high = form_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&forms[middle], head, n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool known(size_t at, struct tg_str text, uint32_t head)
{
    for (; at < form_count && compare(&forms[at], head, text.n) == 0; at++) {
        if (memcmp(forms[at].p, text.p, text.n) == 0)
            return true;
    }
    return false;
}

static int insert(struct tg_str text)
{
    if (text.n < LEAST)
        return TG_OK;
    uint32_t head = head_of((const unsigned char *)text.p);
    size_t at = place_of(head, text.n);
    if (known(at, text, head))
        return TG_OK;
    if (form_count == form_cap) {
        size_t cap = form_cap ? 2 * form_cap : 64;
        struct form *grown = tg_realloc(forms, cap * sizeof *forms);
        if (!grown)
            return TG_NOMEM;
        forms = grown;
        form_cap = cap;
    }
    unsigned char *copy = tg_memdup(text.p, text.n);
    if (!copy)
        return TG_NOMEM;
    memmove(&forms[at + 1], &forms[at], (form_count - at) * sizeof *forms);
    forms[at] = (struct form){.head = head, .n = text.n, .p = copy};
    form_count++;
    uint32_t bit = bit_of(head);
    begins[bit / 8] |= (unsigned char)(1u << bit % 8);
    return TG_OK;
}

static int insert_base64(struct tg_buf *scratch, struct tg_str value, bool url_safe)
{
    for (int padding = 0; padding < 2; padding++) {
        tg_buf_clear(scratch);
        int rc = tg_base64(scratch, value.p, value.n, url_safe, padding);
        if (!rc)
            rc = insert(tg_buf_str(scratch));
        if (rc)
            return rc;
    }
    return TG_OK;
}

/* The characters that depend on nothing but the value when `skip` of its bytes belong to a group of three
 * that began before it. */
static int insert_inner(struct tg_buf *scratch, struct tg_str value, size_t skip, bool url_safe)
{
    size_t n = value.n > skip ? (value.n - skip) / 3 * 3 : 0;
    tg_buf_clear(scratch);
    int rc = n ? tg_base64(scratch, value.p + skip, n, url_safe, false) : TG_OK;
    return rc || scratch->len < LEAST_INNER ? rc : insert(tg_buf_str(scratch));
}

static int insert_as_base64(struct tg_buf *scratch, struct tg_str value, struct tg_str with_colon)
{
    int rc = TG_OK;
    for (int url_safe = 0; !rc && url_safe < 2; url_safe++) {
        rc = insert_base64(scratch, value, url_safe);
        if (!rc)
            rc = insert_base64(scratch, with_colon, url_safe);
        for (size_t skip = 0; !rc && skip < 3; skip++)
            rc = insert_inner(scratch, value, skip, url_safe);
    }
    return rc;
}

static int insert_escaped(struct tg_buf *scratch, struct tg_str value)
{
    tg_buf_clear(scratch);
    int rc = tg_url_encode(scratch, value);
    if (!rc)
        rc = insert(tg_buf_str(scratch));
    if (rc)
        return rc;
    tg_buf_clear(scratch);
    rc = tg_json_quote(scratch, value);
    return rc ? rc : insert(tg_str_n(scratch->data + 1, scratch->len - 2)); /* without the quotes */
}

/* The buffers held the secret. */
static void wipe(struct tg_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    tg_buf_fini(b);
}

int tg_mask_add(struct tg_str value)
{
    if (value.n < LEAST)
        return TG_OK;
    struct tg_buf scratch = TG_BUF_INIT(FORM_MAX), with_colon = TG_BUF_INIT(FORM_MAX);
    int rc = tg_buf_addstr(&with_colon, value);
    if (!rc)
        rc = tg_buf_addc(&with_colon, ':');
    (void)pthread_rwlock_wrlock(&lock);
    if (!rc)
        rc = insert(value);
    if (!rc)
        rc = insert_escaped(&scratch, value);
    if (!rc)
        rc = insert_as_base64(&scratch, value, tg_buf_str(&with_colon));
    (void)pthread_rwlock_unlock(&lock);
    wipe(&scratch);
    wipe(&with_colon);
    return rc;
}

/* The length of the longest form that begins at p, 0 when there is none. */
static size_t match(const unsigned char *p, size_t left)
{
    if (left < LEAST)
        return 0;
    uint32_t head = head_of(p), bit = bit_of(head);
    if (!(begins[bit / 8] & 1u << bit % 8))
        return 0;
    for (size_t at = place_of(head, left); at < form_count && forms[at].head == head; at++) {
        if (memcmp(p, forms[at].p, forms[at].n) == 0)
            return forms[at].n;
    }
    return 0;
}

/* The search goes on inside of what is being masked: two secrets may overlap. */
static int mask(struct tg_buf *out, const unsigned char *p, size_t n)
{
    size_t hidden_to = 0, copied_to = 0; /* the second: everything before was copied or masked */
    for (size_t i = 0; i < n; i++) {
        size_t length = match(p + i, n - i);
        if (length == 0 || i + length <= hidden_to)
            continue;
        if (i >= hidden_to) {
            int rc = tg_buf_add(out, p + copied_to, i - copied_to);
            if (!rc)
                rc = tg_buf_adds(out, "***");
            if (rc)
                return rc;
        }
        hidden_to = copied_to = i + length;
    }
    return tg_buf_add(out, p + copied_to, n - copied_to);
}

int tg_mask_text(struct tg_buf *out, struct tg_str text)
{
    size_t before = out->len;
    (void)pthread_rwlock_rdlock(&lock);
    int rc =
        form_count && text.n ? mask(out, (const unsigned char *)text.p, text.n) : tg_buf_addstr(out, text);
    (void)pthread_rwlock_unlock(&lock);
    if (rc)
        out->len = before;
    return rc;
}

int tg_mask_header(struct tg_str name)
{
    static const char *const always[] = {"Authorization", "Proxy-Authorization",  "X-WSSE",
                                         "Cookie",        "Refersion-Public-Key", "Refersion-Secret-Key"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        if (tg_str_ieq(name, always[i]))
            return 1;
    }
    return 0;
}

void tg_mask_clear(void)
{
    (void)pthread_rwlock_wrlock(&lock);
    for (size_t i = 0; i < form_count; i++) {
        explicit_bzero(forms[i].p, forms[i].n);
        tg_free(forms[i].p);
    }
    tg_free(forms);
    forms = NULL;
    form_count = form_cap = 0;
    memset(begins, 0, sizeof begins);
    (void)pthread_rwlock_unlock(&lock);
}
