/* backend/driver/soft/exec/async.c -- cp.async, also bulk, and mbarrier, lane by lane
 *
 * An mbarrier lies in shared memory, and one thread runs all blocks of a cluster.
 */
#include "backend/driver/soft/exec/async.h"
#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/warp.h"

#include <string.h>

static uint32_t
u32_of(const uint8_t *regs, uint32_t row, unsigned lane)
{
    return ((const uint32_t *)(const void *)(regs + row))[lane];
}

static uint64_t
u64_of(const uint8_t *regs, uint32_t row, unsigned lane)
{
    return ((const uint64_t *)(const void *)(regs + row))[lane];
}

/* A shared address with its offset as a generic one; out of all windows when it is too large. */
static uint64_t
shared_address(const struct sd_warp *w, const uint8_t *regs, uint32_t row, uint32_t offset,
               unsigned lane, bool cluster)
{
    return sd_shared_address(
        w, (uint64_t)u32_of(regs, row, lane) + (uint64_t)(int64_t)(int32_t)offset, cluster);
}

/* a: shared address, b: global address, c: bytes to read; extra: offsets, size, site */
const struct sd_insn *
sd_cp_async(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    uint32_t size = x[2];
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t to = shared_address(w, regs, ip->a, x[0], lane, false);
        uint64_t from = u64_of(regs, ip->b, lane) + (uint64_t)(int64_t)(int32_t)x[1];
        uint32_t used = u32_of(regs, ip->c, lane);
        uint8_t buf[16] = {0};
        const void *src;
        void *dst;

        if (used > size)
            used = size;
        dst = to % size == 0 ? sd_resolve(w, lane, to, size, true, x[3]) : NULL;
        if (dst == NULL)
            return sd_fault_access(w, ip, lane, to, size, true);
        if (used > 0) {
            src = from % size == 0 && from < SD_WINDOW_SHARED
                      ? sd_resolve(w, lane, from, used, false, x[3])
                      : NULL;
            if (src == NULL)
                return sd_fault_access(w, ip, lane, from, size, false);
            memcpy(buf, src, used);
        }
        memcpy(dst, buf, size);
    }
    return ip + 1;
}

#define COUNT_MASK 0xfffffull
#define TX_SHIFT   40
#define TX_MASK    0x7fffffull
#define PHASE      (1ull << 63)

static uint64_t
pending(uint64_t v)
{
    return v & COUNT_MASK;
}

/* The phase ends when nothing is outstanding. */
static uint64_t
settle(uint64_t v)
{
    uint64_t expected = v >> 20 & COUNT_MASK;

    if (pending(v) != 0 || (v >> TX_SHIFT & TX_MASK) != 0)
        return v;
    return ((v ^ PHASE) & ~COUNT_MASK) | expected;
}

static uint64_t
add_tx(uint64_t v, uint64_t bytes)
{
    uint64_t tx = ((v >> TX_SHIFT) + bytes) & TX_MASK;

    return (v & ~(TX_MASK << TX_SHIFT)) | tx << TX_SHIFT;
}

static uint64_t
arrive(uint64_t v, uint64_t count, bool drop)
{
    uint64_t left = pending(v) >= count ? pending(v) - count : 0;
    uint64_t expected = v >> 20 & COUNT_MASK;

    v = (v & ~COUNT_MASK) | left;
    if (drop) {
        expected = expected >= count ? expected - count : 0;
        v = (v & ~(COUNT_MASK << 20)) | expected << 20;
    }
    return v;
}

static uint64_t
apply(unsigned op, uint64_t v, uint64_t arg, uint64_t bytes)
{
    switch (op) {
    case SD_MBAR_INIT:
        return (arg & COUNT_MASK) | (arg & COUNT_MASK) << 20;
    case SD_MBAR_ARRIVE:
        return settle(arrive(add_tx(v, bytes), arg, false));
    case SD_MBAR_ARRIVE_DROP:
        return settle(arrive(add_tx(v, bytes), arg, true));
    case SD_MBAR_EXPECT:
        return add_tx(v, arg);
    case SD_MBAR_COMPLETE:
        return settle(add_tx(v, 0 - arg));
    default:
        return v;
    }
}

