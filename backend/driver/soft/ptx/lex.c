/* backend/driver/soft/ptx/lex.c */
#include "backend/driver/soft/ptx/lex.h"

#include <stdlib.h>
#include <string.h>

enum {
    C_NAME = 1,  /* starts a name */
    C_DIGIT = 2,
    C_SPACE = 4,
};

static const uint8_t classes[256] = {
    ['a' ... 'z'] = C_NAME, ['A' ... 'Z'] = C_NAME, ['_'] = C_NAME, ['$'] = C_NAME,
    ['%'] = C_NAME,         ['0' ... '9'] = C_DIGIT, [' '] = C_SPACE, ['\t'] = C_SPACE,
    ['\r'] = C_SPACE,       ['\f'] = C_SPACE,        ['\v'] = C_SPACE,
};

static inline uint8_t
class_of(char c)
{
    return classes[(unsigned char)c];
}

void
ptx_lex_start(struct ptx_lexer *lx, const char *text, uint32_t line)
{
    lx->p = text;
    lx->line = line;
    ptx_lex_next(lx);
}

static const char *
skip_comment(struct ptx_lexer *lx, const char *p)
{
    if (p[1] == '/') {
        while (*p != '\0' && *p != '\n')
            p++;
        return p;
    }
    p += 2;
    while (*p != '\0' && !(p[0] == '*' && p[1] == '/')) {
        if (*p == '\n')
            lx->line++;
        p++;
    }
    return *p == '\0' ? p : p + 2;
}

static const char *
skip_space(struct ptx_lexer *lx)
{
    const char *p = lx->p;

    for (;;) {
        if (class_of(*p) & C_SPACE) {
            p++;
        } else if (*p == '\n') {
            lx->line++;
            p++;
        } else if (*p == '/' && (p[1] == '/' || p[1] == '*')) {
            p = skip_comment(lx, p);
        } else {
            return p;
        }
    }
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static const char *
lex_hex(const char *p, unsigned max_digits, uint64_t *value_p)
{
    uint64_t v = 0;
    unsigned n;

    for (n = 0; n < max_digits && hex_digit(*p) >= 0; n++)
        v = v << 4 | (uint64_t)hex_digit(*p++);
    *value_p = v;
    return n == 0 ? NULL : p;
}

static const char *
lex_radix(const char *p, unsigned radix, uint64_t *value_p)
{
    uint64_t v = 0;
    const char *start = p;
    int d;

    while ((d = hex_digit(*p)) >= 0 && (unsigned)d < radix) {
        v = v * radix + (uint64_t)d;
        p++;
    }
    *value_p = v;
    return p == start ? NULL : p;
}

/* 1.5, 1e3: rare, only in text by hand. */
static const char *
lex_decimal_float(struct ptx_tok *t, const char *p)
{
    char buf[64];
    const char *end = p;
    double d;

    while ((class_of(*end) & C_DIGIT) || *end == '.' || *end == 'e' || *end == 'E' ||
           ((*end == '+' || *end == '-') && (end[-1] == 'e' || end[-1] == 'E')))
        end++;
    if ((size_t)(end - p) >= sizeof(buf))
        return NULL;
    memcpy(buf, p, (size_t)(end - p));
    buf[end - p] = '\0';
    d = strtod(buf, NULL);
    memcpy(&t->u64, &d, sizeof(d));
    t->kind = TOK_F64;
    return end;
}

static const char *
lex_number(struct ptx_tok *t, const char *p)
{
    const char *end;

    t->kind = TOK_INT;
    if (p[0] == '0' && (p[1] == 'f' || p[1] == 'F')) {
        t->kind = TOK_F32;
        return lex_hex(p + 2, 8, &t->u64);
    }
    if (p[0] == '0' && (p[1] == 'd' || p[1] == 'D')) {
        t->kind = TOK_F64;
        return lex_hex(p + 2, 16, &t->u64);
    }
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
        end = lex_radix(p + 2, 16, &t->u64);
    else if (p[0] == '0' && (p[1] == 'b' || p[1] == 'B'))
        end = lex_radix(p + 2, 2, &t->u64);
    else {
        end = lex_radix(p, 10, &t->u64);
        if (*end == '.' || *end == 'e' || *end == 'E')
            return lex_decimal_float(t, p);
        if (p[0] == '0')
            end = lex_radix(p, 8, &t->u64);
    }
    if (end != NULL && (*end == 'U' || *end == 'u'))
        end++;
    return end;
}

static const char *
lex_string(struct ptx_lexer *lx, const char *p)
{
    const char *start = ++p;

    while (*p != '\0' && *p != '"') {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (*p == '\n')
            lx->line++;
        p++;
    }
    lx->tok.kind = *p == '"' ? TOK_STRING : TOK_BAD;
    lx->tok.text = start;
    lx->tok.len = (uint32_t)(p - start);
    return *p == '"' ? p + 1 : p;
}

void
ptx_lex_next(struct ptx_lexer *lx)
{
    const char *p = skip_space(lx);
    struct ptx_tok *t = &lx->tok;
    const char *end;

    t->text = p;
    t->line = lx->line;
    if (class_of(*p) & C_NAME) {
        t->kind = TOK_NAME;
        for (end = p + 1; class_of(*end) & (C_NAME | C_DIGIT); end++)
            ;
    } else if (*p == '.' && (class_of(p[1]) & C_NAME)) {
        t->kind = TOK_DOT;
        for (end = p + 1; (class_of(*end) & (C_NAME | C_DIGIT)) || (end[0] == ':' && end[1] == ':') ||
                          (end[0] == ':' && end[-1] == ':');
             end++)
            ;
    } else if (class_of(*p) & C_DIGIT) {
        end = lex_number(t, p);
        if (end == NULL) {
            t->kind = TOK_BAD;
            end = p + 1;
        }
    } else if (*p == '"') {
        lx->p = lex_string(lx, p);
        return;
    } else if (*p == '\0') {
        t->kind = TOK_END;
        end = p;
    } else {
        t->kind = TOK_PUNCT;
        end = p + 1;
    }
    t->len = (uint32_t)(end - p);
    lx->p = end;
}

void
ptx_lex_extend_opcode(struct ptx_lexer *lx)
{
    const char *end = lx->p;

    while ((class_of(*end) & (C_NAME | C_DIGIT)) || *end == '.' || (end[0] == ':' && end[1] == ':') ||
           (end[0] == ':' && end[-1] == ':'))
        end++;
    lx->tok.len = (uint32_t)(end - lx->tok.text);
    lx->p = end;
}

bool
ptx_lex_skip_braces(struct ptx_lexer *lx)
{
    const char *p = lx->p;
    unsigned depth = 1;

    /* Nothing but braces, comments, strings and line ends matters here. */
    while (*p != '\0') {
        if (*p == '{') {
            depth++;
        } else if (*p == '}') {
            if (--depth == 0) {
                lx->p = p + 1;
                ptx_lex_next(lx);
                return true;
            }
        } else if (*p == '\n') {
            lx->line++;
        } else if (*p == '/' && (p[1] == '/' || p[1] == '*')) {
            p = skip_comment(lx, p);
            continue;
        } else if (*p == '"') {
            p = lex_string(lx, p);
            continue;
        }
        p++;
    }
    lx->p = p;
    return false;
}

bool
ptx_tok_eq(const struct ptx_tok *t, const char *word)
{
    size_t n = strlen(word);

    return t->len == n && memcmp(t->text, word, n) == 0;
}
