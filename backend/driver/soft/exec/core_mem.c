/* backend/driver/soft/exec/core_mem.c -- loads and stores
 *
 * ld and st: a address row, c offset (signed), d site, flags: elements per lane and modifiers;
 * dst (ld) or b (st): the value's row, or for vectors the first of a list in fn->extra.
 *
 * Ways, quickest first: all 32 lanes one after another in memory; all lanes the same; any
 * addresses in one known allocation; lane by lane. The first three check the whole access
 * against one span, the last asks sd_resolve. Nothing outside of the checked span is touched.
 */
#include "backend/driver/soft/exec/core.h"

struct access {
    uint8_t *base;   /* host address of offset 0 */
    uint64_t origin; /* what to subtract from an address to get an offset */
    uint64_t size;   /* bytes that may be accessed from base */
};

/* The span a site used last; empty when it may not be written. */
static inline struct access
global_span(struct sd_warp *w, const struct sd_insn *ip, bool write)
{
    const struct sd_cached_span *s = &w->cpu->spans[ip->d % SD_SPAN_CACHE];
    struct access acc = {(uint8_t *)(uintptr_t)s->base, s->base, s->end - s->base}; // NOLINT

    if (write && !s->writable)
        acc.size = 0;
    return acc;
}

/* ---- lane by lane ---- */

static inline uint64_t
load_any(const void *p, unsigned size)
{
    uint64_t v = 0;

    switch (size) {
    case 1:
        v = __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
        break;
    case 2:
        v = __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
        break;
    case 4:
        v = __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
        break;
    default:
        v = __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
        break;
    }
    return v;
}

static inline void
store_any(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        __atomic_store_n((uint8_t *)p, (uint8_t)v, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED);
        break;
    }
}

