/* backend/driver/soft/exec/frame.c -- register files, presets, local memory, addresses, faults */
#include "backend/driver/soft/exec/warp.h"

#include "backend/driver/soft/ptx/sregs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- special registers ---- */

static uint64_t
clock_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t
thread_index(const struct sd_warp *w, unsigned lane, unsigned axis)
{
    const uint32_t *block = w->block->grid->launch->block;
    uint32_t t = w->index * 32 + lane;

    if (axis == 0)
        return t % block[0];
    return axis == 1 ? t / block[0] % block[1] : t / block[0] / block[1];
}

static uint64_t
cluster_value(const struct sd_warp *w, unsigned kind, unsigned axis)
{
    const struct sd_launch *l = w->block->grid->launch;
    const uint32_t *c = l->cluster;
    const uint32_t *id = w->block->id;

    switch (kind) {
    case SD_SREG_CLUSTERID:
        return id[axis] / c[axis];
    case SD_SREG_NCLUSTERID:
        return l->grid[axis] / c[axis];
    case SD_SREG_CLUSTER_CTAID:
        return id[axis] % c[axis];
    case SD_SREG_CLUSTER_NCTAID:
        return c[axis];
    case SD_SREG_CLUSTER_CTARANK:
        return w->block->rank;
    case SD_SREG_CLUSTER_NCTARANK:
        return (uint64_t)c[0] * c[1] * c[2];
    default:
        return l->explicit_cluster;
    }
}

/* Blocks go round the multiprocessors that the launch has. */
static uint64_t
sm_of(const struct sd_grid *grid, uint64_t block)
{
    const struct sd_launch *launch = grid->launch;

    return launch->sms != NULL ? launch->sms[block % launch->sm_count]
                               : block % grid->env->sm_count;
}

uint64_t
sd_sreg_value(const struct sd_warp *w, uint32_t sreg, unsigned lane)
{
    const struct sd_grid *grid = w->block->grid;
    const struct sd_launch *launch = grid->launch;
    unsigned kind = sreg / 4;
    unsigned axis = sreg % 4;
    uint64_t sync = (uint64_t)(uintptr_t)grid->sync_words;

    if (axis == 3) /* .w of a vector */
        return 0;
    switch (kind) {
    case SD_SREG_TID:
        return thread_index(w, lane, axis);
    case SD_SREG_NTID:
        return launch->block[axis];
    case SD_SREG_CTAID:
        return w->block->id[axis];
    case SD_SREG_NCTAID:
        return launch->grid[axis];
    case SD_SREG_CLUSTERID:
    case SD_SREG_NCLUSTERID:
    case SD_SREG_CLUSTER_CTAID:
    case SD_SREG_CLUSTER_NCTAID:
    case SD_SREG_CLUSTER_CTARANK:
    case SD_SREG_CLUSTER_NCTARANK:
    case SD_SREG_IS_EXPLICIT_CLUSTER:
        return cluster_value(w, kind, axis);
    case SD_SREG_LANEID:
        return lane;
    case SD_SREG_WARPID:
        return w->index;
    case SD_SREG_NWARPID:
        return 64;
    case SD_SREG_SMID:
        return sm_of(grid, w->block->linear);
    case SD_SREG_NSMID:
        return grid->env->sm_count;
    case SD_SREG_GRIDID:
        return grid->number;
    case SD_SREG_LANEMASK_EQ:
        return 1u << lane;
    case SD_SREG_LANEMASK_LE:
        return 0xffffffffu >> (31 - lane);
    case SD_SREG_LANEMASK_LT:
        return (1u << lane) - 1;
    case SD_SREG_LANEMASK_GE:
        return (uint32_t)(0xffffffffu << lane);
    case SD_SREG_LANEMASK_GT:
        return (uint32_t)(0xfffffffeu << lane);
    case SD_SREG_CLOCK:
    case SD_SREG_CLOCK64:
        return clock_now();
    case SD_SREG_CLOCK_HI:
        return clock_now() >> 32;
    case SD_SREG_GLOBALTIMER:
    case SD_SREG_GLOBALTIMER_LO:
        return grid->env->globaltimer_ns(grid->env->opaque);
    case SD_SREG_GLOBALTIMER_HI:
        return grid->env->globaltimer_ns(grid->env->opaque) >> 32;
    /* envreg1 is the upper half of the pointer */
    case SD_SREG_ENVREG1:
        return launch->cooperative ? sync >> 32 : 0;
    case SD_SREG_ENVREG2:
        return launch->cooperative ? (uint32_t)sync : 0;
    case SD_SREG_TOTAL_SMEM_SIZE:
    case SD_SREG_AGGR_SMEM_SIZE:
        return grid->shared_bytes;
    case SD_SREG_DYNAMIC_SMEM_SIZE:
        return launch->dynamic_shared_bytes;
    case SD_SREG_WARP_SZ:
        return 32;
    default:
        return 0;
    }
}

