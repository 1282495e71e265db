/* Two steps for every 64 bytes. First masks, a bit a byte, made with AVX2: what is inside strings, and where
 * the tokens begin: brackets, colons, commas, opening quotes, the first bytes of numbers and words. Then the
 * tokens go through the grammar, a table of what may follow what; beside it only the kinds of the open
 * containers are kept. So the bytes inside strings, which are most, cost nothing each.
 *
 * Looked at more closely are words and numbers, and escapes; UTF-8 in a pass of its own, when there is a byte
 * that is not ASCII. Whoever gets false finds out with the scanner of json_validate.c what is wrong. */
#include "base/json_quick.h"

#include "base/json_block.h"
#include "base/json_bytes.h"
#include "base/json_utf8.h"

#if defined(__SSE2__)

#include <immintrin.h>

#define WIDE __attribute__((target("avx2,bmi")))

enum token {
    NO_TOKEN,
    STRING,
    COLON,
    COMMA,
    PUNCTUATION = COMMA, /* up to here nothing but the grammar has a say */
    SCALAR,
    OPEN_OBJECT,
    OPEN_ARRAY,
    CLOSE_OBJECT,
    CLOSE_ARRAY
};

/* By its first byte. */
static const unsigned char token_of[256] = {
    ['"'] = STRING,         [':'] = COLON,        [','] = COMMA,       ['{'] = OPEN_OBJECT,
    ['['] = OPEN_ARRAY,     ['}'] = CLOSE_OBJECT, [']'] = CLOSE_ARRAY, ['-'] = SCALAR,
    ['0' ... '9'] = SCALAR, ['t'] = SCALAR,       ['f'] = SCALAR,      ['n'] = SCALAR,
};

/* What is expected; each is the place of its row in the grammar. */
enum { ROW = 16 };
enum state {
    NOTHING = 0 * ROW, /* the text is wrong */
    VALUE = 1 * ROW,   /* the text's one */
    END = 2 * ROW,
    FIRST_KEY = 3 * ROW, /* or the object's end */
    KEY = 4 * ROW,
    KEY_COLON = 5 * ROW,
    MEMBER = 6 * ROW, /* a value */
    AFTER_MEMBER = 7 * ROW,
    FIRST_ITEM = 8 * ROW, /* or the array's end */
    ITEM = 9 * ROW,
    AFTER_ITEM = 10 * ROW,
    STATES = 11 * ROW
};

#define A_VALUE(in, then)                                                                                    \
    [(in) + STRING] = (then), [(in) + SCALAR] = (then), [(in) + OPEN_OBJECT] = FIRST_KEY,                    \
            [(in) + OPEN_ARRAY] = FIRST_ITEM

/* What a token makes of what was expected. Behind a closing bracket that depends on what it stands in: END is
 * written here for that. */
static const unsigned char grammar[STATES] = {
    A_VALUE(VALUE, END),
    [FIRST_KEY + STRING] = KEY_COLON,
    [FIRST_KEY + CLOSE_OBJECT] = END,
    [KEY + STRING] = KEY_COLON,
    [KEY_COLON + COLON] = MEMBER,
    A_VALUE(MEMBER, AFTER_MEMBER),
    [AFTER_MEMBER + COMMA] = KEY,
    [AFTER_MEMBER + CLOSE_OBJECT] = END,
    A_VALUE(FIRST_ITEM, AFTER_ITEM),
    [FIRST_ITEM + CLOSE_ARRAY] = END,
    A_VALUE(ITEM, AFTER_ITEM),
    [AFTER_ITEM + COMMA] = ITEM,
    [AFTER_ITEM + CLOSE_ARRAY] = END,
};

struct reader {
    const char *end;
    unsigned depth, max_depth;
    uint64_t objects[TG_JSON_DEPTH_CEILING / 64]; /* bit d: the container at depth d is an object */
    /* of the block before, for the next */
    uint64_t escape;    /* it ended with a backslash */
    uint64_t in_string; /* all ones: it ended inside a string */
    uint64_t in_scalar; /* it ended inside a number or word */
    bool ascii;         /* all so far */
};

/* --- what is looked at more closely --- */

static bool is_scalar(const char *p, const char *end)
{
    static const struct tg_str words[] = {TG_STR("true"), TG_STR("false"), TG_STR("null")};
    const char *behind = NULL;
    if (*p == '-' || is_digit(*p)) {
        behind = number_end(p, end);
    } else {
        const struct tg_str *word = &words[*p == 't' ? 0 : *p == 'f' ? 1 : 2];
        if ((size_t)(end - p) >= word->n && memcmp(p, word->p, word->n) == 0)
            behind = p + word->n;
    }
    return behind &&
           (behind == end || *behind == ',' || *behind == '}' || *behind == ']' || is_space(*behind));
}

/* p: the byte behind a backslash. */
static bool is_escape(const char *p, const char *end)
{
    unsigned code;
    if (p == end)
        return false;
    return *p == 'u' ? four_hex(p + 1, end, &code) : *p && strchr("\"\\/bfnrt", *p);
}

/* --- blocks --- */

struct marks {
    uint64_t quotes, backslashes, controls, brackets_and_such, spaces;
    bool ascii;
};