/* The same on memory of our own. */
static inline uint64_t
load_buf(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

static inline void
store_buf(uint8_t *p, unsigned size, uint64_t v)
{
    memcpy(p, &v, size);
}

static inline uint64_t
extend(uint64_t v, unsigned size, bool is_signed)
{
    unsigned shift = 64 - 8 * size;

    return is_signed ? (uint64_t)((int64_t)(v << shift) >> shift) : v;
}

/* A vector of 8 or 16 bytes is read or written at once: programs use it to pass a flag
 * together with a value. */
static inline void
copy_once(void *dst, const void *src, unsigned bytes)
{
    if (bytes == 16) {
        typedef long long v2 __attribute__((vector_size(16), may_alias));
        *(volatile v2 *)dst = *(const volatile v2 *)src;
    } else if (bytes == 8) {
        *(volatile uint64_t *)dst = *(const volatile uint64_t *)src;
    } else {
        memcpy(dst, src, bytes);
    }
}

/* Space 'g', 's', 'l', 'x'. Address of one lane as a generic pointer; false: out of range. */
static inline bool
lane_address(const struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs, char space,
             unsigned lane, uint64_t *addr_p)
{
    uint64_t a;

    if (space == 's') {
        a = (uint64_t)((const uint32_t *)(regs + ip->a))[lane] + (uint64_t)(int64_t)(int32_t)ip->c;
        *addr_p = SD_WINDOW_SHARED + a;
        return sd_shared_address(w, a, (ip->flags & SD_FL_CLUSTER) != 0) != SD_WINDOW_END;
    }
    a = ((const uint64_t *)(regs + ip->a))[lane] + (uint64_t)(int64_t)(int32_t)ip->c;
    *addr_p = space == 'l' ? SD_WINDOW_LOCAL + a : a;
    if (space == 'l')
        return a < SD_WINDOW_BYTES;
    /* ld.global of a window's address is an error, as on the hardware. */
    return space == 'x' || a < SD_WINDOW_SHARED || a >= SD_WINDOW_END;
}

static __attribute__((noinline)) const struct sd_insn *
load_slow(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, char space, unsigned size,
          bool is_signed, unsigned width)
{
    unsigned n = ip->flags & SD_FL_VEC;
    const uint32_t *list = n == 1 ? &ip->dst : w->frame->fn->extra + ip->dst;
    _Alignas(16) uint8_t buf[128];

    SD_EACH_SET(lane, w->mask)
    {
        uint64_t addr;
        bool valid = lane_address(w, ip, regs, space, lane, &addr);
        const void *p;

        if ((addr & (n * size - 1)) != 0 && valid)
            return sd_fault_access(w, ip, lane, addr, n * size, false);
        p = valid ? sd_resolve(w, lane, addr, n * size, false, ip->d) : NULL;
        if (p == NULL)
            return sd_fault_access(w, ip, lane, addr, n * size, false);
        if (n == 1) {
            sd_lane_put(regs + ip->dst, lane, width, extend(load_any(p, size), size, is_signed));
            continue;
        }
        copy_once(buf, p, n * size);
        for (unsigned k = 0; k < n; k++)
            if (list[k] != UINT32_MAX)
                sd_lane_put(regs + list[k], lane, width,
                            extend(load_buf(buf + k * size, size), size, is_signed));
    }
    return ip + 1;
}

static __attribute__((noinline)) const struct sd_insn *
store_slow(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, char space, unsigned size,
           unsigned width)
{
    unsigned n = ip->flags & SD_FL_VEC;
    const uint32_t *list = n == 1 ? &ip->b : w->frame->fn->extra + ip->b;
    _Alignas(16) uint8_t buf[128];

    SD_EACH_SET(lane, w->mask)
    {
        uint64_t addr;
        bool valid = lane_address(w, ip, regs, space, lane, &addr);
        void *p;

        if ((addr & (n * size - 1)) != 0 && valid)
            return sd_fault_access(w, ip, lane, addr, n * size, true);
        p = valid ? sd_resolve(w, lane, addr, n * size, true, ip->d) : NULL;
        if (p == NULL)
            return sd_fault_access(w, ip, lane, addr, n * size, true);
        if (n == 1) {
            store_any(p, size, sd_lane_get(regs + ip->b, lane, width));
            continue;
        }
        for (unsigned k = 0; k < n; k++)
            store_buf(buf + k * size, size, sd_lane_get(regs + list[k], lane, width));
        copy_once(p, buf, n * size);
    }
    return ip + 1;
}

/* ---- addresses of a whole warp ---- */

/* All offsets in bounds and aligned? Only lanes of m count. */
#define CHECK(A, T, add, limit, align, m, bad)                                                     \
    do {                                                                                           \
        T bad_ = 0;                                                                                \
        if ((m) == SD_LANES_ALL) {                                                                 \
            SD_EACH_LANE(i)                                                                        \
            {                                                                                      \
                T o_ = (A)[i] + (add);                                                             \
                bad_ |= (o_ > (limit) ? (T)1 : (T)0) | (o_ & (T)((align)-1));                      \
            }                                                                                      \
        } else {                                                                                   \
            SD_EACH_LANE(i)                                                                        \
            {                                                                                      \
                T o_ = (A)[i] + (add);                                                             \
                T x_ = (o_ > (limit) ? (T)1 : (T)0) | (o_ & (T)((align)-1));                       \
                bad_ |= (sd_lane_bits[i] & (m)) != 0 ? x_ : 0;                                     \
            }                                                                                      \
        }                                                                                          \
        (bad) = bad_ != 0;                                                                         \
    } while (0)

/*
 * Accesses of one element by a whole warp whose lanes follow each other or read the same: nearly
 * all. M: type in memory, D: type of a register lane (signed to extend signs), A: type of an
 * address lane. acc: the span; add: what makes an address an offset in it. Anything else, faults
 * too, falls through to what comes behind the macro.
 */
#define QUICK_START(M, A)                                                                          \
    const A *addr = SD_ROW(const A, ip->a);                                                        \
    const A o = addr[0] + (A)((uint64_t)(int64_t)(int32_t)ip->c - acc.origin);                     \
    const A limit = (A)(acc.size - sizeof(M));                                                     \
    const bool whole = w->mask == SD_LANES_ALL && (ip->flags & SD_FL_VEC) == 1 &&                  \
                       acc.size >= sizeof(M) && o <= limit && o % sizeof(M) == 0;

#define QUICK_LOAD(M, D, A, follow, read_ahead)                                                    \
    QUICK_START(M, A)                                                                              \
    if (GP_LIKELY(whole)) {                                                                        \
        const M *p = (const M *)(acc.base + o);                                                    \
        D *d = SD_ROW(D, ip->dst);                                                                 \
        const A step = addr[1] - addr[0];                                                          \
        if (step == sizeof(M) && limit - o >= 31 * sizeof(M) && follow(addr, sizeof(M))) {         \
            read_ahead;                                                                            \
            SD_EACH_LANE(i)                                                                        \
            d[i] = (D)p[i];                                                                        \
            SD_GO(ip + 1);                                                                         \
        }                                                                                          \
        if (step == 0 && follow(addr, 0)) {                                                        \
            const D v = (D)*p;                                                                     \
            SD_EACH_LANE(i)                                                                        \
            d[i] = v;                                                                              \
            SD_GO(ip + 1);                                                                         \
        }                                                                                          \
    }

#define QUICK_STORE(M, D, A, follow)                                                               \
    QUICK_START(M, A)                                                                              \
    if (GP_LIKELY(whole && limit - o >= 31 * sizeof(M) && follow(addr, sizeof(M)))) {              \
        const D *s = SD_ROW(const D, ip->b);                                                       \
        M *p = (M *)(acc.base + o);                                                                \
        SD_EACH_LANE(i)                                                                            \
        p[i] = (M)s[i];                                                                            \
        SD_GO(ip + 1);                                                                             \
    }

/* Vectors of a whole warp that follow each other, or are the same: the loops have constant strides,
 * so that they become permutations. Sinks are rare and go the other way. */
#define VECTOR_LOAD(M, D, A, follow)                                                               \
    if (m == SD_LANES_ALL && (n == 2 || n == 4)) {                                                 \
        const M *p = (const M *)(acc.base + (A)(addr[0] + add));                                   \
        D *d0 = SD_ROW(D, list[0]), *d1 = SD_ROW(D, list[1]);                                      \
        D *d2 = n == 4 ? SD_ROW(D, list[2]) : NULL, *d3 = n == 4 ? SD_ROW(D, list[3]) : NULL;      \
        bool sink = list[0] == UINT32_MAX || list[1] == UINT32_MAX ||                              \
                    (n == 4 && (list[2] == UINT32_MAX || list[3] == UINT32_MAX));                  \
        if (!sink && addr[1] == addr[0] && follow(addr, 0)) {                                      \
            for (unsigned k = 0; k < n; k++) {                                                     \
                D *d = SD_ROW(D, list[k]);                                                         \
                const D v = (D)p[k];                                                               \
                SD_EACH_LANE(i)                                                                    \
                d[i] = v;                                                                          \
            }                                                                                      \
            return ip + 1;                                                                         \
        }                                                                                          \
        if (!sink && follow(addr, (A)bytes)) {                                                     \
            if (n == 2) {                                                                          \
                SD_EACH_LANE(i)                                                                    \
                {                                                                                  \
                    d0[i] = (D)p[2 * i];                                                           \
                    d1[i] = (D)p[2 * i + 1];                                                       \
                }                                                                                  \
            } else {                                                                               \
                SD_EACH_LANE(i)                                                                    \
                {                                                                                  \
                    d0[i] = (D)p[4 * i];                                                           \
                    d1[i] = (D)p[4 * i + 1];                                                       \
                    d2[i] = (D)p[4 * i + 2];                                                       \
                    d3[i] = (D)p[4 * i + 3];                                                       \
                }                                                                                  \
            }                                                                                      \
            return ip + 1;                                                                         \
        }                                                                                          \
    }

#define VECTOR_STORE(M, D, A, follow)                                                              \
    if (m == SD_LANES_ALL && (n == 2 || n == 4) && follow(addr, (A)bytes)) {                       \
        M *p = (M *)(acc.base + (A)(addr[0] + add));                                               \
        const D *s0 = SD_ROW(const D, list[0]), *s1 = SD_ROW(const D, list[1]);                    \
        if (n == 2) {                                                                              \
            SD_EACH_LANE(i)                                                                        \
            {                                                                                      \
                p[2 * i] = (M)s0[i];                                                               \
                p[2 * i + 1] = (M)s1[i];                                                           \
            }                                                                                      \
        } else {                                                                                   \
            const D *s2 = SD_ROW(const D, list[2]), *s3 = SD_ROW(const D, list[3]);                \
            SD_EACH_LANE(i)                                                                        \
            {                                                                                      \
                p[4 * i] = (M)s0[i];                                                               \
                p[4 * i + 1] = (M)s1[i];                                                           \
                p[4 * i + 2] = (M)s2[i];                                                           \
                p[4 * i + 3] = (M)s3[i];                                                           \
            }                                                                                      \
        }                                                                                          \
        return ip + 1;                                                                             \
    }

/*
 * Blocks that are 16 wide: each half of a warp is in a row of its own. Both halves' lanes follow
 * each other by 0 or by step; which, in *apart_p (bit 0: the first half's by step, bit 1: the
 * second's).
 */
#define HALF 16u
#define HALVES(name, A)                                                                            \
    static inline bool name(const A *addr, A step, unsigned *apart_p)                              \
    {                                                                                              \
        const A s0 = addr[1] - addr[0], s1 = addr[HALF + 1] - addr[HALF];                          \
        A bad = 0;                                                                                 \
                                                                                                   \
        if ((s0 != 0 && s0 != step) || (s1 != 0 && s1 != step))                                    \
            return false;                                                                          \
        SD_LOOP for (unsigned i = 0; i < HALF; i++) bad |=                                         \
            (addr[i] - addr[0] - s0 * (A)i) | (addr[HALF + i] - addr[HALF] - s1 * (A)i);           \
        *apart_p = (s0 != 0 ? 1u : 0u) | (s1 != 0 ? 2u : 0u);                                      \
        return bad == 0;                                                                           \
    }
HALVES(halves32, uint32_t)
HALVES(halves64, uint64_t)

/* Register k of n of a half's 16 vectors, which lie one after the other (apart) or are the same. */
#define HALF_LOAD(M, D, to, p, n, k, apart)                                                        \
    do {                                                                                           \
        D *d_ = (to);                                                                              \
        const M *p_ = (p) + (k);                                                                   \
        if (!(apart)) {                                                                            \
            const D v_ = (D)*p_;                                                                   \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) d_[i] = v_;                                \
        } else if ((n) == 1) {                                                                     \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) d_[i] = (D)p_[i];                          \
        } else if ((n) == 2) {                                                                     \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) d_[i] = (D)p_[2 * i];                      \
        } else {                                                                                   \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) d_[i] = (D)p_[4 * i];                      \
        }                                                                                          \
    } while (0)