static void
set_result(uint8_t *regs, const struct sd_insn *ip, unsigned lane, uint64_t v, uint64_t arg)
{
    uint32_t *pred = (uint32_t *)(void *)(regs + ip->dst);
    bool done;

    switch (ip->flags) {
    case SD_MBAR_ARRIVE:
    case SD_MBAR_ARRIVE_DROP:
        ((uint64_t *)(void *)(regs + ip->dst))[lane] = v;
        break;
    case SD_MBAR_TEST:
    case SD_MBAR_TEST_PARITY:
        /* Complete if the phase that is asked for is no longer the current one. */
        done = ip->flags == SD_MBAR_TEST ? ((v ^ arg) & PHASE) != 0 : (v >> 63) != (arg & 1);
        *pred = (*pred & ~(1u << lane)) | (uint32_t)done << lane;
        break;
    default:
        break;
    }
}

/* a: address, b: argument, extra: offset, 1: in shared memory, 2: of the cluster, site, row of
 * bytes to expect */
const struct sd_insn *
sd_mbarrier(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    bool wide = ip->flags == SD_MBAR_TEST || ip->flags == SD_MBAR_PENDING;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t arg = wide ? u64_of(regs, ip->b, lane) : u32_of(regs, ip->b, lane);
        uint64_t addr, v, bytes;
        uint64_t *p;

        if (ip->flags == SD_MBAR_PENDING) {
            ((uint32_t *)(void *)(regs + ip->dst))[lane] = (uint32_t)pending(arg);
            continue;
        }
        addr = x[1] != 0 ? shared_address(w, regs, ip->a, x[0], lane, x[1] == 2)
                         : u64_of(regs, ip->a, lane) + (uint64_t)(int64_t)(int32_t)x[0];
        p = addr % 8 == 0 ? sd_resolve(w, lane, addr, 8, true, x[2]) : NULL;
        if (p == NULL)
            return sd_fault_access(w, ip, lane, addr, 8, true);
        v = *p;
        bytes = x[3] != 0 ? u32_of(regs, x[3], lane) : 0;
        *p = apply(ip->flags, v, arg, bytes);
        set_result(regs, ip, lane, v, arg);
    }
    return ip + 1;
}

/* ---- copies that complete their bytes on a barrier ---- */

/* Host address of a barrier, or NULL after a fault. */
static uint64_t *
barrier_at(struct sd_warp *w, const struct sd_insn *ip, unsigned lane, uint64_t addr, uint32_t site)
{
    uint64_t *p = addr % 8 == 0 ? sd_resolve(w, lane, addr, 8, true, site) : NULL;

    if (p == NULL)
        sd_fault_access(w, ip, lane, addr, 8, true);
    return p;
}

static void
complete(uint64_t *barrier, uint32_t bytes)
{
    *barrier = apply(SD_MBAR_COMPLETE, *barrier, bytes, 0);
}

/* See async.h. */
const struct sd_insn *
sd_st_async(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    const uint32_t size = x[SD_ASYNC_BYTES], bytes = size * x[SD_ASYNC_ELEMENTS];
    uint32_t m, i;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t to = shared_address(w, regs, ip->a, x[SD_ASYNC_OFFSET], lane, true);
        uint64_t bar = shared_address(w, regs, ip->b, x[SD_ASYNC_BARRIER_OFFSET], lane, true);
        uint8_t *p =
            to % bytes == 0 ? sd_resolve(w, lane, to, bytes, true, x[SD_ASYNC_SITE]) : NULL;
        uint64_t *state;

        if (p == NULL)
            return sd_fault_access(w, ip, lane, to, bytes, true);
        state = barrier_at(w, ip, lane, bar, x[SD_ASYNC_SITE]);
        if (state == NULL)
            return NULL;
        for (i = 0; i < x[SD_ASYNC_ELEMENTS]; i++) {
            uint64_t v = sd_lane_get(regs + x[SD_ASYNC_VALUES + i], lane, size);

            if (x[SD_ASYNC_OP] == SD_ASYNC_STORE)
                memcpy(p + (size_t)i * size, &v, size);
            else
                (void)sd_atom_apply((enum sd_atom_op)x[SD_ASYNC_OP],
                                    (enum sd_atom_type)x[SD_ASYNC_TYPE], p + (size_t)i * size, v);
        }
        complete(state, bytes);
    }
    return ip + 1;
}

/* ---- bulk copies ---- */

