/* tests/corpus/corpus.h -- one small kernel per opcode and type, and what it must compute
 *
 * A case is a line of PTX over registers a, b, c and d, a class of values for each operand,
 * and a reference in C. The runner gives every lane its own operands and compares every d.
 * Registers t, u, v (of d's type), p, q (predicates), x32, y32, x64 are free to use; pa is
 * the address of the lane's own a.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A class fixes register type, memory type and the values. Results use the same classes. */
enum corpus_class {
    NO, /* operand not used */
    I8, /* 16-bit register, loaded as u8 */
    I16,
    I32,
    I64,
    H16,  /* f16 pattern in a b16 register */
    BF16, /* bf16 pattern in a b16 register */
    H32,  /* two f16 in a b32 register */
    BH32, /* two bf16 in a b32 register */
    F32,
    F64,
    AMOUNT, /* u32: shift amounts, positions, lengths: mostly small, also huge */
    ANGLE,  /* f32 within +-100 pi, mostly within +-pi */
    POW,    /* f32 within +-160 */
    CORPUS_CLASSES,
};

/* How a result is compared. */
enum corpus_compare {
    EXACT,  /* all bits, but any NaN equals any NaN (not in packed pairs) */
    CANON,  /* all bits, also of NaNs */
    REL22,  /* relative 2^-22, or equal */
    ULP2,   /* 2 units in the last place */
    ABS20,  /* absolute 2^-20.5 within +-2 pi, 2^-14.7 within +-100 pi (sin, cos) */
    LG2,    /* absolute 2^-22 for inputs in (0.5, 2), relative 2^-22 outside */
    REL11,  /* relative 2^-11 (tanh) */
    REL20,  /* relative 2^-19.5: the coarse f64 pair */
    HALF10, /* f16: relative 2^-9.9 (ex2) or absolute 2^-10.9 (tanh) */
    BHALF7, /* bf16: relative 2^-7 */
};

enum {
    CORPUS_LANES = 4096
};

struct corpus_case {
    const char *name;
    const char *text;
    enum corpus_class d, a, b, c;
    unsigned sm; /* least compute capability, 75 for 7.5 */
    enum corpus_compare compare;
    /* Exactly one of the two; the second sees a whole warp. */
    uint64_t (*lane)(uint64_t a, uint64_t b, uint64_t c);
    void (*warp)(const uint64_t *a, const uint64_t *b, const uint64_t *c, uint64_t *d);
    const char *before; /* module-scope text before the kernel, may be NULL */
};

/* Tables end with a NULL name. */
extern const struct corpus_case corpus_int[], corpus_bits[], corpus_arithmetic[],
    corpus_functions[], corpus_half[], corpus_cvt[], corpus_predicates[], corpus_warp[],
    corpus_memory[], corpus_control[], corpus_access[], corpus_forms[];

/* Declares the reference of one case; the expression sees a, b, c as zero-extended patterns. */
#define CORPUS_REF(id, text, d, ta, tb, tc, sm, cmp, expr)                                         \
    static uint64_t ref_##id(uint64_t a, uint64_t b, uint64_t c)                                   \
    {                                                                                              \
        (void)a, (void)b, (void)c;                                                                 \
        return (uint64_t)(expr);                                                                   \
    }
#define CORPUS_ROW(id, text, d, ta, tb, tc, sm, cmp, expr)                                         \
    {#id, text, d, ta, tb, tc, sm, cmp, ref_##id, NULL},

/* values.c: operand index (0 a, 1 b, 2 c) of lane i, repeatable. */
uint64_t corpus_value(enum corpus_class class, int operand, uint32_t lane);
/* ptx.c: the whole module's text, malloc'ed. split: only the lanes of a mask, the kernel's fifth
 * parameter, execute the line; the others keep CORPUS_KEPT in d. */
#define CORPUS_KEPT 0x5a5a3c3c5a5a3c3cull
char *corpus_ptx(const struct corpus_case *c, bool split);
/* compare.c: is got right where want is the reference's? */
int corpus_agrees(const struct corpus_case *c, uint64_t a, uint64_t got, uint64_t want);

/* host.c: the processor's own arithmetic in mode 'n' 'z' 'm' 'p'; op is + - * / f s. */
float host_f32(char op, char mode, float a, float b, float c);
double host_f64(char op, char mode, double a, double b, double c);

#endif