#define HALVES_LOAD(M, D, A, halves)                                                               \
    if (m == SD_LANES_ALL && (n == 1 || n == 2 || n == 4)) {                                       \
        unsigned apart;                                                                            \
                                                                                                   \
        if (halves(addr, (A)bytes, &apart)) {                                                      \
            const M *p0 = (const M *)(acc.base + (A)(addr[0] + add));                              \
            const M *p1 = (const M *)(acc.base + (A)(addr[HALF] + add));                           \
            for (unsigned k = 0; k < n; k++) {                                                     \
                if (list[k] == UINT32_MAX)                                                         \
                    continue;                                                                      \
                HALF_LOAD(M, D, SD_ROW(D, list[k]), p0, n, k, (apart & 1) != 0);                   \
                HALF_LOAD(M, D, SD_ROW(D, list[k]) + HALF, p1, n, k, (apart & 2) != 0);            \
            }                                                                                      \
            return ip + 1;                                                                         \
        }                                                                                          \
    }

#define HALVES_STORE(M, D, A, halves)                                                              \
    if (m == SD_LANES_ALL && n == 1) {                                                             \
        unsigned apart;                                                                            \
                                                                                                   \
        if (halves(addr, (A)bytes, &apart) && apart == 3) {                                        \
            const D *s = SD_ROW(const D, ip->b);                                                   \
            M *p0 = (M *)(acc.base + (A)(addr[0] + add));                                          \
            M *p1 = (M *)(acc.base + (A)(addr[HALF] + add));                                       \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) p0[i] = (M)s[i];                           \
            SD_LOOP for (unsigned i = 0; i < HALF; i++) p1[i] = (M)s[HALF + i];                    \
            return ip + 1;                                                                         \
        }                                                                                          \
    }

