/* backend/driver/soft/exec/atom.c -- atomic operations, lane by lane in lane order */
#include "backend/driver/soft/exec/atom.h"
#include "backend/driver/soft/exec/warp.h"

#include "backend/driver/soft/math/sd_half.h"
#include "backend/driver/soft/math/sd_fp.h"

#include <string.h>

/* Lanes are passed as 64 bits; b128 has its own way. */
typedef uint64_t (*atom_fn)(void *p, uint64_t v, uint64_t compare);

#define LOOP(name, T, expr)                                                                        \
    static uint64_t name(void *p, uint64_t v64, uint64_t c64)                                      \
    {                                                                                              \
        const T v = (T)v64;                                                                        \
        const T c __attribute__((unused)) = (T)c64;                                                \
        T old = __atomic_load_n((T *)p, __ATOMIC_RELAXED), new_value;                              \
        do                                                                                         \
            new_value = (T)(expr);                                                                 \
        while (!__atomic_compare_exchange_n((T *)p, &old, new_value, true, __ATOMIC_SEQ_CST,       \
                                            __ATOMIC_RELAXED));                                    \
        return (uint64_t)old;                                                                      \
    }
#define FETCH(name, T, fn)                                                                         \
    static uint64_t name(void *p, uint64_t v, uint64_t c)                                          \
    {                                                                                              \
        (void)c;                                                                                   \
        return (uint64_t)fn((T *)p, (T)v, __ATOMIC_SEQ_CST);                                       \
    }
#define CAS(name, T)                                                                               \
    static uint64_t name(void *p, uint64_t v, uint64_t c)                                          \
    {                                                                                              \
        T old = (T)c;                                                                              \
        (void)__atomic_compare_exchange_n((T *)p, &old, (T)v, false, __ATOMIC_SEQ_CST,             \
                                          __ATOMIC_SEQ_CST);                                       \
        return (uint64_t)old;                                                                      \
    }