/* ---- presets ---- */

static void
fill_row(uint8_t *row, unsigned bytes, uint64_t value)
{
    unsigned i, n = bytes == 2 ? 8 : bytes == 4 ? 16 : 32;

    if (bytes == 2)
        value = (value & 0xffff) * 0x0001000100010001ull;
    else if (bytes == 4)
        value = (value & 0xffffffff) * 0x0000000100000001ull;
    for (i = 0; i < n; i++)
        ((uint64_t *)(void *)row)[i] = value;
}

static uint64_t
param_value(const struct sd_grid *grid, const struct sd_preset *p)
{
    uint64_t v = 0;
    unsigned shift = 64 - 8u * p->load_bytes;

    memcpy(&v, grid->launch->params + p->value, p->load_bytes);
    if (p->is_signed)
        v = (uint64_t)((int64_t)(v << shift) >> shift);
    return v;
}

/* %tid of a warp: lanes count up in x and carry into y and z. */
static void
fill_tid(const struct sd_warp *w, uint32_t *row, unsigned axis)
{
    const uint32_t *block = w->block->grid->launch->block;
    const uint32_t first = w->index * 32;
    uint32_t x = first % block[0], y = first / block[0] % block[1];
    uint32_t z = first / block[0] / block[1];
    unsigned i;

    if (x + 32 <= block[0]) { /* all in one row of the block */
        for (i = 0; i < 32; i++)
            row[i] = axis == 0 ? x + i : axis == 1 ? y : z;
        return;
    }
    for (i = 0; i < 32; i++) {
        row[i] = axis == 0 ? x : axis == 1 ? y : z;
        if (++x == block[0]) {
            x = 0;
            if (++y == block[1]) {
                y = 0;
                z++;
            }
        }
    }
}

static void
fill_sreg(const struct sd_warp *w, uint8_t *row, const struct sd_preset *p)
{
    unsigned kind = (unsigned)p->value / 4, axis = (unsigned)p->value % 4;
    unsigned i;

    if (kind == SD_SREG_TID && axis < 3) {
        fill_tid(w, (uint32_t *)(void *)row, axis);
        return;
    }
    if (kind == SD_SREG_LANEID || (kind >= SD_SREG_LANEMASK_EQ && kind <= SD_SREG_LANEMASK_GT)) {
        for (i = 0; i < 32; i++)
            ((uint32_t *)(void *)row)[i] = (uint32_t)sd_sreg_value(w, (uint32_t)p->value, i);
        return;
    }
    fill_row(row, p->bytes, sd_sreg_value(w, (uint32_t)p->value, 0));
}

/* What is the same for a whole launch needs no warp. */
static void
fill_launch(struct sd_cpu *cpu, struct sd_frame *f)
{
    struct sd_block block = {.grid = cpu->grid};
    struct sd_warp w = {.block = &block, .cpu = cpu};
    uint32_t i;

    for (i = 0; i < f->fn->nlaunch; i++) {
        const struct sd_preset *p = &f->fn->presets[i];
        uint8_t *row = f->regs + p->row;

        if (p->kind == SD_PRE_VALUE)
            fill_row(row, p->bytes, p->value);
        else if (p->kind == SD_PRE_PARAM)
            fill_row(row, p->bytes, param_value(cpu->grid, p));
        else
            fill_sreg(&w, row, p);
    }
}

void
sd_frame_start_warp(struct sd_warp *w, struct sd_frame *f)
{
    const struct sd_fn *fn = f->fn;
    uint32_t i;

    for (i = fn->nlaunch; i < fn->nlaunch + fn->nwarp + fn->nblock; i++)
        fill_sreg(w, f->regs + fn->presets[i].row, &fn->presets[i]);
}

/* ---- register files ---- */