/* All other loads and stores of one known span. */
#define GATHER(space, M, D, A, follow, halves)                                                     \
    const unsigned n = ip->flags & SD_FL_VEC;                                                      \
    const unsigned bytes = n * (unsigned)sizeof(M);                                                \
    const uint32_t m = w->mask;                                                                    \
    const A *addr = SD_ROW(const A, ip->a);                                                        \
    const A add = (A)((uint64_t)(int64_t)(int32_t)ip->c - acc.origin);                             \
    const A limit = (A)(acc.size - bytes);                                                         \
    const uint32_t *list = n == 1 ? &ip->dst : w->frame->fn->extra + ip->dst;                      \
    bool bad;                                                                                      \
                                                                                                   \
    if (GP_UNLIKELY(acc.size < bytes || ((ip->flags & SD_FL_STRONG) != 0 && n > 1)))               \
        return load_slow(w, ip, regs, space, sizeof(M), (M)-1 < (M)1, sizeof(D));                  \
    CHECK(addr, A, add, limit, bytes, m, bad);                                                     \
    if (GP_UNLIKELY(bad))                                                                          \
        return load_slow(w, ip, regs, space, sizeof(M), (M)-1 < (M)1, sizeof(D));                  \
    VECTOR_LOAD(M, D, A, follow)                                                                   \
    HALVES_LOAD(M, D, A, halves)                                                                   \
    if (n == 1) {                                                                                  \
        D *d = SD_ROW(D, ip->dst);                                                                 \
        if (m == SD_LANES_ALL) {                                                                   \
            for (unsigned i = 0; i < SD_LANES; i++)                                                \
                d[i] = (D) * (const M *)(acc.base + (A)(addr[i] + add));                           \
        } else {                                                                                   \
            SD_EACH_SET(i, m)                                                                      \
            d[i] = (D) * (const M *)(acc.base + (A)(addr[i] + add));                               \
        }                                                                                          \
        return ip + 1;                                                                             \
    }                                                                                              \
    for (unsigned k = 0; k < n; k++) {                                                             \
        D tmp[SD_LANES] __attribute__((aligned(64)));                                              \
        const uint8_t *p = acc.base + k * sizeof(M);                                               \
        if (list[k] == UINT32_MAX)                                                                 \
            continue;                                                                              \
        SD_EACH_SET(i, m)                                                                          \
        tmp[i] = (D) * (const M *)(p + (A)(addr[i] + add));                                        \
        SD_BLEND(D, SD_ROW(D, list[k]), tmp, m);                                                   \
    }                                                                                              \
    return ip + 1;

