/* backend/driver/soft/ptx/lower_async.c -- asynchronous copies and barriers in memory
 *
 * Copies are done at once, so groups have nothing to wait for and what a copy owes to an
 * mbarrier is paid when it is issued.
 */
#include "backend/driver/soft/ptx/lower.h"

#include "backend/driver/soft/exec/async.h"
#include "backend/driver/soft/exec/atom.h"

/* cp.async.{ca,cg}.shared.global [dst], [src], size{, src-size}{, policy} */
static bool
cp_async_copy(struct lower *lw, const struct ptx_insn *in)
{
    uint32_t dst, src, bytes, used, extra[5], at;
    int32_t dst_offset, src_offset;
    uint64_t size;
    unsigned n = in->count - (ptx_has(in->op, W_l2_hint) ? 1u : 0);

    if (n < 3 || n > 4 || lower_opnd(lw, in, 2)->kind != OPND_INT)
        return lower_unsupported(lw, in);
    size = lower_opnd(lw, in, 2)->bits;
    if (size != 4 && size != 8 && size != 16)
        return lower_fail(lw, in, "copy of %llu bytes", (unsigned long long)size);
    if (n == 4 && lower_opnd_bytes(lw, lower_opnd(lw, in, 3), 4) == 0) {
        /* a predicate: ignore the source */
        uint32_t p = lower_pred_src(lw, in, lower_opnd(lw, in, 3));

        used = lower_temp(lw, 4);
        if (p == ROW_NONE)
            return false;
        lower_emit(lw, SD_OP_selp32, 0, used, lower_const(lw, 0, 4), lower_const(lw, size, 4), p,
                   0);
    } else {
        used = n == 4 ? lower_src(lw, in, lower_opnd(lw, in, 3), 4) : lower_const(lw, size, 4);
    }
    bytes = (uint32_t)size;
    if (used == ROW_NONE ||
        !lower_address(lw, in, lower_opnd(lw, in, 0), SPACE_SHARED, &dst, &dst_offset) ||
        !lower_address(lw, in, lower_opnd(lw, in, 1), SPACE_GLOBAL, &src, &src_offset))
        return false;
    extra[0] = (uint32_t)dst_offset;
    extra[1] = (uint32_t)src_offset;
    extra[2] = bytes;
    extra[3] = lw->k->code->nsites++;
    extra[4] = 0;
    return lower_extra(lw, extra, 5, &at) &&
           lower_emit(lw, SD_OP_cp_async, 0, 0, dst, src, used, at) != NULL;
}

/* Emit an mbarrier operation: address, two 64-bit operands, result. */
static bool
emit_mbarrier(struct lower *lw, const struct ptx_insn *in, enum sd_mbar_op what,
              const struct ptx_operand *address, uint32_t dst, uint32_t arg, uint32_t arg2)
{
    uint32_t row, extra[4], at;
    int32_t offset;
    enum ptx_space space = lower_space(in->op);

    if (!lower_address(lw, in, address, space, &row, &offset))
        return false;
    extra[0] = (uint32_t)offset;
    extra[1] = space != SPACE_SHARED ? 0 : lower_in_cluster(in->op) ? 2 : 1;
    extra[2] = lw->k->code->nsites++;
    extra[3] = arg2;
    return lower_extra(lw, extra, 4, &at) &&
           lower_emit(lw, SD_OP_mbarrier, what, dst, row, arg, 0, at) != NULL;
}

/* Where a bulk copy goes to and comes from; false: not between these. */
static bool
bulk_spaces(const struct ptx_opcode *op, uint32_t *to_p, uint32_t *from_p)
{
    bool to_shared = ptx_has(op, W_complete_tx_bytes), global = ptx_has(op, W_global);
    bool cluster = ptx_has(op, W_shared_cluster), cta = ptx_has(op, W_shared_cta);

    if (to_shared == ptx_has(op, W_bulk_group))
        return false;
    if (!to_shared) {
        *to_p = SD_BULK_GLOBAL;
        *from_p = SD_BULK_SHARED;
        return global && cta && !cluster;
    }
    *to_p = cluster ? SD_BULK_CLUSTER : SD_BULK_SHARED;
    *from_p = global ? SD_BULK_GLOBAL : SD_BULK_SHARED;
    return global ? cluster != cta : cluster && cta;
}

static enum ptx_space
bulk_space(uint32_t space)
{
    return space == SD_BULK_GLOBAL ? SPACE_GLOBAL : SPACE_SHARED;
}

