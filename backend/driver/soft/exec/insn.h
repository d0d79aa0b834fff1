/* backend/driver/soft/exec/insn.h -- decoded instructions
 *
 * A function is one array of sd_insn in reverse post-order. Operands are byte offsets of rows
 * from the frame's register file: a row holds one value for each of the 32 lanes (64, 128 or
 * 256 bytes, 64-byte aligned); a predicate is one 32-bit mask. Constants and whatever is the
 * same in a whole launch are rows too, filled when a frame is made, so that handlers know one
 * kind of operand only.
 */
#ifndef SD_INSN_H
#define SD_INSN_H

#include "backend/driver/soft/exec/exec.h"

#define SD_LANES_ALL 0xffffffffu

/* Flags of arithmetic instructions. */
#define SD_FL_FTZ  1u
#define SD_FL_SAT  2u
#define SD_FL_RELU 4u
#define SD_FL_SATFINITE 8u
#define SD_FL_MODE(m) ((unsigned)(m) << 4)
#define SD_FL_ALT  128u  /* .shiftamt, .NaN, .hi, ... */
#define SD_FL_ALT2 256u
/* Nobody who waits has anything in the result's row: all lanes may be written (live.c). */
#define SD_FL_QUIET 32768u

/* Flags of memory instructions: elements per lane, then modifiers. */
#define SD_FL_VEC    15u
#define SD_FL_STRONG 16u
#define SD_FL_CLUSTER 32u /* shared memory of the cluster's blocks too */

/* Flags of control instructions. */
#define SD_FL_NEG 1u /* the predicate is inverted */

struct sd_warp;
struct sd_insn;

/* Executes ip on the current group; returns the next instruction, or NULL after it has set
 * warp->ip (and warp->event if the warp has to stop). regs is the current frame's file. */
typedef const struct sd_insn *(*sd_handler)(struct sd_warp *w, const struct sd_insn *ip,
                                            uint8_t *regs);

struct sd_insn {
    sd_handler fn;  /* for warps whose live lanes all run here */
    uint16_t op;    /* enum sd_op; finds the handler for diverged warps */
    uint16_t flags;
    uint32_t dst;
    uint32_t a, b, c;
    uint32_t d;     /* fourth operand, site of a memory access, or 0 */
};

enum sd_op {
    SD_OP_NONE,
#define OP_U(id, name, D, A, expr)          SD_OP_##id,
#define OP_B(id, name, D, A, B, expr)       SD_OP_##id,
#define OP_T(id, name, D, A, B, C, expr)    SD_OP_##id,
#define OP_Q(id, name, D, A, B, C, E, expr) SD_OP_##id,
#define OP_C(id, name, A, B, expr)          SD_OP_##id,
#define OP_I(id, name, D, A, expr)          SD_OP_##id,
#define OP_SU OP_U
#define OP_SB OP_B
#define OP_ST OP_T
#define OP_SC OP_C
#define OP_D  OP_B
#include "backend/driver/soft/exec/ops.def"
    SD_OP_LANE_WISE, /* all above are; it is no operation and takes no number */
    SD_OP_LANE_WISE_LAST = SD_OP_LANE_WISE - 1,
#define OP_X(id) SD_OP_##id,
#include "backend/driver/soft/exec/ops_x.def"
    SD_OP_COUNT,
};

/* One build of the interpreter. */
struct sd_core {
    const char *name;
    sd_handler full[SD_OP_COUNT];   /* the only group of its warp */
    sd_handler masked[SD_OP_COUNT]; /* some live lanes are elsewhere */
    void (*run)(struct sd_warp *w);
};

/* The best build for this machine. */
const struct sd_core *sd_core_get(void);

/* ---- a kernel's code ---- */

/* Rows that are filled in advance. */
enum sd_preset_kind {
    SD_PRE_VALUE, /* value */
    SD_PRE_PARAM, /* value: offset in the parameters; extend: see below */
    SD_PRE_SREG,  /* value: SD_SREG() */
};

struct sd_preset {
    uint32_t row;
    uint8_t kind;
    uint8_t bytes;      /* of a lane: 2, 4 or 8 */
    uint8_t load_bytes; /* SD_PRE_PARAM: bytes in memory */
    uint8_t is_signed;
    uint64_t value;
};

/* One step of a call: words rows from the caller's to the callee's file. */
struct sd_call_site {
    uint32_t callee;  /* index in sd_kernel_code.fns; direct calls */
    uint32_t param_bytes, ret_bytes;
    uint32_t ncopies; /* arguments first, then results: copies[first ...] */
    uint32_t nresults;
    uint32_t first;
};

struct sd_call_copy {
    uint32_t caller_row; /* first row of 32-bit words */
    uint32_t callee_word;
    uint32_t words;
};

struct sd_fn {
    const char *name;
    struct sd_kernel_code *code;
    struct sd_insn *insns;
    uint32_t *lines;
    uint32_t ninsns;
    uint32_t index;
    uint32_t ptx_index;     /* in the module; function pointers */
    uint32_t frame_bytes;
    uint32_t param_row, ret_row; /* 32-bit rows of the function's own parameters and results */
    uint32_t param_bytes, ret_bytes;
    uint32_t local_bytes;   /* per lane, multiple of 16 */
    uint32_t registers;
    /* presets: launch-wide, then per warp, then per block */
    struct sd_preset *presets;
    uint32_t nlaunch, nwarp, nblock;
    uint32_t *extra;        /* row lists of vectors, tables */
    uint32_t nextra;
    struct sd_call_site *sites;
    uint32_t nsites;
    struct sd_call_copy *copies;
    uint32_t ncopies;
};

struct lower_kernel; /* lower.h */

struct sd_kernel_code {
    struct sd_fn **fns;  /* fns[0] is the kernel; NULL: lowered when it is called, see sd_late_fn */
    uint32_t nfns;
    uint32_t *by_ptx;    /* module function index -> index in fns + 1, 0: not here */
    uint32_t nby_ptx;
    uint32_t param_bytes;
    uint32_t static_shared_bytes;
    uint32_t local_bytes;
    uint32_t nsites;     /* memory access sites */
    struct lower_kernel *late; /* for what is lowered later; NULL: nothing is */
};

void sd_kernel_code_destroy(struct sd_kernel_code *code);

/* ---- the address map of generic pointers ----
 * Above every user-space address of x86-64 Linux, so that they can meet no allocation.
 * The shared window comes in slots: 0 is the block's own, 1 + n that of the block of rank n in the
 * cluster. The lower 32 bits of a shared address are the slot and the offset in it. */
#define SD_WINDOW_BYTES  (1ull << 24)
#define SD_WINDOW_SHARED 0x800000000000ull
#define SD_WINDOW_SLOTS  32u
#define SD_WINDOW_LOCAL  (SD_WINDOW_SHARED + SD_WINDOW_SLOTS * SD_WINDOW_BYTES)
#define SD_WINDOW_PARAM  (SD_WINDOW_LOCAL + SD_WINDOW_BYTES)
#define SD_WINDOW_FUNC   (SD_WINDOW_LOCAL + 2 * SD_WINDOW_BYTES)
#define SD_WINDOW_END    (SD_WINDOW_LOCAL + 3 * SD_WINDOW_BYTES)

#define SD_FUNC_STRIDE   16u

#endif