struct sd_frame *
sd_frame_get(struct sd_cpu *cpu, const struct sd_fn *fn)
{
    unsigned class =
        fn->frame_bytes <= 4096 ? 12 : 32 - (unsigned)__builtin_clz(fn->frame_bytes - 1);
    struct sd_frame *f;

    if (class >= GP_ARRAY_LEN(cpu->free_frames))
        return NULL;
    f = cpu->free_frames[class];
    if (f != NULL) {
        cpu->free_frames[class] = f->next_free;
    } else {
        f = calloc(1, sizeof(*f));
        if (f == NULL)
            return NULL;
        f->regs = aligned_alloc(64, (size_t)1 << class);
        if (f->regs == NULL) {
            free(f);
            return NULL;
        }
        /* Stale memory of this process must not show in registers. */
        memset(f->regs, 0, (size_t)1 << class);
        f->class = class;
    }
    if (f->fn != fn || f->launch != cpu->grid->number) {
        f->fn = fn;
        f->launch = cpu->grid->number;
        fill_launch(cpu, f);
    }
    f->parent = NULL;
    f->depth = 0;
    f->local_base = 0;
    return f;
}

void
sd_frame_put(struct sd_cpu *cpu, struct sd_frame *f)
{
    f->next_free = cpu->free_frames[f->class];
    cpu->free_frames[f->class] = f;
}

bool
sd_local_reserve(struct sd_warp *w, uint32_t bytes)
{
    uint32_t stride = w->local_stride;
    uint8_t *p;
    unsigned i;

    if (bytes <= stride)
        return true;
    if (bytes > SD_LOCAL_MAX)
        return false;
    /* An odd number of cache lines keeps lanes apart in the cache; room to grow. */
    stride = ((bytes > 512 && stride > 0 ? bytes * 2 : bytes) + 63) & ~63u;
    stride |= 64;
    if ((size_t)stride * 32 > w->local_cap) {
        p = aligned_alloc(64, (size_t)stride * 32);
        if (p == NULL)
            return false;
        memset(p, 0, (size_t)stride * 32);
        for (i = 0; i < 32 && w->local_stride > 0; i++)
            memcpy(p + (size_t)i * stride, w->local + (size_t)i * w->local_stride, w->local_stride);
        free(w->local);
        w->local = p;
        w->local_cap = (size_t)stride * 32;
    } else {
        for (i = 32; i-- > 0 && w->local_stride > 0;)
            memmove(w->local + (size_t)i * stride, w->local + (size_t)i * w->local_stride,
                    w->local_stride);
    }
    w->local_stride = stride;
    return true;
}

/* ---- addresses ---- */

static bool
find_span(struct sd_warp *w, uint64_t addr, uint32_t bytes, struct sd_cached_span *slot)
{
    struct sd_grid *grid = w->block->grid;
    uint64_t sync = (uint64_t)(uintptr_t)grid->sync_words;
    struct sd_span span;

    if (grid->launch->cooperative && bytes <= sizeof(grid->sync_words) &&
        addr - sync <= sizeof(grid->sync_words) - bytes) {
        *slot = (struct sd_cached_span){sync, sync + sizeof(grid->sync_words), true, 0, 0};
        return true;
    }
    if (!grid->env->span_of(grid->env->opaque, addr, &span))
        return false;
    /* Windows are not memory, whatever the driver half says. */
    if (addr < span.base || span.end <= addr || span.end > SD_WINDOW_SHARED)
        return false;
    *slot = (struct sd_cached_span){span.base, span.end, span.writable, 0, 0};
    return true;
}

/* Offset o in shared memory: of slot 0 the block's own, of the others that of a block of the
 * cluster that has not ended. */
static void *
resolve_shared(const struct sd_warp *w, uint32_t slot, uint64_t o, uint32_t bytes)
{
    const struct sd_cluster *c = w->block->cluster;

    if (bytes > w->shared_bytes || o > w->shared_bytes - bytes)
        return NULL;
    if (slot == 0)
        return w->shared + o;
    if (slot > c->n || (c->ended >> (slot - 1) & 1) != 0)
        return NULL;
    return c->blocks[slot - 1]->shared + o;
}

