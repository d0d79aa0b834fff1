/* backend/driver/soft/ptx/module.h -- a parsed PTX module
 *
 * All names are slices of the module's own copy of the text or of its arena, so everything lives
 * until ptx_module_destroy. Function bodies are parsed when they are needed: ptx_body_parse. In a
 * large module they go again when they are lowered, and what is only called by its address is not
 * even parsed before it is called: ptx_names_of tells what such a function needs.
 * Threads: one at a time, except read-only use after the module was finished.
 */
#ifndef SD_PTX_MODULE_H
#define SD_PTX_MODULE_H

#include "backend/driver/soft/exec/exec.h"
#include "protocol/base/util.h"

#include <stdarg.h>

struct ptx_name {
    const char *text;
    uint32_t len;
};

struct ptx_arena {
    struct ptx_chunk *chunks;
    char *p, *end;
};

/* ---- types ---- */

enum ptx_type {
    PT_NONE,
    PT_PRED,
    PT_B8, PT_U8, PT_S8,
    PT_B16, PT_U16, PT_S16, PT_F16, PT_BF16,
    PT_B32, PT_U32, PT_S32, PT_F32, PT_F16X2, PT_BF16X2, PT_TF32,
    PT_B64, PT_U64, PT_S64, PT_F64, PT_F32X2,
    PT_B128,
    PT_E4M3, PT_E5M2, PT_E4M3X2, PT_E5M2X2, PT_UE8M0X2,
    PT_U16X2, PT_S16X2,
    PT_U4, PT_S4, PT_B1, PT_TEXREF, PT_SAMPLERREF, PT_SURFREF,
    PT_COUNT,
};

/* Bytes of a type in memory; 0 for PT_PRED and the sub-byte types. */
unsigned ptx_type_bytes(enum ptx_type t);
const char *ptx_type_text(enum ptx_type t);
bool ptx_type_signed(enum ptx_type t);
/* "f32" -> PT_F32; PT_NONE if it is no type. */
enum ptx_type ptx_type_find(const char *text, size_t len);

/* ---- opcodes ---- */

enum ptx_word {
    W_NONE,
#define W(id, text) W_##id,
#include "backend/driver/soft/ptx/words.def"
#undef W
    W_COUNT,
};

#define PTX_OP_TYPES_MAX 5

/* One opcode string taken apart; one per distinct string and module. */
struct ptx_opcode {
    struct ptx_name text; /* "ld.global.v4.f32" */
    struct ptx_name root; /* "ld" */
    uint8_t ntypes;
    uint8_t nwords;
    uint8_t unknown;      /* holds a word that is in no table */
    uint8_t types[PTX_OP_TYPES_MAX];
    uint8_t words[14];    /* enum ptx_word, in order */
    uint64_t set[(W_COUNT + 63) / 64];
    const void *rule;     /* the lowering's cache; NULL until found */
    uint32_t cookie;      /* the lowering's cache */
};

static inline bool
ptx_has(const struct ptx_opcode *op, enum ptx_word w)
{
    return op->set[w / 64] >> (w % 64) & 1;
}

bool ptx_root_is(const struct ptx_opcode *op, const char *root);

/* ---- variables and functions ---- */

enum ptx_space {
    SPACE_NONE, SPACE_REG, SPACE_GLOBAL, SPACE_CONST, SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM,
};

enum ptx_linkage {
    LINK_INTERNAL, LINK_VISIBLE, LINK_WEAK, LINK_COMMON, LINK_EXTERN,
};

/* (address of name + addend) masked and shifted, written to bytes of the variable. */
struct ptx_reloc {
    struct ptx_name name;
    uint64_t offset;
    int64_t addend;
    uint64_t mask;  /* ~0 without a mask */
    uint8_t bytes;
    uint8_t shift;
    bool generic;
};

struct ptx_var {
    struct ptx_name name;
    enum ptx_space space;
    enum ptx_linkage linkage;
    enum ptx_type type;
    uint32_t align;
    uint64_t bytes;    /* 0: unsized array */
    bool managed;
    uint8_t *init;     /* bytes long, or NULL for zeros */
    uint64_t init_bytes;
    struct ptx_reloc *relocs;
    uint32_t nrelocs;
    uint32_t line;
    uint32_t index;    /* in the module's list of device variables */
    uint64_t address;  /* of device variables, once placed */
    struct ptx_module *module;
    struct ptx_var *alias_of; /* the definition in another module, after linking */
    const struct ptx_func *named_by;
};

struct ptx_param {
    struct ptx_name name;
    enum ptx_type type;
    uint32_t align;
    uint32_t bytes;
    uint32_t offset;
    bool in_register;
};

