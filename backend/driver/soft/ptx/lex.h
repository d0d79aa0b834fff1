/* backend/driver/soft/ptx/lex.h -- tokens of PTX text
 *
 * The text must be NUL-terminated; the lexer never reads past the NUL. Tokens are slices of the
 * text: they live as long as it does. Threads: one lexer, one thread.
 */
#ifndef SD_PTX_LEX_H
#define SD_PTX_LEX_H

#include <stdbool.h>
#include <stdint.h>

enum ptx_tok_kind {
    TOK_END,
    TOK_NAME,   /* identifier: %r1, $L__BB0_1, foo, _ */
    TOK_DOT,    /* directive or type: .reg, .f32, .shared::cta; the slice keeps its dot */
    TOK_INT,    /* value in u64 */
    TOK_F32,    /* bits in u64: 0fXXXXXXXX */
    TOK_F64,    /* bits in u64: 0dXXXXXXXXXXXXXXXX or decimal */
    TOK_STRING, /* without its quotes */
    TOK_PUNCT,  /* one character in text[0] */
    TOK_BAD,
};

struct ptx_tok {
    enum ptx_tok_kind kind;
    const char *text;
    uint32_t len;
    uint32_t line;
    uint64_t u64;
};

struct ptx_lexer {
    const char *p;
    uint32_t line;
    struct ptx_tok tok; /* the current token */
};

void ptx_lex_start(struct ptx_lexer *lx, const char *text, uint32_t line);
/* Move to the next token. */
void ptx_lex_next(struct ptx_lexer *lx);
/*
 * The current token is a name: extend it by everything that belongs to an opcode
 * ("ld" -> "ld.global.v4.f32"), then stay on it.
 */
void ptx_lex_extend_opcode(struct ptx_lexer *lx);
/* The current token is '{': move behind its matching '}'; false at the end of the text. */
bool ptx_lex_skip_braces(struct ptx_lexer *lx);

static inline bool
ptx_tok_is(const struct ptx_tok *t, char c)
{
    return t->kind == TOK_PUNCT && t->text[0] == c;
}

bool ptx_tok_eq(const struct ptx_tok *t, const char *word);

#endif
