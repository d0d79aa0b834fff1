/* backend/driver/soft/ptx/live.c -- references, live ranges, rows for registers
 *
 * A register's live range is one interval of positions in emission order. Rows are handed out
 * along it by size class. A row is never shared between a result and an operand that dies in
 * the same instruction, because one PTX instruction may become several steps.
 *
 * A register is quiet if it lives inside of one block, and no lanes can come to wait, or others to
 * run, while it lives. Lanes that wait have nothing in rows of quiet registers, which are a pool of
 * their own: partial warps write these rows whole, which costs half as much.
 */
#include "backend/driver/soft/ptx/lower.h"

#include <string.h>

/* Bits of the live-in and live-out sets, all blocks together; beyond, every register that is
 * used in more than one block counts as live everywhere. */
#define LIVE_BITS_MAX (1ull << 31)
/* As many registers at a time as have sets of about this size. */
#define LIVE_SET_BYTES (8u << 20)

unsigned
lower_type_bytes(unsigned type)
{
    unsigned bytes = ptx_type_bytes((enum ptx_type)type);

    return type == PT_PRED ? 0 : bytes < 2 ? 2 : bytes;
}

unsigned
lower_reg_bytes(const struct lower *lw, uint32_t reg)
{
    return lower_type_bytes(lw->b->regs[reg].type);
}

/* ---- references ---- */

static bool
add_ref(struct lower *lw, uint32_t reg, bool def)
{
    if (!ptx_grow(&lw->refs, lw->nrefs, &lw->refs_cap, sizeof(uint32_t)))
        return lower_no_memory(lw);
    lw->refs[lw->nrefs++] = reg << 1 | def;
    if (def && lw->reg_defs[reg] < 2)
        lw->reg_defs[reg]++;
    return true;
}

static bool
add_operand(struct lower *lw, const struct ptx_operand *o, bool def, bool guarded)
{
    uint32_t i;

    switch (o->kind) {
    case OPND_REG:
        if (o->address)
            def = false;
        /* What a guarded definition leaves alone lives on. */
        if (def && guarded && !add_ref(lw, o->reg, false))
            return false;
        return add_ref(lw, o->reg, def);
    case OPND_LIST:
    case OPND_PAIR:
        for (i = 0; i < o->count; i++)
            if (!add_operand(lw, &lw->b->operands[o->reg + i], def && !o->address, guarded))
                return false;
        return true;
    default:
        return true;
    }
}

static bool
has_dst(const struct ptx_insn *in, const struct ptx_operand *o)
{
    const struct lower_rule *r = lower_rule_of(in->op);

    if (o->address)
        return false;
    if (ptx_root_is(in->op, "multimem"))
        return ptx_has(in->op, W_ld_reduce);
    if (r != NULL && (r->flags & RULE_NO_DST) != 0)
        return ptx_has(in->op, W_red) && !ptx_root_is(in->op, "red"); /* bar.red */
    return true;
}

static bool
refs_of_insn(struct lower *lw, const struct ptx_insn *in)
{
    bool dst = in->count > 0 && has_dst(in, lower_opnd(lw, in, 0));
    unsigned i;

    if (in->guard >= 0 && !add_ref(lw, (uint32_t)in->guard, false))
        return false;
    /* Uses before definitions. */
    for (i = dst ? 1 : 0; i < in->count; i++)
        if (!add_operand(lw, lower_opnd(lw, in, i), false, false))
            return false;
    if (!dst)
        return true;
    if (ptx_root_is(in->op, "call")) /* results in registers */
        return add_operand(lw, lower_opnd(lw, in, 0), lower_opnd(lw, in, 0)->kind == OPND_LIST,
                           true);
    return add_operand(lw, lower_opnd(lw, in, 0), true, in->guard >= 0);
}

bool
lower_refs(struct lower *lw)
{
    const struct ptx_body *b = lw->b;
    uint32_t i;

    lw->refs_at = calloc((size_t)b->ninsns + 1, sizeof(uint32_t));
    lw->reg_defs = calloc(1, (size_t)b->nregs + 1);
    if (lw->refs_at == NULL || lw->reg_defs == NULL)
        return lower_no_memory(lw);
    for (i = 0; i < b->ninsns; i++) {
        lw->refs_at[i] = lw->nrefs;
        if (!refs_of_insn(lw, &b->insns[i]))
            return false;
    }
    lw->refs_at[b->ninsns] = lw->nrefs;
    /* Register parameters are defined by the call. */
    for (i = 0; i < b->npvars; i++)
        if (b->pvars[i].reg >= 0)
            lw->reg_defs[b->pvars[i].reg] = 2;
    return true;
}