/* One side's address as a generic one. */
static uint64_t
bulk_address(const struct sd_warp *w, const uint8_t *regs, uint32_t row, uint32_t space,
             uint32_t offset, unsigned lane)
{
    uint64_t addr;

    if (space != SD_BULK_GLOBAL)
        return shared_address(w, regs, row, offset, lane, space == SD_BULK_CLUSTER);
    addr = u64_of(regs, row, lane) + (uint64_t)(int64_t)(int32_t)offset;
    return addr < SD_WINDOW_SHARED ? addr : SD_WINDOW_END;
}

static void
bulk_apply(const uint32_t *x, uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    const enum sd_atom_op op = (enum sd_atom_op)x[SD_BULK_OP];
    const enum sd_atom_type type = (enum sd_atom_type)x[SD_BULK_TYPE];
    const uint32_t size = sd_atom_bytes(type);
    uint32_t i;

    if (x[SD_BULK_OP] == SD_ASYNC_STORE) {
        memmove(to, from, bytes); /* a kernel may copy a place to itself */
        return;
    }
    for (i = 0; i < bytes; i += size) {
        uint64_t v = 0;

        memcpy(&v, from + i, size);
        (void)sd_atom_apply(op, type, to + i, v);
    }
}

/* One lane's copy to one place; NULL after a fault. */
static const struct sd_insn *
bulk_to(struct sd_warp *w, const struct sd_insn *ip, unsigned lane, const uint8_t *from,
        uint64_t to, uint64_t bar, uint32_t bytes)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    uint64_t *state = NULL;
    uint8_t *p = to % 16 == 0 ? sd_resolve(w, lane, to, bytes, true, x[SD_BULK_SITE]) : NULL;

    if (p == NULL)
        return sd_fault_access(w, ip, lane, to, 16, true);
    if (x[SD_BULK_COMPLETES] != 0) {
        state = barrier_at(w, ip, lane, bar, x[SD_BULK_SITE]);
        if (state == NULL)
            return NULL;
    }
    bulk_apply(x, p, from, bytes);
    if (state != NULL)
        complete(state, bytes);
    return ip;
}

/* To the same place of each block whose rank is wanted. */
static const struct sd_insn *
bulk_multicast(struct sd_warp *w, const struct sd_insn *ip, unsigned lane, const uint8_t *from,
               uint64_t to, uint64_t bar, uint32_t bytes, uint32_t ranks)
{
    for (; ranks != 0; ranks &= ranks - 1) {
        const uint64_t there = SD_WINDOW_SHARED + (sd_first_lane(ranks) + 1) * SD_WINDOW_BYTES;

        if (bulk_to(w, ip, lane, from, there + to % SD_WINDOW_BYTES, there + bar % SD_WINDOW_BYTES,
                    bytes) == NULL)
            return NULL;
    }
    return ip;
}

/* a: destination, b: source, c: bytes; extra: see async.h */
const struct sd_insn *
sd_cp_bulk(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t to = bulk_address(w, regs, ip->a, x[SD_BULK_TO], x[SD_BULK_TO_OFFSET], lane);
        uint64_t from = bulk_address(w, regs, ip->b, x[SD_BULK_FROM], x[SD_BULK_FROM_OFFSET], lane);
        uint64_t bar = 0;
        uint32_t bytes = u32_of(regs, ip->c, lane);
        const uint8_t *p;

        if (bytes % 16 != 0)
            return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0,
                            "bulk copy of %u bytes, not a multiple of 16", bytes);
        p = from % 16 == 0 ? sd_resolve(w, lane, from, bytes, false, x[SD_BULK_SITE]) : NULL;
        if (p == NULL)
            return sd_fault_access(w, ip, lane, from, 16, false);
        if (x[SD_BULK_COMPLETES] != 0)
            bar =
                shared_address(w, regs, x[SD_BULK_BARRIER], x[SD_BULK_BARRIER_OFFSET], lane, true);
        if (x[SD_BULK_MULTICAST] != 0 && (to >= SD_WINDOW_LOCAL || bar >= SD_WINDOW_LOCAL))
            return sd_fault_access(w, ip, lane, to >= SD_WINDOW_LOCAL ? to : bar, 16, true);
        if ((x[SD_BULK_MULTICAST] == 0
                 ? bulk_to(w, ip, lane, p, to, bar, bytes)
                 : bulk_multicast(w, ip, lane, p, to, bar, bytes,
                                  (uint32_t)sd_lane_get(regs + x[SD_BULK_RANKS], lane, 2))) == NULL)
            return NULL;
    }
    return ip + 1;
}
