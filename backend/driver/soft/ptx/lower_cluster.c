/* backend/driver/soft/ptx/lower_cluster.c -- between the blocks of a cluster: addresses, barrier,
 * st.async */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/async.h"
#include "backend/driver/soft/exec/cluster.h"

/* Flags of an address operand: with a space it is one of shared memory. */
static bool
address_flags(const struct ptx_opcode *op, unsigned *flags_p, unsigned *bytes_p)
{
    if (op->unknown || op->ntypes != 1 || (op->types[0] != PT_U32 && op->types[0] != PT_U64))
        return false;
    *bytes_p = lower_type_bytes(op->types[0]);
    *flags_p = (*bytes_p == 8 ? SD_CLUSTER_WIDE : 0) |
               (lower_space(op) == SPACE_SHARED ? 0 : SD_CLUSTER_GENERIC);
    return true;
}

/* mapa{.shared::cluster}.type d, a, rank */
static bool
lower_mapa(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t a, rank, dst;
    unsigned flags, bytes;

    if (!address_flags(in->op, &flags, &bytes))
        return lower_unsupported(lw, in);
    if (!lower_count(lw, in, 3, 3))
        return false;
    a = lower_src(lw, in, lower_opnd(lw, in, 1), bytes);
    rank = lower_src(lw, in, lower_opnd(lw, in, 2), 4);
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), bytes);
    return a != ROW_NONE && rank != ROW_NONE && dst != ROW_NONE &&
           lower_emit(lw, SD_OP_cluster_address, SD_CLUSTER_MAPA | flags, dst, a, rank, 0, 0) !=
               NULL;
}

/* getctarank{.shared::cluster}.type d, a: the type is the address's */
static bool
lower_getctarank(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t a, dst;
    unsigned flags, bytes;

    if (!address_flags(in->op, &flags, &bytes))
        return lower_unsupported(lw, in);
    if (!lower_count(lw, in, 2, 2))
        return false;
    a = lower_src(lw, in, lower_opnd(lw, in, 1), bytes);
    dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
    return a != ROW_NONE && dst != ROW_NONE &&
           lower_emit(lw, SD_OP_cluster_address, SD_CLUSTER_RANK | flags, dst, a, 0, 0, 0) != NULL;
}

/* barrier.cluster.{arrive,wait} */
bool
lower_barrier_cluster(struct lower *lw, const struct ptx_insn *in)
{
    bool wait = ptx_has(in->op, W_wait);

    if (in->op->unknown || wait == ptx_has(in->op, W_arrive))
        return lower_unsupported(lw, in);
    return lower_count(lw, in, 0, 0) &&
           lower_emit(lw, wait ? SD_OP_cluster_wait : SD_OP_cluster_arrive, 0, 0, 0, 0, 0, 0) !=
               NULL;
}

/* st.async.weak.shared::cluster.mbarrier::complete_tx::bytes{.vec}.type [a], b, [bar]
 * red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.op.type [a], b, [bar]
 * operation: an enum sd_atom_op with its type, or SD_ASYNC_STORE. */
bool
lower_store_async(struct lower *lw, const struct ptx_insn *in, unsigned operation, unsigned type)
{
    const struct ptx_opcode *op = in->op;
    const struct ptx_operand *e;
    unsigned bytes, n, i;
    uint32_t extra[SD_ASYNC_VALUES + 4], row, bar, at;
    int32_t offset, bar_offset;

    if (op->unknown || op->ntypes != 1 || !ptx_has(op, W_complete_tx_bytes) ||
        ptx_has(op, W_shared_cta) || lower_space(op) != SPACE_SHARED)
        return lower_unsupported(lw, in);
    if (!lower_count(lw, in, 3, 3))
        return false;
    bytes = lower_type_bytes(op->types[0]);
    e = lower_opnd(lw, in, 1);
    n = e->kind == OPND_LIST ? e->count : 1;
    if (n != (ptx_has(op, W_v2) ? 2 : ptx_has(op, W_v4) ? 4 : 1) || (bytes != 4 && bytes != 8))
        return lower_fail(lw, in, "%u elements of %u bytes", n, bytes);
    if (e->kind == OPND_LIST)
        e = &lw->b->operands[e->reg];
    for (i = 0; i < n; i++) {
        extra[SD_ASYNC_VALUES + i] = lower_src(lw, in, &e[i], bytes);
        if (extra[SD_ASYNC_VALUES + i] == ROW_NONE)
            return false;
    }
    if (!lower_address(lw, in, lower_opnd(lw, in, 0), SPACE_SHARED, &row, &offset) ||
        !lower_address(lw, in, lower_opnd(lw, in, 2), SPACE_SHARED, &bar, &bar_offset))
        return false;
    extra[SD_ASYNC_OFFSET] = (uint32_t)offset;
    extra[SD_ASYNC_BARRIER_OFFSET] = (uint32_t)bar_offset;
    extra[SD_ASYNC_SITE] = lw->k->code->nsites++;
    extra[SD_ASYNC_ELEMENTS] = n;
    extra[SD_ASYNC_BYTES] = bytes;
    extra[SD_ASYNC_OP] = operation;
    extra[SD_ASYNC_TYPE] = type;
    return lower_extra(lw, extra, SD_ASYNC_VALUES + n, &at) &&
           lower_emit(lw, SD_OP_st_async, 0, 0, row, bar, 0, at) != NULL;
}

const struct lower_rule lower_cluster_rules[] = {
    {"mapa", lower_mapa, 0},
    {"getctarank", lower_getctarank, 0},
    {NULL, NULL, 0},
};
