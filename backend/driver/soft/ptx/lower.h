/* backend/driver/soft/ptx/lower.h -- from parsed bodies to decoded instructions
 *
 * ptx_lower_kernel makes the code of one kernel: its own function and all that it can call, each
 * lowered for this kernel alone (so that shared variables have one layout per kernel). Of a large
 * module (module.h) what can only be called by its address is left until it is called.
 * Inside, one struct lower works on one function:
 *   flow.c   basic blocks in reverse post-order
 *   live.c   live ranges, a row of the register file for each register
 *   lower.c  presets, operands, emission; lower_*.c  one rule per root opcode
 */
#ifndef SD_PTX_LOWER_H
#define SD_PTX_LOWER_H

#include "backend/driver/soft/exec/insn.h"
#include "backend/driver/soft/ptx/module.h"
#include "backend/driver/soft/ptx/sregs.h"

CUresult ptx_lower_kernel(struct ptx_func *kernel, struct sd_text *log_p,
                          struct sd_kernel_code **code_p);
/* One of the functions that were left for their first call. */
CUresult ptx_lower_late(const struct sd_kernel_code *code, uint32_t index, struct sd_text *log_p);

/* Values of function pointers and addresses of variables as kernels see them. */
uint64_t ptx_func_address(const struct ptx_func *f);
uint64_t ptx_var_address(const struct ptx_var *v); /* 0: not placed */

/* ---- inside ---- */

struct lower;

enum rule_flags {
    RULE_NO_DST = 1,  /* operand 0 is a source */
    RULE_CONTROL = 2, /* ends a basic block or moves lanes: a guard becomes a branch around it */
    RULE_ENDS = 4,    /* a basic block ends behind it */
};

struct lower_rule {
    const char *root;
    bool (*lower)(struct lower *lw, const struct ptx_insn *in);
    unsigned flags;
};

/* Tables of the lower_*.c files, ended by a NULL root. */
extern const struct lower_rule lower_alu_rules[], lower_cvt_rules[], lower_mem_rules[],
    lower_ctl_rules[], lower_warp_rules[], lower_mma_rules[], lower_video_rules[],
    lower_async_rules[], lower_cluster_rules[], lower_tex_rules[];

/* NULL: unknown opcode. Cached in the opcode. */
const struct lower_rule *lower_rule_of(struct ptx_opcode *op);

/* A lane-wise operation as ops.def describes it; sizes in bytes of a lane. */
struct lower_op {
    const char *name;
    uint16_t op;
    uint8_t n; /* source operands */
    bool compare;
    uint8_t size[5]; /* result, a, b, c, e */
};
const struct lower_op *lower_op_find(const char *name);

struct flow_block {
    uint32_t first, last;      /* instructions [first, last) */
    uint32_t order;            /* position in reverse post-order, UINT32_MAX: unreachable */
    uint32_t nsucc;
    uint32_t succ_first;       /* in lower.succs */
    uint32_t npred;
    uint32_t depth;            /* of loops around it */
    uint32_t start;            /* first decoded instruction */
    bool join;
};

/* A value that needs no instruction; row is filled in when it is first used. */
struct lower_preset {
    struct sd_preset p;
    bool used;
};

#define ROW_NONE UINT32_MAX

struct lower_var {
    const struct ptx_var *var;
    uint32_t offset;
};

/* One kernel. */
struct lower_kernel {
    struct ptx_module *m;
    struct sd_kernel_code *code;
    struct ptx_func **funcs; /* funcs[i] becomes code->fns[i] */
    uint32_t nfuncs, funcs_cap;
    uint32_t nnow; /* that are lowered with the kernel; the others when they are called */
    struct lower_var *shared;
    uint32_t nshared, shared_cap;
    uint32_t shared_bytes;
    bool indirect;
    struct sd_text *log;
};

struct lower {
    struct lower_kernel *k;
    struct ptx_func *f;
    struct ptx_body *b;
    struct sd_fn *fn;
    CUresult cr;

    struct flow_block *blocks;
    uint32_t nblocks;
    uint32_t *succs;
    uint32_t nsuccs, succs_cap;
    uint32_t *order;         /* block indices in reverse post-order */
    uint32_t norder;
    uint32_t *label_block;   /* of each label */

    /* references to registers: (register << 1 | is definition), refs_at[i] .. refs_at[i + 1) */
    uint32_t *refs;
    uint32_t nrefs, refs_cap;
    uint32_t *refs_at;

    uint32_t *reg_row;
    uint32_t *reg_alias;     /* preset + 1 */
    uint8_t *reg_defs;       /* 0, 1, 2: more */
    struct lower_preset *presets;
    uint32_t npresets, presets_cap;
    uint32_t *preset_table;  /* hash: preset + 1 */
    uint32_t preset_table_size;