WIDE static inline uint64_t bits(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

#define EQUAL(x, y) _mm256_cmpeq_epi8(x, y)
#define EACH(c)     _mm256_set1_epi8(c)

/* Two look-ups by a byte's lower half each give the one byte with that half that is meant: of brackets, whose
 * two kinds differ in bit 5 alone, colon and comma; and of white space. Two control characters are taken for
 * a colon and a comma so; token_of knows better. */
WIDE static inline struct marks look(const char *p)
{
    enum { NO = 0x10 }; /* of lower half 0, and not at place 0: equal to no byte */
    const __m256i such = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, ':', '{', ',', '}', NO, NO));
    const __m256i blank = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(' ', NO, NO, NO, NO, NO, NO, NO, NO, '\t', '\n', NO, NO, '\r', NO, NO));
    const __m256i *from = (const __m256i *)(const void *)p;
    __m256i x = _mm256_loadu_si256(from), y = _mm256_loadu_si256(from + 1);
    __m256i folded_x = _mm256_or_si256(x, EACH(0x20)), folded_y = _mm256_or_si256(y, EACH(0x20));
    return (struct marks){
        .quotes = bits(EQUAL(x, EACH('"')), EQUAL(y, EACH('"'))),
        .backslashes = bits(EQUAL(x, EACH('\\')), EQUAL(y, EACH('\\'))),
        .controls = bits(EQUAL(_mm256_min_epu8(x, EACH(0x1f)), x), EQUAL(_mm256_min_epu8(y, EACH(0x1f)), y)),
        .brackets_and_such = bits(EQUAL(folded_x, _mm256_shuffle_epi8(such, x)),
                                  EQUAL(folded_y, _mm256_shuffle_epi8(such, y))),
        .spaces = bits(EQUAL(x, _mm256_shuffle_epi8(blank, x)), EQUAL(y, _mm256_shuffle_epi8(blank, y))),
        .ascii = !_mm256_movemask_epi8(_mm256_or_si256(x, y)),
    };
}

/* Takes escaped quotes out. p: where the block stands in the text. */
static bool use_backslashes(struct reader *r, struct marks *m, const char *p)
{
    uint64_t escaped = tg_json_escaped(m->backslashes, &r->escape);
    m->quotes &= ~escaped;
    for (uint64_t at = m->backslashes & ~escaped; at; at &= at - 1) {
        if (!is_escape(p + __builtin_ctzll(at) + 1, r->end))
            return false;
    }
    return true;
}

/* Where tokens begin in the block. False: a control character in a string. */
static inline bool find_tokens(struct reader *r, const struct marks *m, uint64_t *tokens)
{
    uint64_t inside = tg_json_running_xor(m->quotes) ^ r->in_string; /* with the opening quote */
    uint64_t scalar = ~(m->brackets_and_such | m->spaces), no_quote = scalar & ~m->quotes;
    uint64_t first = scalar & ~(no_quote << 1 | r->in_scalar);
    r->in_string = 0 - (inside >> (TG_JSON_BLOCK - 1));
    r->in_scalar = no_quote >> (TG_JSON_BLOCK - 1);
    *tokens = (m->brackets_and_such | first) & ~(inside ^ m->quotes);
    return !(m->controls & inside);
}

/* --- grammar --- */

static inline bool in_object(const struct reader *r)
{
    return r->objects[r->depth / 64] >> (r->depth % 64) & 1;
}

static bool open_container(struct reader *r, bool object)
{
    if (r->depth == r->max_depth)
        return false;
    r->depth++;
    uint64_t bit = 1ULL << (r->depth % 64), *word = &r->objects[r->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    return true;
}

static unsigned close_container(struct reader *r)
{
    if (--r->depth == 0)
        return END;
    return in_object(r) ? AFTER_MEMBER : AFTER_ITEM;
}

/* What is expected behind a token that is more than punctuation; `next` by the grammar. p: where it stands.
 */
static unsigned take(struct reader *r, unsigned token, unsigned next, const char *p)
{
    if (next == NOTHING)
        return NOTHING;
    switch (token) {
    case SCALAR:
        return is_scalar(p, r->end) ? next : NOTHING;
    case OPEN_OBJECT:
    case OPEN_ARRAY:
        return open_container(r, token == OPEN_OBJECT) ? next : NOTHING;
    default:
        return close_container(r);
    }
}

/* Takes the tokens of a block at p. From NOTHING no token leads anywhere. */
static inline unsigned take_tokens(struct reader *r, unsigned state, uint64_t tokens, const char *p)
{
    for (; tokens; tokens &= tokens - 1) {
        unsigned at = (unsigned)__builtin_ctzll(tokens), token = token_of[(unsigned char)p[at]];
        state = grammar[state + token];
        if (token > PUNCTUATION)
            state = take(r, token, state, p + at);
    }
    return state;
}

WIDE static bool read_text(struct reader *r, const char *text)
{
    unsigned state = VALUE;
    char last[TG_JSON_BLOCK];
    for (const char *p = text; p < r->end; p += TG_JSON_BLOCK) {
        struct marks m = look(r->end - p >= TG_JSON_BLOCK ? p : tg_json_padded(last, p, r->end));
        uint64_t tokens;
        if ((m.backslashes | r->escape) && !use_backslashes(r, &m, p))
            return false;
        if (!find_tokens(r, &m, &tokens))
            return false;
        state = take_tokens(r, state, tokens, p);
        if (state == NOTHING)
            return false;
        r->ascii &= m.ascii;
    }
    return state == END && !r->in_string;
}

bool tg_json_quick(struct tg_str text, unsigned max_depth)
{
    if (text.n == 0 || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi"))
        return false;
    struct reader r = {.end = text.p + text.n, .max_depth = max_depth, .ascii = true};
    return read_text(&r, text.p) && (r.ascii || tg_json_utf8(text.p, text.n) == text.n);
}

#else

bool tg_json_quick(struct tg_str text, unsigned max_depth)
{
    (void)text;
    (void)max_depth;
    return false;
}

#endif