/* The operation of cp.reduce.async.bulk, or none of a plain copy. */
static bool
bulk_operation(const struct ptx_opcode *op, uint32_t *extra)
{
    unsigned operation = SD_ASYNC_STORE, type = SD_ATOM_U32;

    if (ptx_has(op, W_reduce) && (!lower_atom_kind(op, &operation, &type) ||
                                  operation == SD_ATOM_EXCH || operation == SD_ATOM_CAS))
        return false;
    if (type == SD_ATOM_F32 && extra[SD_BULK_TO] == SD_BULK_GLOBAL)
        type = SD_ATOM_F32_FTZ;
    extra[SD_BULK_OP] = operation;
    extra[SD_BULK_TYPE] = type;
    return true;
}

/* cp.async.bulk.shared::{cta,cluster}.global.mbarrier::complete_tx::bytes [dst], [src], size, [bar]
 * cp.async.bulk.shared::cluster.global...multicast::cluster [dst], [src], size, [bar], ranks
 * cp{.reduce}.async.bulk.shared::cluster.shared::cta... [dst], [src], size, [bar]
 * cp{.reduce}.async.bulk.global.shared::cta.bulk_group [dst], [src], size; a cache policy may
 * follow. */
static bool
cp_bulk(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    bool multicast = ptx_has(op, W_multicast), completes = ptx_has(op, W_complete_tx_bytes);
    unsigned n = in->count - (ptx_has(op, W_l2_hint) ? 1u : 0);
    uint32_t to, from, bytes, extra[SD_BULK_EXTRA] = {0}, at;
    int32_t to_offset, from_offset, bar_offset = 0;

    if (!bulk_spaces(op, &extra[SD_BULK_TO], &extra[SD_BULK_FROM]) || !bulk_operation(op, extra) ||
        n != 3u + completes + multicast ||
        (multicast &&
         (extra[SD_BULK_TO] != SD_BULK_CLUSTER || extra[SD_BULK_FROM] != SD_BULK_GLOBAL)))
        return lower_unsupported(lw, in);
    bytes = lower_src(lw, in, lower_opnd(lw, in, 2), 4);
    if (multicast)
        extra[SD_BULK_RANKS] = lower_src(lw, in, lower_opnd(lw, in, 4), 2);
    if (bytes == ROW_NONE || extra[SD_BULK_RANKS] == ROW_NONE ||
        !lower_address(lw, in, lower_opnd(lw, in, 0), bulk_space(extra[SD_BULK_TO]), &to,
                       &to_offset) ||
        !lower_address(lw, in, lower_opnd(lw, in, 1), bulk_space(extra[SD_BULK_FROM]), &from,
                       &from_offset) ||
        (completes && !lower_address(lw, in, lower_opnd(lw, in, 3), SPACE_SHARED,
                                     &extra[SD_BULK_BARRIER], &bar_offset)))
        return false;
    extra[SD_BULK_TO_OFFSET] = (uint32_t)to_offset;
    extra[SD_BULK_FROM_OFFSET] = (uint32_t)from_offset;
    extra[SD_BULK_SITE] = lw->k->code->nsites++;
    extra[SD_BULK_COMPLETES] = completes;
    extra[SD_BULK_MULTICAST] = multicast;
    extra[SD_BULK_BARRIER_OFFSET] = (uint32_t)bar_offset;
    return lower_extra(lw, extra, SD_BULK_EXTRA, &at) &&
           lower_emit(lw, SD_OP_cp_bulk, 0, 0, to, from, bytes, at) != NULL;
}

static bool
lower_cp(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;

    if (op->unknown || !ptx_has(op, W_async) || ptx_has(op, W_tensor))
        return lower_unsupported(lw, in);
    if (ptx_has(op, W_commit_group) || ptx_has(op, W_wait_group) || ptx_has(op, W_wait_all))
        return lw->cr == CUDA_SUCCESS;
    if (ptx_has(op, W_mbarrier)) { /* cp.async.mbarrier.arrive: the copies are done */
        uint32_t one = lower_const(lw, 1, 4);

        if (!lower_count(lw, in, 1, 1))
            return false;
        return emit_mbarrier(lw, in, ptx_has(op, W_noinc) ? SD_MBAR_ARRIVE : SD_MBAR_NOTHING,
                             lower_opnd(lw, in, 0), lower_temp(lw, 8), one, 0);
    }
    if (ptx_has(op, W_bulk) && ptx_has(op, W_prefetch)) /* into the L2 cache */
        return lw->cr == CUDA_SUCCESS;
    if (ptx_has(op, W_bulk))
        return cp_bulk(lw, in);
    return cp_async_copy(lw, in);
}