struct ptx_body;

struct ptx_func {
    struct ptx_name name;
    struct ptx_module *module;
    bool entry;
    bool defined;
    bool address_taken;
    bool noreturn;
    enum ptx_linkage linkage;
    uint32_t line;
    struct ptx_param *params;
    uint32_t nparams;
    uint32_t param_bytes;
    struct ptx_param *rets;
    uint32_t nrets;
    uint32_t ret_bytes;
    uint32_t max_ntid[3];
    uint32_t req_ntid[3];
    uint32_t req_cluster[3];
    uint32_t max_cluster; /* 0: not said */
    bool explicit_cluster, blocks_are_clusters;
    uint32_t min_nctapersm;
    const char *body_text; /* at the opening brace */
    uint32_t body_line;
    struct ptx_body *body; /* NULL until parsed, or given up since */
    bool keep_body;        /* others point into it */
    struct ptx_names *names; /* NULL until asked for */
    const struct ptx_func *named_by; /* the last one that was found to name it */
    uint32_t index;        /* in the module; the number in a function pointer */
    struct ptx_func *alias_of;
};

/* Text of a module, or of all that were linked, from which on it is large. */
#ifndef PTX_LARGE_TEXT /* the fuzzer's is small */
#define PTX_LARGE_TEXT (1u << 20)
#endif

/* ---- function bodies ---- */

enum ptx_operand_kind {
    OPND_NONE,
    OPND_REG,   /* reg; neg: !p */
    OPND_INT,   /* imm */
    OPND_F32,   /* imm holds the bits */
    OPND_F64,
    OPND_SREG,  /* reg: enum sd_sreg */
    OPND_VAR,   /* module variable or local/shared variable: sym + imm */
    OPND_FUNC,  /* func */
    OPND_LABEL, /* reg: index in body->labels once resolved */
    OPND_PARAM, /* parameter or call parameter: reg: index in body->pvars; + imm */
    OPND_LIST,  /* {a, b} or (a, b): reg: first in body->operands, count */
    OPND_PAIR,  /* p|q: reg: first of two in body->operands */
    OPND_SINK,  /* _ */
    OPND_TABLE, /* .branchtargets, .calltargets or .callprototype name; reg: index */
};

struct ptx_operand {
    uint8_t kind;
    uint8_t address; /* 1: in brackets, base is this operand, imm the offset */
    uint8_t neg;     /* 1: !p or ~, -x for a register */
    uint8_t count;
    uint32_t reg;
    union {
        int64_t imm;
        uint64_t bits;
    };
    union {
        struct ptx_var *var;
        struct ptx_func *func;
        struct ptx_name *name; /* label not yet resolved; of a register: .b0 .h1 .b3210 or NULL */
    };
};

struct ptx_insn {
    struct ptx_opcode *op;
    uint32_t line;
    uint32_t first; /* operands[first .. first + count) of the body */
    uint16_t count;
    uint16_t guard_neg;
    int32_t guard;  /* predicate register, -1: always */
};

struct ptx_reg {
    uint8_t type; /* enum ptx_type */
};

struct ptx_label {
    uint32_t insn;  /* index of the instruction that it stands before */
    uint32_t scope;
    struct ptx_name name;
};

/* A .param variable as a call's argument or result, or a function's own parameter. */
struct ptx_pvar {
    uint32_t bytes;
    uint32_t align;
    uint32_t offset; /* in the area of its class, bytes */
    uint8_t klass;   /* 0: own parameter, 1: own result, 2: for calls */
    uint8_t type;
    int32_t reg;     /* own register parameter: its register, else -1 */
};

struct ptx_table {
    uint32_t kind; /* 0 branch targets, 1 call targets, 2 prototype */
    uint32_t first, count; /* branch targets: labels in body->targets */
    uint32_t param_bytes, ret_bytes; /* prototype */
    uint32_t nparams, nrets;
    struct ptx_name name;
    uint32_t scope;
};

struct ptx_body {
    struct ptx_func *func;
    struct ptx_insn *insns;
    uint32_t ninsns, insns_cap;
    struct ptx_operand *operands;
    uint32_t noperands, operands_cap;
    struct ptx_reg *regs;
    uint32_t nregs, regs_cap;
    struct ptx_label *labels;
    uint32_t nlabels, labels_cap;
    struct ptx_pvar *pvars;
    uint32_t npvars, pvars_cap;
    struct ptx_table *tables;
    uint32_t ntables, tables_cap;
    uint32_t *targets; /* label indices */
    uint32_t ntargets, targets_cap;
    struct ptx_var **vars; /* .local and .shared variables of the function */
    uint32_t nvars, vars_cap;
    uint32_t call_param_bytes;
    struct ptx_arena arena; /* what belongs to it alone */
};