/* ---- live ranges ---- */

struct live {
    uint32_t *home;   /* block + 1 that has all references; UINT32_MAX: several, or loop-carried */
    uint32_t *number; /* among the global ones */
    uint32_t nglobal;
    uint32_t *start, *end; /* positions; start UINT32_MAX: never used */
    uint32_t *pos;    /* first position of each block in emission order */
    uint64_t *sets;   /* per ordered block: in, out, use, def; of some of the global ones */
    size_t words;
    uint32_t *stops;  /* instructions before a position that lanes may wait at */
};

/* Where lanes of a warp may part, meet or wait. */
static bool
is_stop(const struct ptx_insn *in)
{
    const struct lower_rule *r = lower_rule_of(in->op);

    return in->guard >= 0 || r == NULL || (r->flags & (RULE_CONTROL | RULE_ENDS)) != 0;
}

static bool
is_quiet(const struct live *lv, uint32_t reg)
{
    return lv->home[reg] != UINT32_MAX && lv->stops[lv->end[reg] + 1] == lv->stops[lv->start[reg]];
}

static void
find_globals(struct lower *lw, struct live *lv)
{
    uint32_t i, j, r;

    for (i = 0; i < lw->norder; i++) {
        const struct flow_block *blk = &lw->blocks[lw->order[i]];

        for (j = lw->refs_at[blk->first]; j < lw->refs_at[blk->last]; j++) {
            uint32_t reg = lw->refs[j] >> 1;

            if (lv->home[reg] == 0) /* used before it is defined: comes from elsewhere */
                lv->home[reg] = (lw->refs[j] & 1) != 0 ? i + 1 : UINT32_MAX;
            else if (lv->home[reg] != i + 1)
                lv->home[reg] = UINT32_MAX;
        }
    }
    for (r = 0; r < lw->b->nregs; r++)
        if (lv->home[r] == UINT32_MAX)
            lv->number[r] = lv->nglobal++;
}

static uint64_t *
set_of(struct live *lv, uint32_t block, unsigned which)
{
    return lv->sets + ((size_t)block * 4 + which) * lv->words;
}

static void
flow_sets(struct lower *lw, struct live *lv)
{
    bool changed = true;
    uint32_t i, j;
    size_t k;

    while (changed) {
        changed = false;
        for (i = lw->norder; i-- > 0;) {
            const struct flow_block *blk = &lw->blocks[lw->order[i]];
            uint64_t *in = set_of(lv, i, 0), *out = set_of(lv, i, 1);
            const uint64_t *use = set_of(lv, i, 2), *def = set_of(lv, i, 3);

            for (j = 0; j < blk->nsucc; j++) {
                const uint64_t *next =
                    set_of(lv, lw->blocks[lw->succs[blk->succ_first + j]].order, 0);

                for (k = 0; k < lv->words; k++)
                    out[k] |= next[k];
            }
            for (k = 0; k < lv->words; k++) {
                uint64_t v = use[k] | (out[k] & ~def[k]);

                if (v != in[k]) {
                    in[k] = v;
                    changed = true;
                }
            }
        }
    }
}

static void
touch(struct live *lv, uint32_t reg, uint32_t pos)
{
    if (lv->start[reg] == UINT32_MAX || pos < lv->start[reg])
        lv->start[reg] = pos;
    if (pos > lv->end[reg])
        lv->end[reg] = pos;
}

static void
stretch(struct live *lv, const uint64_t *set, const uint32_t *by_number, uint32_t pos)
{
    size_t k;

    for (k = 0; k < lv->words; k++) {
        uint64_t v;

        for (v = set[k]; v != 0; v &= v - 1)
            touch(lv, by_number[k * 64 + (unsigned)__builtin_ctzll(v)], pos);
    }
}