#define SCATTER(space, M, D, A, follow, halves)                                                    \
    const unsigned n = ip->flags & SD_FL_VEC;                                                      \
    const unsigned bytes = n * (unsigned)sizeof(M);                                                \
    const uint32_t m = w->mask;                                                                    \
    const A *addr = SD_ROW(const A, ip->a);                                                        \
    const A add = (A)((uint64_t)(int64_t)(int32_t)ip->c - acc.origin);                             \
    const A limit = (A)(acc.size - bytes);                                                         \
    const uint32_t *list = n == 1 ? &ip->b : w->frame->fn->extra + ip->b;                          \
    bool bad;                                                                                      \
                                                                                                   \
    if (GP_UNLIKELY(acc.size < bytes || ((ip->flags & SD_FL_STRONG) != 0 && n > 1)))               \
        return store_slow(w, ip, regs, space, sizeof(M), sizeof(D));                               \
    CHECK(addr, A, add, limit, bytes, m, bad);                                                     \
    if (GP_UNLIKELY(bad))                                                                          \
        return store_slow(w, ip, regs, space, sizeof(M), sizeof(D));                               \
    VECTOR_STORE(M, D, A, follow)                                                                  \
    HALVES_STORE(M, D, A, halves)                                                                  \
    for (unsigned k = 0; k < n; k++) {                                                             \
        const D *s = SD_ROW(const D, list[k]);                                                     \
        uint8_t *p = acc.base + k * sizeof(M);                                                     \
        SD_EACH_SET(i, m)                                                                          \
        *(M *)(p + (A)(addr[i] + add)) = (M)s[i];                                                  \
    }                                                                                              \
    return ip + 1;

/* A warp that strides far touches new pages and lines that no hardware foresees: fetch what it
 * will want some turns later, inside of its allocation. */
#define AHEAD     8
#define AHEAD_MIN 1024u

static inline void
read_ahead(struct sd_warp *w, const struct sd_insn *ip, uint64_t o, unsigned bytes)
{
    struct sd_cached_span *s = &w->cpu->spans[ip->d % SD_SPAN_CACHE];
    const uint64_t stride = o - s->last;

    s->last = o;
    if (stride != s->stride) {
        s->stride = stride;
    } else if (stride + AHEAD_MIN > 2 * AHEAD_MIN) {
        const uint64_t then = o + AHEAD * stride, size = s->end - s->base;

        if (then < size && size - then >= bytes) {
            __builtin_prefetch((const void *)(uintptr_t)(s->base + then));             // NOLINT
            __builtin_prefetch((const void *)(uintptr_t)(s->base + then + bytes - 1)); // NOLINT
        }
    }
}