#define INTS(t, T)                                                                                 \
    FETCH(add_##t, T, __atomic_fetch_add)                                                          \
    FETCH(and_##t, T, __atomic_fetch_and)                                                          \
    FETCH(or_##t, T, __atomic_fetch_or)                                                            \
    FETCH(xor_##t, T, __atomic_fetch_xor)                                                          \
    FETCH(exch_##t, T, __atomic_exchange_n)                                                        \
    CAS(cas_##t, T)

INTS(u32, uint32_t)
INTS(u64, uint64_t)
INTS(b16, uint16_t)
LOOP(min_u32, uint32_t, v < old ? v : old)
LOOP(max_u32, uint32_t, v > old ? v : old)
LOOP(min_s32, uint32_t, (int32_t)v < (int32_t)old ? v : old)
LOOP(max_s32, uint32_t, (int32_t)v > (int32_t)old ? v : old)
LOOP(min_u64, uint64_t, v < old ? v : old)
LOOP(max_u64, uint64_t, v > old ? v : old)
LOOP(min_s64, uint64_t, (int64_t)v < (int64_t)old ? v : old)
LOOP(max_s64, uint64_t, (int64_t)v > (int64_t)old ? v : old)
LOOP(inc_u32, uint32_t, old >= v ? 0 : old + 1)
LOOP(dec_u32, uint32_t, old == 0 || old > v ? v : old - 1)
LOOP(add_f32, uint32_t, sd_bits_f32(sd_canon_f32(sd_f32_bits(old) + sd_f32_bits(v))))
#define FLUSH(u) sd_ftz_f32(sd_f32_bits(u))
LOOP(add_ftz_f32, uint32_t, sd_bits_f32(sd_canon_f32(sd_ftz_f32(FLUSH(old) + FLUSH(v)))))
LOOP(add_f64, uint64_t, sd_bits_f64(sd_f64_bits(old) + sd_f64_bits(v)))
LOOP(min_f32, uint32_t, sd_bits_f32(sd_min_f32(sd_f32_bits(old), sd_f32_bits(v))))
LOOP(max_f32, uint32_t, sd_bits_f32(sd_max_f32(sd_f32_bits(old), sd_f32_bits(v))))
LOOP(add_f16, uint16_t, sd_add_f16(old, v))
LOOP(add_bf16, uint16_t, sd_add_bf16(old, v))
LOOP(min_f16, uint16_t, sd_min_f16(old, v, false, false))
LOOP(max_f16, uint16_t, sd_max_f16(old, v, false, false))
LOOP(min_bf16, uint16_t, sd_min_bf16(old, v, false, false))
LOOP(max_bf16, uint16_t, sd_max_bf16(old, v, false, false))
LOOP(add_f16x2, uint32_t, SD_X2_2(sd_add_f16, old, v))
LOOP(add_bf16x2, uint32_t, SD_X2_2(sd_add_bf16, old, v))
#define PAIR(fn, a, b)                                                                             \
    ((uint32_t)fn((uint16_t)(a), (uint16_t)(b), false, false) |                                    \
     (uint32_t)fn((uint16_t)((a) >> 16), (uint16_t)((b) >> 16), false, false) << 16)
LOOP(min_f16x2, uint32_t, PAIR(sd_min_f16, old, v))
LOOP(max_f16x2, uint32_t, PAIR(sd_max_f16, old, v))
LOOP(min_bf16x2, uint32_t, PAIR(sd_min_bf16, old, v))
LOOP(max_bf16x2, uint32_t, PAIR(sd_max_bf16, old, v))

#define INT_ROW(t)                                                                                 \
    [SD_ATOM_ADD] = add_##t, [SD_ATOM_AND] = and_##t, [SD_ATOM_OR] = or_##t,                       \
    [SD_ATOM_XOR] = xor_##t, [SD_ATOM_EXCH] = exch_##t, [SD_ATOM_CAS] = cas_##t

static const atom_fn table[SD_ATOM_TYPES][SD_ATOM_OPS] = {
    [SD_ATOM_U32] = {INT_ROW(u32), [SD_ATOM_MIN] = min_u32, [SD_ATOM_MAX] = max_u32,
                     [SD_ATOM_INC] = inc_u32, [SD_ATOM_DEC] = dec_u32},
    [SD_ATOM_S32] = {INT_ROW(u32), [SD_ATOM_MIN] = min_s32, [SD_ATOM_MAX] = max_s32},
    [SD_ATOM_U64] = {INT_ROW(u64), [SD_ATOM_MIN] = min_u64, [SD_ATOM_MAX] = max_u64},
    [SD_ATOM_S64] = {INT_ROW(u64), [SD_ATOM_MIN] = min_s64, [SD_ATOM_MAX] = max_s64},
    [SD_ATOM_F32] = {[SD_ATOM_ADD] = add_f32,
                     [SD_ATOM_MIN] = min_f32,
                     [SD_ATOM_MAX] = max_f32,
                     [SD_ATOM_EXCH] = exch_u32},
    [SD_ATOM_F32_FTZ] = {[SD_ATOM_ADD] = add_ftz_f32,
                         [SD_ATOM_MIN] = min_f32,
                         [SD_ATOM_MAX] = max_f32,
                         [SD_ATOM_EXCH] = exch_u32},
    [SD_ATOM_F64] = {[SD_ATOM_ADD] = add_f64, [SD_ATOM_EXCH] = exch_u64},
    [SD_ATOM_B16] = {INT_ROW(b16)},
    [SD_ATOM_F16] = {[SD_ATOM_ADD] = add_f16, [SD_ATOM_MIN] = min_f16, [SD_ATOM_MAX] = max_f16},
    [SD_ATOM_BF16] = {[SD_ATOM_ADD] = add_bf16, [SD_ATOM_MIN] = min_bf16, [SD_ATOM_MAX] = max_bf16},
    [SD_ATOM_F16X2] =
        {[SD_ATOM_ADD] = add_f16x2, [SD_ATOM_MIN] = min_f16x2, [SD_ATOM_MAX] = max_f16x2},
    [SD_ATOM_BF16X2] =
        {[SD_ATOM_ADD] = add_bf16x2, [SD_ATOM_MIN] = min_bf16x2, [SD_ATOM_MAX] = max_bf16x2},
};

static const uint8_t type_bytes[SD_ATOM_TYPES] = {4, 4, 8, 8, 4, 8, 2, 2, 4, 2, 4, 16, 4};

uint32_t
sd_atom_bytes(enum sd_atom_type type)
{
    return type_bytes[type];
}

bool
sd_atom_known(enum sd_atom_op op, enum sd_atom_type type)
{
    if (type == SD_ATOM_B128)
        return op == SD_ATOM_EXCH || op == SD_ATOM_CAS;
    return table[type][op] != NULL;
}

uint64_t
sd_atom_apply(enum sd_atom_op op, enum sd_atom_type type, void *p, uint64_t v)
{
    return table[type][op](p, v, 0);
}

/* Exchanges of 16 bytes need a lock where the processor's own instruction is not sure to exist. */
static pthread_mutex_t wide_lock = PTHREAD_MUTEX_INITIALIZER;

static void
atom_128(uint64_t p[2], const uint64_t v[2], const uint64_t *compare, uint64_t old[2])
{
    pthread_mutex_lock(&wide_lock);
    memcpy(old, p, 16);
    if (compare == NULL || memcmp(old, compare, 16) == 0)
        memcpy(p, v, 16);
    pthread_mutex_unlock(&wide_lock);
}

static uint64_t
address(const struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs, unsigned space,
        unsigned lane)
{
    uint64_t offset = (uint64_t)(int64_t)(int32_t)ip->c;

    if (space == 1 || space == 4)
        return sd_shared_address(w, sd_lane_get(regs + ip->a, lane, 4) + offset, space == 4);
    return sd_lane_get(regs + ip->a, lane, 8) + offset;
}

/* Whether all lanes of m have the address of the first, rows of 4 or 8 bytes. */
static bool
same_address(const uint8_t *row, unsigned width, uint32_t m)
{
    unsigned first = sd_first_lane(m);
    uint64_t apart = 0;

    if (width == 4) {
        const uint32_t *a = (const uint32_t *)(const void *)row;

        for (unsigned i = 0; i < SD_LANES; i++)
            apart |= (m >> i & 1) != 0 ? a[i] ^ a[first] : 0;
    } else {
        const uint64_t *a = (const uint64_t *)(const void *)row;

        for (unsigned i = 0; i < SD_LANES; i++)
            apart |= (m >> i & 1) != 0 ? a[i] ^ a[first] : 0;
    }
    return apart == 0;
}

/* Whole numbers for which the operations of several lanes are one with what they are together. */
static bool
is_together(const struct sd_warp *w, const struct sd_insn *ip, const uint8_t *regs,
            const uint32_t *x)
{
    return (w->mask & (w->mask - 1)) != 0 && x[1] <= SD_ATOM_S64 &&
           (x[0] == SD_ATOM_ADD ||
            (x[5] == 0 && (x[0] == SD_ATOM_AND || x[0] == SD_ATOM_OR || x[0] == SD_ATOM_XOR))) &&
           same_address(regs + ip->a, x[2] == 1 || x[2] == 4 ? 4 : 8, w->mask);
}

/* All lanes add to one place: once, and each gets what it would have found in its turn. */
static void
atom_together(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs, const uint32_t *x,
              void *p, unsigned bytes)
{
    uint64_t before[SD_LANES], all = x[0] == SD_ATOM_AND ? ~0ull : 0, old;
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t v = sd_lane_get(regs + ip->b, lane, bytes);

        before[lane] = all;
        all = x[0] == SD_ATOM_ADD   ? all + v
              : x[0] == SD_ATOM_AND ? all & v
              : x[0] == SD_ATOM_OR  ? all | v
                                    : all ^ v;
    }
    old = table[x[1]][x[0]](p, all, 0);
    for (m = x[5] != 0 ? w->mask : 0; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);

        sd_lane_put(regs + ip->dst, lane, bytes, old + before[lane]);
    }
}

const struct sd_insn *
sd_atom(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const uint32_t *x = w->frame->fn->extra + ip->d;
    unsigned bytes = type_bytes[x[1]];
    atom_fn fn = table[x[1]][x[0]];
    bool together = is_together(w, ip, regs, x);
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t addr = address(w, ip, regs, x[2], lane);
        void *p;

        if (x[2] == 0 && addr >= SD_WINDOW_SHARED)
            return sd_fault_access(w, ip, lane, addr, bytes, true);
        p = addr % bytes == 0 ? sd_resolve(w, lane, addr, bytes, true, x[4]) : NULL;
        if (GP_UNLIKELY(p == NULL))
            return sd_fault_access(w, ip, lane, addr, bytes, true);
        if (together) {
            atom_together(w, ip, regs, x, p, bytes);
            break;
        }
        if (bytes == 16) {
            uint64_t v[2] = {sd_lane_get(regs + ip->b, lane, 8),
                             sd_lane_get(regs + ip->b + 256, lane, 8)};
            uint64_t c[2] = {sd_lane_get(regs + x[3], lane, 8),
                             sd_lane_get(regs + x[3] + 256, lane, 8)};
            uint64_t old[2];

            atom_128(p, v, x[0] == SD_ATOM_CAS ? c : NULL, old);
            sd_lane_put(regs + ip->dst, lane, 8, old[0]);
            sd_lane_put(regs + ip->dst + 256, lane, 8, old[1]);
            continue;
        }
        if (x[1] == SD_ATOM_F32)
            fn = table[addr < SD_WINDOW_SHARED ? SD_ATOM_F32_FTZ : SD_ATOM_F32][x[0]];
        uint64_t old = fn(p, sd_lane_get(regs + ip->b, lane, bytes),
                          x[0] == SD_ATOM_CAS ? sd_lane_get(regs + x[3], lane, bytes) : 0);

        if (x[5] != 0)
            sd_lane_put(regs + ip->dst, lane, bytes, old);
    }
    return ip + 1;
}