/* What a function's text names, each once. Some of it may be hidden by names of its own. */
struct ptx_names {
    struct ptx_func **funcs;
    uint32_t nfuncs, funcs_cap;
    struct ptx_var **shared; /* of the module */
    uint32_t nshared, shared_cap;
    bool own_shared; /* it declares shared variables itself */
};

/* Text into a module; log_p may be NULL. Errors as sd_module_parse. */
CUresult ptx_module_parse(const char *text, size_t len, struct sd_text *log_p,
                          struct ptx_module **module_p);
void ptx_module_destroy(struct ptx_module *m);

/* Parse a body; once parsed it stays. Errors: INVALID_PTX, OUT_OF_MEMORY. */
CUresult ptx_body_parse(struct ptx_func *f, struct sd_text *log_p);
void ptx_body_destroy(struct ptx_body *b);
/* Give a parsed body up that can be parsed again. */
void ptx_body_drop(struct ptx_func *f);
/* What a function names, found without parsing it: names.c. Errors: OUT_OF_MEMORY. */
CUresult ptx_names_of(struct ptx_func *f, const struct ptx_names **names_p);
void ptx_names_destroy(struct ptx_names *names);

/* The parameters' layout: a kernel's is what launches fill, of a function each begins a word. */
void ptx_params_layout(struct ptx_param *params, uint32_t n, bool kernel, uint32_t *bytes_p);

/* The module that owns the numbering of functions. */
struct ptx_module *ptx_root(struct ptx_module *m);
/* What a name stands for after linking. */
const struct ptx_var *ptx_var_final(const struct ptx_var *v);
struct ptx_func *ptx_func_final(struct ptx_func *f);

/* ---- inside the parser and the linker ---- */

enum ptx_sym_kind {
    SYM_NONE,
    SYM_REG,
    SYM_REG_RANGE, /* %r<n>: the name is the prefix */
    SYM_VAR,
    SYM_FUNC,
    SYM_PVAR,
    SYM_TABLE,
};

struct ptx_sym {
    struct ptx_name name;
    uint32_t hash;
    uint32_t kind;
    uint32_t first, count; /* register, range, or index */
    void *object;
    struct ptx_sym *next;
};

struct ptx_symtab {
    struct ptx_sym **buckets;
    uint32_t nbuckets;
    uint32_t nsyms;
};

struct ptx_module {
    char *text;
    size_t len;
    uint32_t version;  /* 90 for 9.0 */
    uint32_t target;   /* 75 for sm_75 */
    bool seen_version;
    bool large; /* bodies are parsed when they are needed, functions lowered when they are called */
    struct ptx_arena arena;
    struct ptx_symtab symbols;
    struct ptx_var **vars; /* global and constant variables, and module shared ones */
    uint32_t nvars, vars_cap;
    struct ptx_func **funcs;
    uint32_t nfuncs, funcs_cap;
    struct ptx_opcode **opcodes; /* hash table */
    uint32_t opcodes_size, nopcodes;
    struct ptx_module *root;   /* that this one was linked into; NULL: itself */
    struct ptx_module *linked; /* next of those that were linked into the root; owned by it */
};

void *ptx_alloc(struct ptx_arena *a, size_t bytes); /* zeroed; NULL when out of memory */
void ptx_arena_free(struct ptx_arena *a);
char *ptx_strdup(struct ptx_arena *a, struct ptx_name n);
uint32_t ptx_hash(const char *text, size_t len);
struct ptx_sym *ptx_sym_find(const struct ptx_symtab *t, struct ptx_name name);
struct ptx_sym *ptx_sym_add(struct ptx_arena *a, struct ptx_symtab *t, struct ptx_name name,
                            enum ptx_sym_kind kind, void *object);
/* The opcode of a string, taken apart and cached; NULL when out of memory. */
struct ptx_opcode *ptx_opcode_get(struct ptx_module *m, const char *text, uint32_t len);
/* Make room for one more element; false when out of memory. */
bool ptx_grow(void *array_p, uint32_t count, uint32_t *cap_p, size_t element);
void sd_text_add(struct sd_text *log_p, const char *fmt, ...) GP_PRINTF(2, 3);

static inline bool
ptx_name_eq(struct ptx_name a, struct ptx_name b)
{
    return a.len == b.len && __builtin_memcmp(a.text, b.text, a.len) == 0;
}

static inline bool
ptx_name_is(struct ptx_name a, const char *text)
{
    return a.len == __builtin_strlen(text) && __builtin_memcmp(a.text, text, a.len) == 0;
}

#endif