static bool
is_wait(const struct ptx_opcode *op)
{
    return ptx_has(op, W_test_wait) || ptx_has(op, W_try_wait);
}

/* mbarrier.{test_wait,try_wait}{.parity} p, [a], state-or-parity{, hint} */
static bool
mbarrier_wait(struct lower *lw, const struct ptx_insn *in)
{
    bool parity = ptx_has(in->op, W_parity);
    uint32_t arg, dst;

    if (!lower_count(lw, in, 3, 4))
        return false;
    arg = lower_src(lw, in, lower_opnd(lw, in, 2), parity ? 4 : 8);
    dst = lower_pred_dst(lw, in, lower_opnd(lw, in, 0));
    if (arg == ROW_NONE || dst == ROW_NONE)
        return false;
    return emit_mbarrier(lw, in, parity ? SD_MBAR_TEST_PARITY : SD_MBAR_TEST, lower_opnd(lw, in, 1),
                         dst, arg, 0) &&
           lower_emit(lw, SD_OP_hint, 0, 0, 2000, 0, 0, 0) != NULL;
}

static bool
lower_mbarrier(struct lower *lw, const struct ptx_insn *in)
{
    const struct ptx_opcode *op = in->op;
    uint32_t arg, arg2 = 0, dst;
    enum sd_mbar_op what;
    unsigned i = 0;

    if (op->unknown)
        return lower_unsupported(lw, in);
    if (is_wait(op))
        return mbarrier_wait(lw, in);
    if (ptx_has(op, W_pending_count)) {
        arg = lower_src(lw, in, lower_opnd(lw, in, 1), 8);
        dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 4);
        if (arg == ROW_NONE || dst == ROW_NONE)
            return false;
        return lower_emit(lw, SD_OP_mbarrier, SD_MBAR_PENDING, dst, 0, arg, 0, 0) != NULL;
    }
    if (ptx_has(op, W_init) || ptx_has(op, W_inval) || ptx_has(op, W_expect_tx) ||
        ptx_has(op, W_complete_tx)) {
        if (!ptx_has(op, W_arrive) && !ptx_has(op, W_arrive_drop)) {
            what = ptx_has(op, W_init)        ? SD_MBAR_INIT
                   : ptx_has(op, W_inval)     ? SD_MBAR_NOTHING
                   : ptx_has(op, W_expect_tx) ? SD_MBAR_EXPECT
                                              : SD_MBAR_COMPLETE;
            arg =
                in->count > 1 ? lower_src(lw, in, lower_opnd(lw, in, 1), 4) : lower_const(lw, 0, 4);
            return arg != ROW_NONE && emit_mbarrier(lw, in, what, lower_opnd(lw, in, 0), 0, arg, 0);
        }
    }
    /* mbarrier.arrive{.expect_tx|.noComplete} {state|_,} [a]{, count} */
    if (in->count == 0)
        return lower_unsupported(lw, in);
    dst = lower_temp(lw, 8);
    if (!lower_opnd(lw, in, 0)->address) {
        if (lower_opnd(lw, in, 0)->kind != OPND_SINK)
            dst = lower_dst(lw, in, lower_opnd(lw, in, 0), 8);
        i = 1;
    }
    what = ptx_has(op, W_arrive_drop) ? SD_MBAR_ARRIVE_DROP : SD_MBAR_ARRIVE;
    if (i >= in->count || dst == ROW_NONE)
        return lower_unsupported(lw, in);
    arg = i + 1u < in->count ? lower_src(lw, in, lower_opnd(lw, in, i + 1), 4)
                             : lower_const(lw, 1, 4);
    if (ptx_has(op, W_expect_tx)) { /* the operand is the number of bytes; one arrival */
        arg2 = arg;
        arg = lower_const(lw, 1, 4);
    }
    return arg != ROW_NONE && arg2 != ROW_NONE &&
           emit_mbarrier(lw, in, what, lower_opnd(lw, in, i), dst, arg, arg2);
}

const struct lower_rule lower_async_rules[] = {
    {"cp", lower_cp, RULE_NO_DST},
    {"mbarrier", lower_mbarrier, 0},
    {NULL, NULL, 0},
};
