/* backend/driver/soft/exec/groups.c -- divergence and convergence of a warp's lanes */
#include "backend/driver/soft/exec/warp.h"

#include <string.h>

static bool
better(const struct sd_frame *frame, const struct sd_insn *ip, const struct sd_frame *than_frame,
       const struct sd_insn *than_ip)
{
    if (frame->depth != than_frame->depth)
        return frame->depth > than_frame->depth;
    return ip < than_ip;
}

static void
remove_group(struct sd_warp *w, unsigned i)
{
    w->wait[i] = w->wait[--w->nwait];
}

void
sd_group_update(struct sd_warp *w)
{
    const struct sd_insn *min = (const struct sd_insn *)UINTPTR_MAX; // NOLINT
    unsigned i;

    for (i = 0; i < w->nwait; i++) {
        const struct sd_group *g = &w->wait[i];

        if (g->state != SD_RUN || g->frame->depth < w->frame->depth)
            continue;
        if (g->frame->depth > w->frame->depth)
            min = NULL;
        else if (g->ip < min)
            min = g->ip;
    }
    w->wait_ip = min;
}

void
sd_group_add(struct sd_warp *w, struct sd_frame *frame, const struct sd_insn *ip, uint32_t mask)
{
    unsigned i;

    if (mask == 0)
        return;
    for (i = 0; i < w->nwait; i++) {
        struct sd_group *g = &w->wait[i];

        if (g->ip == ip && g->frame == frame && g->state == SD_RUN) {
            g->mask |= mask;
            return;
        }
    }
    w->wait[w->nwait++] = (struct sd_group){.ip = ip, .frame = frame, .mask = mask};
    if (w->mask != 0)
        sd_group_update(w);
}

void
sd_group_park(struct sd_warp *w, const struct sd_insn *ip, uint32_t state, uint32_t sync)
{
    w->wait[w->nwait++] = (struct sd_group){
        .ip = ip, .frame = w->frame, .mask = w->mask, .state = state, .sync = sync};
    w->mask = 0;
}

static int
best_waiting(const struct sd_warp *w)
{
    int best = -1;
    unsigned i;

    for (i = 0; i < w->nwait; i++) {
        const struct sd_group *g = &w->wait[i];

        if (g->state == SD_RUN &&
            (best < 0 || better(g->frame, g->ip, w->wait[best].frame, w->wait[best].ip)))
            best = (int)i;
    }
    return best;
}

/* A waiting group becomes the current one, together with all at the same place. */
static void
take(struct sd_warp *w, unsigned index)
{
    struct sd_group g = w->wait[index];
    unsigned i;

    remove_group(w, index);
    for (i = w->nwait; i-- > 0;) {
        const struct sd_group *o = &w->wait[i];

        if (o->state == SD_RUN && o->ip == g.ip && o->frame == g.frame) {
            g.mask |= o->mask;
            remove_group(w, i);
        }
    }
    w->mask = g.mask;
    w->frame = g.frame;
    w->ip = g.ip;
    sd_group_update(w);
}

void
sd_group_pick(struct sd_warp *w)
{
    int best;

    w->sticky = 0;
    sd_group_resolve(w);
    best = best_waiting(w);
    if (best >= 0)
        take(w, (unsigned)best);
    else
        w->event = w->nwait == 0 ? SD_EV_DONE : SD_EV_BARRIER;
}

void
sd_group_rotate(struct sd_warp *w)
{
    unsigned n = w->nwait;
    unsigned i;

    for (i = 0; i < n; i++) {
        unsigned k = (w->turn + i) % n;

        if (w->wait[k].state != SD_RUN)
            continue;
        w->turn = k + 1;
        sd_group_park(w, w->ip, SD_RUN, 0);
        take(w, k);
        w->sticky = 1;
        return;
    }
}

const struct sd_insn *
sd_group_join(struct sd_warp *w, const struct sd_insn *ip)
{
    int best;
    unsigned i;

    for (i = w->nwait; i-- > 0;) {
        const struct sd_group *g = &w->wait[i];

        if (g->state == SD_RUN && g->ip == ip && g->frame == w->frame) {
            w->mask |= g->mask;
            remove_group(w, i);
        }
    }
    if (w->nwait == 0) {
        w->sticky = 0;
        w->ip = ip + 1;
        return NULL;
    }
    best = w->sticky ? -1 : best_waiting(w);
    if (best >= 0 && better(w->wait[best].frame, w->wait[best].ip, w->frame, ip)) {
        sd_group_park(w, ip, SD_RUN, 0);
        take(w, (unsigned)best);
        return NULL;
    }
    sd_group_update(w);
    return ip + 1;
}

const struct sd_insn *
sd_group_split(struct sd_warp *w, uint32_t taken, const struct sd_insn *ip_taken,
               const struct sd_insn *ip_else)
{
    uint32_t rest = w->mask & ~taken;
    bool was_whole = w->nwait == 0;
    const struct sd_insn *ip;

    if (ip_taken < ip_else) {
        w->mask = taken;
        ip = ip_taken;
        sd_group_add(w, w->frame, ip_else, rest);
    } else {
        w->mask = rest;
        ip = ip_else;
        sd_group_add(w, w->frame, ip_taken, taken);
    }
    if (was_whole) {
        w->ip = ip;
        return NULL;
    }
    return ip;
}