/* What the blocks use and define of the global registers from number on, 64 to a word. */
static void
fill_sets(struct lower *lw, struct live *lv, uint32_t from)
{
    uint32_t i, j;

    memset(lv->sets, 0, (size_t)lw->norder * 4 * lv->words * sizeof(uint64_t));
    for (i = 0; i < lw->norder; i++) {
        const struct flow_block *blk = &lw->blocks[lw->order[i]];
        uint64_t *use = set_of(lv, i, 2), *def = set_of(lv, i, 3);

        for (j = lw->refs_at[blk->first]; j < lw->refs_at[blk->last]; j++) {
            uint32_t reg = lw->refs[j] >> 1, n = lv->number[reg] - from;

            if (lv->home[reg] != UINT32_MAX || n / 64 >= lv->words)
                continue;
            if ((lw->refs[j] & 1) != 0)
                def[n / 64] |= 1ull << (n % 64);
            else if ((def[n / 64] >> (n % 64) & 1) == 0)
                use[n / 64] |= 1ull << (n % 64);
        }
    }
}

static bool
global_ranges(struct lower *lw, struct live *lv, uint32_t total)
{
    uint32_t *by_number = calloc((size_t)lv->nglobal + 64, sizeof(uint32_t));
    size_t fit = LIVE_SET_BYTES / 4 / sizeof(uint64_t) / lw->norder;
    uint32_t i, r, from;

    lv->words = gp_min_u64((lv->nglobal + 63) / 64, fit > 0 ? fit : 1);
    lv->sets = malloc((size_t)lw->norder * 4 * lv->words * sizeof(uint64_t));
    if (by_number == NULL || lv->sets == NULL) {
        free(by_number);
        return false;
    }
    for (r = 0; r < lw->b->nregs; r++)
        if (lv->home[r] == UINT32_MAX)
            by_number[lv->number[r]] = r;
    if ((uint64_t)lw->norder * lv->nglobal > LIVE_BITS_MAX) {
        for (i = 0; i < lv->nglobal; i++) {
            lv->start[by_number[i]] = 0;
            lv->end[by_number[i]] = total;
        }
        free(by_number);
        return true;
    }
    for (from = 0; from < lv->nglobal; from += (uint32_t)lv->words * 64) {
        fill_sets(lw, lv, from);
        flow_sets(lw, lv);
        for (i = 0; i < lw->norder; i++) {
            stretch(lv, set_of(lv, i, 0), by_number + from, lv->pos[i]);
            stretch(lv, set_of(lv, i, 1), by_number + from, lv->pos[i + 1]);
        }
    }
    free(by_number);
    return true;
}

static bool
find_ranges(struct lower *lw, struct live *lv)
{
    uint32_t i, j, k, pos = 0;

    find_globals(lw, lv);
    for (i = 0; i < lw->norder; i++) {
        const struct flow_block *blk = &lw->blocks[lw->order[i]];

        lv->pos[i] = pos;
        for (j = blk->first; j < blk->last; j++, pos++) {
            lv->stops[pos + 1] = lv->stops[pos] + is_stop(&lw->b->insns[j]);
            for (k = lw->refs_at[j]; k < lw->refs_at[j + 1]; k++)
                touch(lv, lw->refs[k] >> 1, pos);
        }
        lv->stops[pos + 1] = lv->stops[pos];
        pos++; /* a position of its own for what is live at the end */
    }
    lv->pos[lw->norder] = pos;
    for (i = 0; i < lw->b->npvars; i++)
        if (lw->b->pvars[i].reg >= 0) {
            touch(lv, (uint32_t)lw->b->pvars[i].reg, 0);
            touch(lv, (uint32_t)lw->b->pvars[i].reg, pos);
        }
    return lv->nglobal == 0 || global_ranges(lw, lv, pos);
}

/* ---- rows ---- */

/* The quiet ones at the end. */
enum {
    CLASS_PRED, CLASS_16, CLASS_32, CLASS_64, CLASS_128,
    CLASS_QUIET_16, CLASS_QUIET_32, CLASS_QUIET_64, CLASSES
};

static const uint32_t class_row[CLASSES] = {4, 64, 128, 256, 512, 64, 128, 256};

static unsigned
class_of(const struct lower *lw, const struct live *lv, uint32_t reg)
{
    switch (lower_reg_bytes(lw, reg)) {
    case 0: return CLASS_PRED;
    case 2: return is_quiet(lv, reg) ? CLASS_QUIET_16 : CLASS_16;
    case 4: return is_quiet(lv, reg) ? CLASS_QUIET_32 : CLASS_32;
    case 8: return is_quiet(lv, reg) ? CLASS_QUIET_64 : CLASS_64;
    default: return CLASS_128;
    }
}

