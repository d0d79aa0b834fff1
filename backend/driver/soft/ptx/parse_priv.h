/* backend/driver/soft/ptx/parse_priv.h -- what parse.c, vars.c and body.c share */
#ifndef SD_PTX_PARSE_PRIV_H
#define SD_PTX_PARSE_PRIV_H

#include "backend/driver/soft/ptx/lex.h"
#include "backend/driver/soft/ptx/module.h"

struct ptx_parser {
    struct ptx_lexer lx;
    struct ptx_module *m;
    struct ptx_arena *arena; /* the module's, or that of the body which is parsed */
    struct sd_text *log;
    CUresult cr; /* the first error; parsing goes on only while CUDA_SUCCESS */
};

/* Note the first error of this text; always returns false. */
bool ptx_fail(struct ptx_parser *ps, const char *fmt, ...) GP_PRINTF(2, 3);
bool ptx_fail_memory(struct ptx_parser *ps);
/* The current token must be this punctuation; moves on. */
bool ptx_expect(struct ptx_parser *ps, char c);
/* If the current token is this punctuation, move on. */
bool ptx_accept(struct ptx_parser *ps, char c);
bool ptx_expect_name(struct ptx_parser *ps, struct ptx_name *name_p);
/* A constant integer expression. */
bool ptx_const_int(struct ptx_parser *ps, int64_t *value_p);
struct ptx_name ptx_tok_name(const struct ptx_tok *t);
bool ptx_skip_statement(struct ptx_parser *ps);

/* vars.c: ".align 4 .b8 name[16] = {...}" after the space word, up to and without ';' or ','. */
struct ptx_var_head {
    enum ptx_space space;
    enum ptx_linkage linkage;
    enum ptx_type type;
    uint32_t align;
    uint32_t vec;
    bool managed;
};
bool ptx_parse_var_head(struct ptx_parser *ps, struct ptx_var_head *head);
/* One declarator; *var_p lives in the parser's arena. */
bool ptx_parse_var(struct ptx_parser *ps, const struct ptx_var_head *head, struct ptx_var **var_p);
/* ".param .align 8 .b8 name[24]" or ".reg .b32 name" at the current token. */
bool ptx_parse_param(struct ptx_parser *ps, struct ptx_param *param_p);
/* "(.param .b32 a, ...)"; the list lives in the parser's arena. */
bool ptx_parse_params(struct ptx_parser *ps, struct ptx_param **params_p, uint32_t *n_p);
enum ptx_space ptx_space_of(const struct ptx_tok *t);

#endif