    uint32_t rows_end;       /* next free byte of the frame */
    uint32_t quiet_rows, quiet_end; /* of quiet registers: live.c */
    uint32_t param_row, ret_row, call_row;
    uint32_t peak_words;
    uint32_t temps[4][16];   /* rows of temporaries: predicates, 2, 4, 8 bytes */
    uint32_t ntemps[4], used_temps[4];
    uint32_t pred_end;       /* next free byte among the predicates */

    struct sd_insn *out;
    uint32_t nout, out_cap;
    uint32_t *lines;
    uint32_t lines_cap;
    uint32_t line;
    struct { uint32_t insn, block; } *fixups;
    uint32_t nfixups, fixups_cap;
    uint32_t *extra;
    uint32_t nextra, extra_cap;
    struct sd_call_site *sites;
    uint32_t nsites, sites_cap;
    struct sd_call_copy *copies;
    uint32_t ncopies, copies_cap;
    struct lower_var *locals;
    uint32_t nlocals, locals_cap;
    uint32_t local_bytes;
    uint32_t cur_block;
};

bool lower_fail(struct lower *lw, const struct ptx_insn *in, const char *fmt, ...)
    GP_PRINTF(3, 4);
/* The opcode exists but this form of it does not, here. */
bool lower_unsupported(struct lower *lw, const struct ptx_insn *in);
bool lower_no_memory(struct lower *lw);

/* flow.c, live.c */
bool lower_flow(struct lower *lw);
bool lower_refs(struct lower *lw);
bool lower_rows(struct lower *lw);
unsigned lower_reg_bytes(const struct lower *lw, uint32_t reg); /* 0: predicate */

/* ---- emission ---- */
struct sd_insn *lower_emit(struct lower *lw, unsigned op, unsigned flags, uint32_t dst, uint32_t a,
                           uint32_t b, uint32_t c, uint32_t d);
/* Emit an operation of ops.def by name. */
bool lower_emit_op(struct lower *lw, const char *name, unsigned flags, uint32_t dst, uint32_t a,
                   uint32_t b, uint32_t c);
uint32_t lower_temp(struct lower *lw, unsigned bytes); /* 0: a predicate */
uint32_t lower_const(struct lower *lw, uint64_t value, unsigned bytes);
bool lower_extra(struct lower *lw, const uint32_t *rows, uint32_t n, uint32_t *at_p);

/* ---- operands; ROW_NONE after lower_fail ---- */
static inline const struct ptx_operand *
lower_opnd(const struct lower *lw, const struct ptx_insn *in, unsigned i)
{
    return &lw->b->operands[in->first + i];
}

uint32_t lower_src(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
                   unsigned bytes);
/* As a float immediate of the given width is meant: f32 or f64 by bytes. */
uint32_t lower_dst(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
                   unsigned bytes);
uint32_t lower_pred_src(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o);
uint32_t lower_pred_dst(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o);
bool lower_count(struct lower *lw, const struct ptx_insn *in, unsigned min, unsigned max);
/* Any register as a 4-byte or 8-byte value, widened or narrowed by zeros. */
uint32_t lower_src_as(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
                      unsigned bytes);
/* A constant operand's value, if it is one. */
bool lower_const_value(const struct lower *lw, const struct ptx_operand *o, uint64_t *value_p);
/* The same also of a register of that many bytes that only stands for a constant. */
bool lower_known_value(const struct lower *lw, const struct ptx_operand *o, unsigned bytes,
                       uint64_t *value_p);
/* Width of an operand's register, or fallback for others. */
unsigned lower_opnd_bytes(const struct lower *lw, const struct ptx_operand *o, unsigned fallback);
/* Lane width of a type in registers: 0 for predicates, at least 2 otherwise. */
unsigned lower_type_bytes(unsigned type);

/* lower_mem.c */
bool lower_address(struct lower *lw, const struct ptx_insn *in, const struct ptx_operand *o,
                   enum ptx_space space, uint32_t *row_p, int32_t *offset_p);
uint32_t lower_shared_offset(const struct lower *lw, const struct ptx_var *v);
enum ptx_space lower_space(const struct ptx_opcode *op);

/* Does an operation on shared memory reach that of the whole cluster? */
static inline bool
lower_in_cluster(const struct ptx_opcode *op)
{
    return ptx_has(op, W_shared_cluster);
}

/* lower_mem.c: enum sd_atom_op and enum sd_atom_type; false: none that this machine has. */
bool lower_atom_kind(const struct ptx_opcode *op, unsigned *op_p, unsigned *type_p);

/* lower_cluster.c */
bool lower_barrier_cluster(struct lower *lw, const struct ptx_insn *in);
bool lower_store_async(struct lower *lw, const struct ptx_insn *in, unsigned operation,
                       unsigned type);

#endif