/* Slots by class along the positions; reg_row holds slot numbers meanwhile. */
static bool
assign_slots(struct lower *lw, struct live *lv, uint32_t count[CLASSES])
{
    static const uint32_t class_words[CLASSES] = {0, 1, 1, 2, 4, 1, 1, 2};
    uint32_t total = lv->pos[lw->norder] + 1;
    uint32_t nregs = lw->b->nregs;
    uint32_t *starting = calloc((size_t)total * 2 + 2, sizeof(uint32_t)); /* register + 1 */
    uint32_t *next = calloc((size_t)nregs * 2 + 2, sizeof(uint32_t));
    uint32_t *free_slots = calloc((size_t)nregs * CLASSES + 1, sizeof(uint32_t));
    uint32_t nfree[CLASSES] = {0};
    uint32_t *ending, *next_end, r, pos, words = 0;
    bool ok = starting != NULL && next != NULL && free_slots != NULL;

    if (ok) {
        ending = starting + total + 1;
        next_end = next + nregs + 1;
        for (r = nregs; r-- > 0;) {
            if (lv->start[r] == UINT32_MAX || lw->reg_alias[r] != 0)
                continue;
            next[r] = starting[lv->start[r]];
            starting[lv->start[r]] = r + 1;
            next_end[r] = ending[lv->end[r]];
            ending[lv->end[r]] = r + 1;
        }
        for (pos = 0; pos < total; pos++) {
            for (r = starting[pos]; r != 0; r = next[r - 1]) {
                unsigned c = class_of(lw, lv, r - 1);

                lw->reg_row[r - 1] = nfree[c] > 0 ? free_slots[c * nregs + --nfree[c]] : count[c]++;
                words += class_words[c];
            }
            if (words > lw->peak_words)
                lw->peak_words = words;
            for (r = ending[pos]; r != 0; r = next_end[r - 1]) {
                unsigned c = class_of(lw, lv, r - 1);

                free_slots[c * nregs + nfree[c]++] = lw->reg_row[r - 1];
                words -= class_words[c];
            }
        }
    }
    free(starting);
    free(next);
    free(free_slots);
    return ok;
}

/* Predicates first, 4096 bytes of them in reserve for temporaries are not needed: those are
 * added one by one in their own rows. */
static bool
place_slots(struct lower *lw, const struct live *lv, const uint32_t count[CLASSES])
{
    uint64_t base[CLASSES];
    uint64_t at = lw->rows_end;
    unsigned c;
    uint32_t r;

    for (c = 0; c < CLASSES; c++) {
        base[c] = at;
        at = gp_align_up_u64(at + (uint64_t)count[c] * class_row[c], 64);
    }
    if (at > 1u << 30)
        return false;
    lw->rows_end = (uint32_t)at;
    lw->quiet_rows = (uint32_t)base[CLASS_QUIET_16];
    lw->quiet_end = (uint32_t)at;
    for (r = 0; r < lw->b->nregs; r++)
        if (lw->reg_row[r] != ROW_NONE) {
            c = class_of(lw, lv, r);
            lw->reg_row[r] = (uint32_t)(base[c] + (uint64_t)lw->reg_row[r] * class_row[c]);
        }
    return true;
}

bool
lower_rows(struct lower *lw)
{
    uint32_t n = lw->b->nregs;
    struct live lv = {.home = calloc((size_t)n + 1, 4), .number = calloc((size_t)n + 1, 4),
                      .start = malloc(((size_t)n + 1) * 4), .end = calloc((size_t)n + 1, 4),
                      .pos = calloc((size_t)lw->norder + 2, 4),
                      .stops = calloc((size_t)lw->b->ninsns + lw->norder + 2, 4)};
    uint32_t count[CLASSES] = {0};
    bool ok = lv.home != NULL && lv.number != NULL && lv.start != NULL && lv.end != NULL &&
              lv.pos != NULL && lv.stops != NULL;

    lw->reg_row = malloc(((size_t)n + 1) * 4);
    ok = ok && lw->reg_row != NULL;
    if (ok) {
        memset(lv.start, 0xff, ((size_t)n + 1) * 4);
        memset(lw->reg_row, 0xff, ((size_t)n + 1) * 4);
        ok = find_ranges(lw, &lv) && assign_slots(lw, &lv, count) && place_slots(lw, &lv, count);
    }
    free(lv.home);
    free(lv.number);
    free(lv.start);
    free(lv.end);
    free(lv.pos);
    free(lv.stops);
    free(lv.sets);
    return ok || lower_no_memory(lw);
}