/* Lanes leave a frame and all around it up to (not including) stop. */
static void
leave_frames(struct sd_warp *w, struct sd_frame *f, const struct sd_frame *stop, uint32_t lanes)
{
    while (f != stop) {
        struct sd_frame *parent = f->parent;

        f->lanes &= ~lanes;
        if (f->lanes == 0 && parent != NULL)
            sd_frame_put(w->cpu, f);
        f = parent;
    }
}

const struct sd_insn *
sd_group_exit(struct sd_warp *w, uint32_t lanes, const struct sd_insn *ip)
{
    w->live &= ~lanes;
    w->block->nlive -= (uint32_t)__builtin_popcount(lanes);
    w->mask &= ~lanes;
    leave_frames(w, w->frame, NULL, lanes);
    if (w->block->active_barriers != 0)
        sd_barrier_exit(w);
    sd_cluster_exit(w, lanes);
    if (w->mask != 0)
        return ip;
    sd_group_pick(w);
    return NULL;
}

static void
copy_results(const struct sd_frame *callee, uint8_t *caller_regs, uint32_t lanes)
{
    const struct sd_call_site *site = callee->site;
    const struct sd_call_copy *c = callee->parent->fn->copies + site->first + site->ncopies;
    uint32_t i, j, l;

    for (i = 0; i < site->nresults; i++, c++) {
        for (j = 0; j < c->words; j++) {
            const uint32_t *src = (const uint32_t *)(void *)(callee->regs + callee->fn->ret_row +
                                                             (size_t)(c->callee_word + j) * 128);
            uint32_t *dst = (uint32_t *)(void *)(caller_regs + c->caller_row + (size_t)j * 128);

            if (lanes == SD_LANES_ALL) {
                memcpy(dst, src, 128);
                continue;
            }
            for (l = 0; l < 32; l++)
                if ((lanes >> l & 1) != 0)
                    dst[l] = src[l];
        }
    }
}

const struct sd_insn *
sd_group_return(struct sd_warp *w, uint32_t lanes, const struct sd_insn *ip)
{
    struct sd_frame *f = w->frame;
    struct sd_frame *parent = f->parent;
    const struct sd_insn *ret = f->ret;

    if (parent == NULL)
        return sd_group_exit(w, lanes, ip);
    copy_results(f, parent->regs, lanes);
    w->mask &= ~lanes;
    leave_frames(w, f, parent, lanes);
    if (w->mask == 0 && w->nwait == 0) {
        w->mask = lanes;
        w->frame = parent;
        w->ip = ret;
        return NULL;
    }
    sd_group_add(w, parent, ret, lanes);
    if (w->mask != 0) {
        w->ip = ip;
        return NULL;
    }
    sd_group_pick(w);
    return NULL;
}

const struct sd_fn *
sd_late_fn(struct sd_warp *w, const struct sd_insn *ip, uint32_t index)
{
    const struct sd_kernel *kernel = w->block->grid->launch->kernel;
    struct sd_text log = {0};
    CUresult cr = sd_kernel_complete(kernel, index, &log);

    if (cr != CUDA_SUCCESS) {
        if (log.len > 0 && log.data[log.len - 1] == '\n')
            log.data[log.len - 1] = '\0';
        sd_fault(w, ip, sd_first_lane(w->mask), cr, 0, "%s",
                 log.data != NULL ? log.data : "out of memory for a function's code");
    }
    free(log.data);
    return cr == CUDA_SUCCESS ? kernel->code->fns[index] : NULL;
}

const struct sd_insn *
sd_group_call(struct sd_warp *w, const struct sd_insn *ip, const struct sd_fn *fn,
              const struct sd_call_site *site, uint32_t lanes, const struct sd_insn *ret)
{
    struct sd_frame *caller = w->frame;
    const struct sd_call_copy *c = caller->fn->copies + site->first;
    struct sd_frame *f;
    uint32_t i;

    if (caller->depth >= SD_DEPTH_MAX)
        return sd_fault(w, ip, sd_first_lane(lanes), CUDA_ERROR_LAUNCH_FAILED, 0,
                        "stack overflow: more than %u calls inside of each other", SD_DEPTH_MAX);
    f = sd_frame_get(w->cpu, fn);
    if (f == NULL)
        return sd_fault(w, ip, sd_first_lane(lanes), CUDA_ERROR_LAUNCH_FAILED, 0,
                        "out of memory for a call frame");
    f->parent = caller;
    f->ret = ret;
    f->site = site;
    f->lanes = lanes;
    f->depth = caller->depth + 1;
    f->local_base = caller->local_base + caller->fn->local_bytes;
    if (!sd_local_reserve(w, f->local_base + fn->local_bytes)) {
        sd_frame_put(w->cpu, f);
        return sd_fault(w, ip, sd_first_lane(lanes), CUDA_ERROR_LAUNCH_FAILED, 0,
                        "stack overflow: more than %u bytes of local memory", SD_LOCAL_MAX);
    }
    for (i = 0; i < site->ncopies; i++, c++)
        memcpy(f->regs + fn->param_row + (size_t)c->callee_word * 128, caller->regs + c->caller_row,
               (size_t)c->words * 128);
    w->frame = f;
    w->ip = fn->insns;
    w->budget -= 16;
    sd_group_update(w);
    if (w->budget < 0)
        w->event = SD_EV_YIELD;
    return NULL;
}
