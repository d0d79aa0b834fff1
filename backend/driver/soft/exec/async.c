/* backend/driver/soft/exec/async.c -- cp.async, also bulk, and mbarrier, lane by lane
 *
 * An mbarrier lies in shared memory, which one thread of this process runs at a time.
 */
#include "backend/driver/soft/exec/async.h"
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
shared_address(const uint8_t *regs, uint32_t row, uint32_t offset, unsigned lane)
{
    uint64_t at = (uint64_t)u32_of(regs, row, lane) + (uint64_t)(int64_t)(int32_t)offset;

    return at < SD_WINDOW_BYTES ? SD_WINDOW_SHARED + at : SD_WINDOW_END;
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
        uint64_t to = shared_address(regs, ip->a, x[0], lane);
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
                      ? sd_resolve(w, lane, from, used, false, x[3]) : NULL;
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
    case SD_MBAR_INIT: return (arg & COUNT_MASK) | (arg & COUNT_MASK) << 20;
    case SD_MBAR_ARRIVE: return settle(arrive(add_tx(v, bytes), arg, false));
    case SD_MBAR_ARRIVE_DROP: return settle(arrive(add_tx(v, bytes), arg, true));
    case SD_MBAR_EXPECT: return add_tx(v, arg);
    case SD_MBAR_COMPLETE: return settle(add_tx(v, 0 - arg));
    default: return v;
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

/* a: address, b: argument, extra: offset, in shared memory?, site, row of bytes to expect */
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
        addr = x[1] != 0 ? shared_address(regs, ip->a, x[0], lane)
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

/* ---- bulk copies ---- */

/* a: shared address, b: global address, c: bytes; extra: see async.h */
const struct sd_insn *
sd_cp_bulk(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    bool to_shared = x[SD_BULK_TO_SHARED] != 0;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t shared = shared_address(regs, ip->a, x[SD_BULK_SHARED_OFFSET], lane);
        uint64_t global = u64_of(regs, ip->b, lane) +
                          (uint64_t)(int64_t)(int32_t)x[SD_BULK_GLOBAL_OFFSET];
        uint64_t bar = 0;
        uint32_t bytes = u32_of(regs, ip->c, lane);
        void *s, *g, *state = NULL;

        if (bytes % 16 != 0)
            return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0,
                            "bulk copy of %u bytes, not a multiple of 16", bytes);
        s = shared % 16 == 0 ? sd_resolve(w, lane, shared, bytes, to_shared, x[SD_BULK_SITE]) : NULL;
        if (s == NULL)
            return sd_fault_access(w, ip, lane, shared, 16, to_shared);
        g = global % 16 == 0 && global < SD_WINDOW_SHARED
                ? sd_resolve(w, lane, global, bytes, !to_shared, x[SD_BULK_SITE]) : NULL;
        if (g == NULL)
            return sd_fault_access(w, ip, lane, global, 16, !to_shared);
        if (to_shared) {
            bar = shared_address(regs, x[SD_BULK_BARRIER], x[SD_BULK_BARRIER_OFFSET], lane);
            state = bar % 8 == 0 ? sd_resolve(w, lane, bar, 8, true, x[SD_BULK_SITE]) : NULL;
            if (state == NULL)
                return sd_fault_access(w, ip, lane, bar, 8, true);
        }
        memcpy(to_shared ? s : g, to_shared ? g : s, bytes);
        if (to_shared)
            *(uint64_t *)state = apply(SD_MBAR_COMPLETE, *(uint64_t *)state, bytes, 0);
    }
    return ip + 1;
}