/* Shared memory: 32-bit addresses. An offset that wraps below 0 lands above the limit. */
#define SHARED_ACCESS const struct access acc = {w->shared, 0, w->shared_bytes};

/* Generic: as global if no lane points into a window, as shared if all do. */
static inline bool
any_window(const uint64_t *addr, int32_t offset)
{
    uint64_t high = 0;

    SD_EACH_LANE(i)
    high |= addr[i] + (uint64_t)(int64_t)offset;
    return high >> 47 != 0;
}

/* All lanes in the shared window: turn their addresses into offsets. */
static inline bool
all_shared(const uint64_t *addr, uint32_t m, uint32_t *out)
{
    uint64_t outside = 0;

    SD_EACH_LANE(i)
    {
        uint64_t o = addr[i] - SD_WINDOW_SHARED;

        outside |= (sd_lane_bits[i] & m) != 0 ? o >> 24 : 0;
        out[i] = (uint32_t)o;
    }
    return outside == 0;
}

#define LD(id, M, D)                                                                               \
    static __attribute__((noinline)) const struct sd_insn *gather_g_##id(                          \
        struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)                                \
    {                                                                                              \
        const struct access acc = global_span(w, ip, false);                                       \
        GATHER('g', M, D, uint64_t, sd_follow64, halves64)                                         \
    }                                                                                              \
    SD_HANDLER(h_ld_g_##id)                                                                        \
    {                                                                                              \
        const struct access acc = global_span(w, ip, false);                                       \
        QUICK_LOAD(M, D, uint64_t, sd_follow64, read_ahead(w, ip, o, 32 * sizeof(M)))              \
        return gather_g_##id(w, ip, regs);                                                         \
    }                                                                                              \
    static __attribute__((noinline)) const struct sd_insn *gather_s_##id(                          \
        struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs){                               \
        SHARED_ACCESS GATHER('s', M, D, uint32_t, sd_follow32, halves32)} SD_HANDLER(h_ld_s_##id)  \
    {                                                                                              \
        SHARED_ACCESS                                                                              \
        QUICK_LOAD(M, D, uint32_t, sd_follow32, (void)0)                                           \
        return gather_s_##id(w, ip, regs);                                                         \
    }                                                                                              \
    SD_HANDLER(h_ld_l_##id)                                                                        \
    {                                                                                              \
        return load_local(w, ip, regs, sizeof(M), (M)-1 < (M)1, sizeof(D));                        \
    }                                                                                              \
    SD_HANDLER(h_ld_x_##id)                                                                        \
    {                                                                                              \
        if (GP_LIKELY(!any_window(SD_ROW(const uint64_t, ip->a), (int32_t)ip->c)))                 \
            return h_ld_g_##id(w, ip, regs);                                                       \
        return load_window(w, ip, regs, sizeof(M), (M)-1 < (M)1, sizeof(D));                       \
    }

#define ST(id, M, D)                                                                               \
    static __attribute__((noinline)) const struct sd_insn *scatter_g_##id(                         \
        struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)                                \
    {                                                                                              \
        const struct access acc = global_span(w, ip, true);                                        \
        SCATTER('g', M, D, uint64_t, sd_follow64, halves64)                                        \
    }                                                                                              \
    SD_HANDLER(h_st_g_##id)                                                                        \
    {                                                                                              \
        const struct access acc = global_span(w, ip, true);                                        \
        QUICK_STORE(M, D, uint64_t, sd_follow64)                                                   \
        return scatter_g_##id(w, ip, regs);                                                        \
    }                                                                                              \
    static __attribute__((noinline)) const struct sd_insn *scatter_s_##id(                         \
        struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs){                               \
        SHARED_ACCESS SCATTER('s', M, D, uint32_t, sd_follow32, halves32)} SD_HANDLER(h_st_s_##id) \
    {                                                                                              \
        SHARED_ACCESS                                                                              \
        QUICK_STORE(M, D, uint32_t, sd_follow32)                                                   \
        return scatter_s_##id(w, ip, regs);                                                        \
    }                                                                                              \
    SD_HANDLER(h_st_l_##id)                                                                        \
    {                                                                                              \
        return store_local(w, ip, regs, sizeof(M), sizeof(D));                                     \
    }                                                                                              \
    SD_HANDLER(h_st_x_##id)                                                                        \
    {                                                                                              \
        if (GP_LIKELY(!any_window(SD_ROW(const uint64_t, ip->a), (int32_t)ip->c)))                 \
            return h_st_g_##id(w, ip, regs);                                                       \
        return store_window(w, ip, regs, sizeof(M), sizeof(D));                                    \
    }

/* ---- local memory: each lane has its own stretch ---- */

static inline bool
local_ok(const struct sd_warp *w, const uint64_t *addr, int32_t offset, uint32_t bytes)
{
    const uint64_t add = (uint64_t)(int64_t)offset;
    const uint32_t m = w->mask;
    bool bad;

    if (w->local_stride < bytes)
        return false;
    CHECK(addr, uint64_t, add, (uint64_t)(w->local_stride - bytes), bytes, m, bad);
    return !bad;
}

#define LOCAL_SIZES(X)                                                                             \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        X(uint8_t, int8_t) break;                                                                  \
    case 2:                                                                                        \
        X(uint16_t, int16_t) break;                                                                \
    case 4:                                                                                        \
        X(uint32_t, int32_t) break;                                                                \
    default:                                                                                       \
        X(uint64_t, int64_t) break;                                                                \
    }

static const struct sd_insn *
load_local(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, unsigned size,
           bool is_signed, unsigned width)
{
    const uint64_t *addr = SD_ROW(const uint64_t, ip->a);
    const unsigned n = ip->flags & SD_FL_VEC;
    const uint64_t add = (uint64_t)(int64_t)(int32_t)ip->c;
    const uint32_t *list = n == 1 ? &ip->dst : w->frame->fn->extra + ip->dst;

    if (GP_UNLIKELY(!local_ok(w, addr, (int32_t)ip->c, n * size)))
        return load_slow(w, ip, regs, 'l', size, is_signed, width);
    for (unsigned k = 0; k < n; k++) {
        const uint8_t *p = w->local + add + (uint64_t)k * size;
        uint8_t *row;

        if (list[k] == UINT32_MAX)
            continue;
        row = regs + list[k];
#define X(U, S)                                                                                    \
    SD_EACH_SET(i, w->mask)                                                                        \
    {                                                                                              \
        uint64_t v = *(const U *)(p + addr[i] + (uint64_t)i * w->local_stride);                    \
        sd_lane_put(row, i, width, is_signed ? (uint64_t)(int64_t)(S)v : v);                       \
    }
        LOCAL_SIZES(X)
#undef X
    }
    return ip + 1;
}

static const struct sd_insn *
store_local(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, unsigned size,
            unsigned width)
{
    const uint64_t *addr = SD_ROW(const uint64_t, ip->a);
    const unsigned n = ip->flags & SD_FL_VEC;
    const uint64_t add = (uint64_t)(int64_t)(int32_t)ip->c;
    const uint32_t *list = n == 1 ? &ip->b : w->frame->fn->extra + ip->b;

    if (GP_UNLIKELY(!local_ok(w, addr, (int32_t)ip->c, n * size)))
        return store_slow(w, ip, regs, 'l', size, width);
    for (unsigned k = 0; k < n; k++) {
        uint8_t *p = w->local + add + (uint64_t)k * size;
        const uint8_t *row = regs + list[k];

#define X(U, S)                                                                                    \
    SD_EACH_SET(i, w->mask)                                                                        \
    *(U *)(p + addr[i] + (uint64_t)i * w->local_stride) = (U)sd_lane_get(row, i, width);
        LOCAL_SIZES(X)
#undef X
    }
    return ip + 1;
}

/* ---- generic pointers into windows ---- */

static inline bool
shared_ok(const struct sd_warp *w, const struct sd_insn *ip, const uint32_t *offsets,
          uint32_t bytes)
{
    const uint32_t add = ip->c;
    const uint32_t m = w->mask;
    bool bad;

    if (w->shared_bytes < bytes || (ip->flags & SD_FL_STRONG) != 0)
        return false;
    CHECK(offsets, uint32_t, add, w->shared_bytes - bytes, bytes, m, bad);
    return !bad;
}

static __attribute__((noinline)) const struct sd_insn *
load_window(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, unsigned size,
            bool is_signed, unsigned width)
{
    uint32_t offsets[SD_LANES] __attribute__((aligned(64)));
    const unsigned n = ip->flags & SD_FL_VEC;
    const uint32_t *list = n == 1 ? &ip->dst : w->frame->fn->extra + ip->dst;

    if (!all_shared(SD_ROW(const uint64_t, ip->a), w->mask, offsets) ||
        !shared_ok(w, ip, offsets, n * size))
        return load_slow(w, ip, regs, 'x', size, is_signed, width);
    for (unsigned k = 0; k < n; k++) {
        const uint8_t *p = w->shared + k * size;
        uint8_t *row;

        if (list[k] == UINT32_MAX)
            continue;
        row = regs + list[k];
#define X(U, S)                                                                                    \
    SD_EACH_SET(i, w->mask)                                                                        \
    {                                                                                              \
        uint64_t v = *(const U *)(p + (uint32_t)(offsets[i] + ip->c));                             \
        sd_lane_put(row, i, width, is_signed ? (uint64_t)(int64_t)(S)v : v);                       \
    }
        LOCAL_SIZES(X)
#undef X
    }
    return ip + 1;
}

static __attribute__((noinline)) const struct sd_insn *
store_window(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, unsigned size,
             unsigned width)
{
    uint32_t offsets[SD_LANES] __attribute__((aligned(64)));
    const unsigned n = ip->flags & SD_FL_VEC;
    const uint32_t *list = n == 1 ? &ip->b : w->frame->fn->extra + ip->b;

    if (!all_shared(SD_ROW(const uint64_t, ip->a), w->mask, offsets) ||
        !shared_ok(w, ip, offsets, n * size))
        return store_slow(w, ip, regs, 'x', size, width);
    for (unsigned k = 0; k < n; k++) {
        uint8_t *p = w->shared + k * size;
        const uint8_t *row = regs + list[k];

#define X(U, S)                                                                                    \
    SD_EACH_SET(i, w->mask)                                                                        \
    *(U *)(p + (uint32_t)(offsets[i] + ip->c)) = (U)sd_lane_get(row, i, width);
        LOCAL_SIZES(X)
#undef X
    }
    return ip + 1;
}

#define LOADS                                                                                      \
    LD(u8_16, uint8_t, uint16_t)                                                                   \
    LD(u8_32, uint8_t, uint32_t)                                                                   \
    LD(u8_64, uint8_t, uint64_t)                                                                   \
    LD(s8_16, int8_t, uint16_t) LD(s8_32, int8_t, uint32_t) LD(s8_64, int8_t, uint64_t)            \
        LD(u16_16, uint16_t, uint16_t) LD(u16_32, uint16_t, uint32_t)                              \
            LD(u16_64, uint16_t, uint64_t) LD(s16_32, int16_t, uint32_t)                           \
                LD(s16_64, int16_t, uint64_t) LD(u32_32, uint32_t, uint32_t)                       \
                    LD(u32_64, uint32_t, uint64_t) LD(s32_64, int32_t, uint64_t)                   \
                        LD(u64_64, uint64_t, uint64_t)
#define STORES                                                                                     \
    ST(u8_16, uint8_t, uint16_t)                                                                   \
    ST(u8_32, uint8_t, uint32_t)                                                                   \
    ST(u8_64, uint8_t, uint64_t)                                                                   \
    ST(u16_16, uint16_t, uint16_t) ST(u16_32, uint16_t, uint32_t) ST(u16_64, uint16_t, uint64_t)   \
        ST(u32_32, uint32_t, uint32_t) ST(u32_64, uint32_t, uint64_t)                              \
            ST(u64_64, uint64_t, uint64_t)

LOADS
STORES

void
SD_NAME(sd_fill_mem)(struct sd_core *core)
{
#undef LD
#undef ST
#define ONE(id)      core->full[SD_OP_##id] = core->masked[SD_OP_##id] = h_##id;
#define LD(id, M, D) ONE(ld_g_##id) ONE(ld_s_##id) ONE(ld_l_##id) ONE(ld_x_##id)
#define ST(id, M, D) ONE(st_g_##id) ONE(st_s_##id) ONE(st_l_##id) ONE(st_x_##id)
    LOADS
    STORES
    core->full[SD_OP_atom] = core->masked[SD_OP_atom] = sd_atom;
    core->full[SD_OP_multimem] = core->masked[SD_OP_multimem] = sd_multimem;
}