static void *
resolve_window(struct sd_warp *w, unsigned lane, uint64_t addr, uint32_t bytes, bool write)
{
    uint64_t o = addr - SD_WINDOW_SHARED;

    if (addr < SD_WINDOW_LOCAL)
        return resolve_shared(w, (uint32_t)(o / SD_WINDOW_BYTES), o % SD_WINDOW_BYTES, bytes);
    if (addr < SD_WINDOW_PARAM) {
        o = addr - SD_WINDOW_LOCAL;
        if (bytes > w->local_stride || o > w->local_stride - bytes)
            return NULL;
        return w->local + (size_t)lane * w->local_stride + o;
    }
    if (addr < SD_WINDOW_FUNC && !write) {
        uint32_t size = w->block->grid->code->param_bytes;

        o = addr - SD_WINDOW_PARAM;
        if (bytes > size || o > size - bytes)
            return NULL;
        return (uint8_t *)(uintptr_t)w->block->grid->launch->params + o;
    }
    return NULL;
}

void *
sd_resolve(struct sd_warp *w, unsigned lane, uint64_t addr, uint32_t bytes, bool write,
           uint32_t site)
{
    struct sd_cached_span *s = &w->cpu->spans[site % SD_SPAN_CACHE];

    if (GP_UNLIKELY(addr >= SD_WINDOW_SHARED))
        return addr < SD_WINDOW_END ? resolve_window(w, lane, addr, bytes, write) : NULL;
    if (addr < s->base || addr >= s->end) {
        if (!find_span(w, addr, bytes, s)) {
            *s = (struct sd_cached_span){.writable = false};
            return NULL;
        }
    }
    if (s->end - addr < bytes || (write && !s->writable))
        return NULL;
    return (void *)(uintptr_t)addr;
}

/* ---- faults ---- */

const struct sd_insn *
sd_fault(struct sd_warp *w, const struct sd_insn *ip, unsigned lane, CUresult code,
         uint64_t address, const char *fmt, ...)
{
    struct sd_grid *grid = w->block->grid;
    struct sd_fault *f = &grid->fault;
    const struct sd_fn *fn = w->frame->fn;
    unsigned axis;
    va_list va;

    w->ip = ip;
    w->event = SD_EV_FAULT;
    pthread_mutex_lock(&grid->fault_lock);
    if (f->code == CUDA_SUCCESS) {
        f->code = code;
        f->ptx_line =
            ip >= fn->insns && ip < fn->insns + fn->ninsns ? fn->lines[ip - fn->insns] : 0;
        f->address = address;
        for (axis = 0; axis < 3; axis++) {
            f->block[axis] = w->block->id[axis];
            f->thread[axis] = (uint32_t)thread_index(w, lane, axis);
        }
        va_start(va, fmt);
        vsnprintf(f->what, sizeof(f->what), fmt, va);
        va_end(va);
    }
    pthread_mutex_unlock(&grid->fault_lock);
    atomic_store_explicit(&grid->stop, 1, memory_order_relaxed);
    return NULL;
}

static const char *
space_of(uint64_t addr)
{
    if (addr < SD_WINDOW_SHARED || addr >= SD_WINDOW_FUNC)
        return "global";
    return addr < SD_WINDOW_LOCAL ? "shared" : addr < SD_WINDOW_PARAM ? "local" : "param";
}

const struct sd_insn *
sd_fault_access(struct sd_warp *w, const struct sd_insn *ip, unsigned lane, uint64_t addr,
                uint32_t bytes, bool write)
{
    const char *space = space_of(addr);

    if (bytes > 0 && addr % bytes != 0)
        return sd_fault(w, ip, lane, CUDA_ERROR_MISALIGNED_ADDRESS, addr,
                        "%s of %u bytes at a misaligned %s address", write ? "store" : "load",
                        bytes, space);
    if (addr >= SD_WINDOW_SHARED + SD_WINDOW_BYTES && addr < SD_WINDOW_LOCAL) {
        uint32_t rank = (uint32_t)((addr - SD_WINDOW_SHARED) / SD_WINDOW_BYTES) - 1;
        const struct sd_cluster *c = w->block->cluster;

        if (rank >= c->n || (c->ended >> rank & 1) != 0)
            return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_ADDRESS, addr,
                            "%s of %u bytes in the shared memory of a block that %s",
                            write ? "store" : "load", bytes,
                            rank >= c->n ? "the cluster does not have" : "has ended");
    }
    return sd_fault(w, ip, lane, CUDA_ERROR_ILLEGAL_ADDRESS, addr,
                    "%s of %u bytes outside of %s memory", write ? "store" : "load", bytes, space);
}
