/* backend/driver/soft/exec/meet.c -- lanes of a warp that wait for each other at *.sync
 *
 * A lane goes on when all lanes of its members that live have executed an instruction of the same
 * operation, qualifiers and members. It need not be the same instruction: lanes meet at several
 * ones in the ways of a branch, in a function that is called from several places, at any depth.
 * Groups at one place are made one group, which executes its instruction again. For others the
 * instruction is executed once on rows that are put together of all of theirs, and each group goes
 * on from its own place. Matrix instructions are the same for all of a warp: those meet at one
 * place only.
 */
#include "backend/driver/soft/exec/lanes.h"
#include "backend/driver/soft/exec/warp.h"

#include <stddef.h>
#include <string.h>

/* What putting a meeting together costs, in instructions. */
#define MEETING_COST 64

/* ---- who meets ---- */

/* Bytes of a lane in the rows of an instruction; 0: it has no such operand. */
#define PREDICATE 1u

struct operands {
    uint8_t dst, a, b, c;
    uint8_t second; /* another result, a predicate */
};

/* Instructions that lanes at several places can execute together. */
static bool
operands_of(const struct sd_insn *ip, struct operands *o)
{
    switch (ip->op) {
    case SD_OP_shfl:
        *o = (struct operands){.dst = 4, .a = 4, .b = 4, .c = 4, .second = 1};
        break;
    case SD_OP_vote:
        *o = (struct operands){.dst = PREDICATE, .a = PREDICATE};
        break;
    case SD_OP_vote_ballot:
        *o = (struct operands){.dst = 4, .a = PREDICATE};
        break;
    case SD_OP_match32:
        *o = (struct operands){.dst = 4, .a = 4, .second = 1};
        break;
    case SD_OP_match64:
        *o = (struct operands){.dst = 4, .a = 8, .second = 1};
        break;
    case SD_OP_redux:
    case SD_OP_redux_f32:
        *o = (struct operands){.dst = 4, .a = 4};
        break;
    case SD_OP_elect:
        *o = (struct operands){.dst = 4, .second = 1};
        break;
    default:
        return false;
    }
    return true;
}

/* Whether a shuffle has a second result is no qualifier. */
static uint32_t
qualifiers_of(const struct sd_insn *ip)
{
    return ip->op == SD_OP_shfl ? ip->flags & ~(uint32_t)SD_SHFL_PRED : ip->flags;
}

static bool
same_place(const struct sd_group *a, const struct sd_group *b)
{
    return a->ip == b->ip && a->frame == b->frame;
}

static bool
same_meeting(const struct sd_group *a, const struct sd_group *b)
{
    struct operands o;

    if (a->state != b->state || a->sync != b->sync)
        return false;
    if (a->state == SD_AT_WARP || same_place(a, b))
        return true;
    return a->ip->op == b->ip->op && qualifiers_of(a->ip) == qualifiers_of(b->ip) &&
           operands_of(a->ip, &o);
}

/* ---- one instruction for several places ---- */

struct rows {
    uint8_t dst[256], a[256], b[128], c[128], members[128], second[4];
} __attribute__((aligned(64)));

static void
copy_lanes(void *dst, const void *src, unsigned width, uint32_t lanes)
{
    uint32_t *d = dst;
    uint32_t m;

    if (width == PREDICATE) {
        *d = (*d & ~lanes) | (*(const uint32_t *)src & lanes);
        return;
    }
    for (m = width != 0 ? lanes : 0; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);

        sd_lane_put(dst, lane, width, sd_lane_get(src, lane, width));
    }
}

static void
gather(struct rows *rows, const struct operands *o, const struct sd_group *g)
{
    const uint8_t *regs = g->frame->regs;
    const struct sd_insn *ip = g->ip;

    copy_lanes(rows->a, regs + ip->a, o->a, g->mask);
    copy_lanes(rows->b, regs + ip->b, o->b, g->mask);
    copy_lanes(rows->c, regs + ip->c, o->c, g->mask);
    copy_lanes(rows->members, regs + ip->d, 4, g->mask);
}

/* What came of it, and the group goes on behind its own instruction. */
static void
spread(const struct rows *rows, const struct operands *o, struct sd_group *g)
{
    uint8_t *regs = g->frame->regs;
    const struct sd_insn *ip = g->ip;
    /* The predicate of a shuffle stands in a step of its own. */
    const bool two_steps = ip->op == SD_OP_shfl && (ip->flags & SD_SHFL_PRED) != 0;

    copy_lanes(regs + ip->dst, rows->dst, o->dst, g->mask);
    if (two_steps)
        copy_lanes(regs + ip[1].dst, rows->second, PREDICATE, g->mask);
    else if (o->second && ip->op != SD_OP_shfl)
        copy_lanes(regs + ip->b, rows->second, PREDICATE, g->mask);
    g->ip = ip + 1 + two_steps;
    g->state = SD_RUN;
}

static void
execute_together(struct sd_warp *w, const struct sd_group *first, uint32_t lanes)
{
    const struct sd_group key = *first;
    const uint32_t current = w->mask;
    struct rows rows;
    struct operands o;
    struct sd_insn steps[2];
    unsigned i;

    if (!operands_of(key.ip, &o))
        return;
    memset(&rows, 0, sizeof(rows));
    for (i = 0; i < w->nwait; i++)
        if (same_meeting(&w->wait[i], &key))
            gather(&rows, &o, &w->wait[i]);
    steps[0] = *key.ip;
    steps[0].dst = offsetof(struct rows, dst);
    steps[0].a = offsetof(struct rows, a);
    steps[0].b = o.b != 0 ? offsetof(struct rows, b) : offsetof(struct rows, second);
    steps[0].c = offsetof(struct rows, c);
    steps[0].d = offsetof(struct rows, members);
    if (key.ip->op == SD_OP_shfl)
        steps[0].flags |= SD_SHFL_PRED;
    steps[1] = (struct sd_insn){.op = SD_OP_nop, .dst = offsetof(struct rows, second)};
    /* All whom a lane waits for are there: the handler cannot park them. */
    w->mask = lanes;
    w->block->grid->core->masked[key.ip->op](w, steps, (uint8_t *)&rows);
    w->mask = current;
    w->budget -= MEETING_COST;
    for (i = 0; i < w->nwait; i++)
        if (same_meeting(&w->wait[i], &key))
            spread(&rows, &o, &w->wait[i]);
}

/* ---- parking and waking ---- */

static void
resolve(struct sd_warp *w, struct sd_group *g)
{
    const struct sd_group key = *g;
    uint32_t met = 0;
    bool apart = false;
    unsigned i;

    for (i = 0; i < w->nwait; i++)
        if (same_meeting(&w->wait[i], &key)) {
            met |= w->wait[i].mask;
            apart |= !same_place(&w->wait[i], &key);
        }
    if ((key.sync & w->live & ~met) != 0)
        return;
    if (key.state == SD_AT_SYNC && apart) {
        execute_together(w, &key, met);
        return;
    }
    for (i = 0; i < w->nwait; i++)
        if (same_meeting(&w->wait[i], &key))
            w->wait[i].state = SD_RUN;
}

void
sd_group_resolve(struct sd_warp *w)
{
    unsigned i;

    for (i = 0; i < w->nwait; i++)
        if (w->wait[i].state == SD_AT_SYNC || w->wait[i].state == SD_AT_WARP)
            resolve(w, &w->wait[i]);
}

bool
sd_group_meet(struct sd_warp *w, const struct sd_insn *ip, uint32_t members)
{
    if (GP_LIKELY((members & w->live & ~w->mask) == 0))
        return true;
    sd_group_park(w, ip, SD_AT_SYNC, members);
    sd_group_pick(w);
    return false;
}

/* Lanes of the current group that have the same members as its first, out of *left_p. */
static uint32_t
take_same(const uint32_t *members, uint32_t *left_p)
{
    const uint32_t first = members[sd_first_lane(*left_p)];
    uint32_t same = 0, m;

    for (m = *left_p; m != 0; m &= m - 1)
        same |= members[sd_first_lane(m)] == first ? m & -m : 0;
    *left_p &= ~same;
    return same;
}

/* Park the lanes whose members are not all in the current group with these members, at ip; the
 * others stay. */
static bool
part(struct sd_warp *w, const struct sd_insn *ip, enum sd_group_state state,
     const uint32_t *members)
{
    const uint32_t all = w->mask;
    const bool was_whole = w->nwait == 0;
    uint32_t stay = 0, left, same;

    for (left = all; left != 0;) {
        const uint32_t wanted = members[sd_first_lane(left)];

        same = take_same(members, &left);
        stay |= (wanted & w->live & ~same) == 0 ? same : 0;
    }
    if (stay == all)
        return true;
    for (left = all & ~stay; left != 0;) {
        const uint32_t wanted = members[sd_first_lane(left)];

        w->mask = take_same(members, &left);
        sd_group_park(w, ip, state, wanted);
    }
    if (stay == 0) {
        sd_group_pick(w);
        return false;
    }
    w->mask = stay;
    sd_group_resolve(w);
    sd_group_update(w);
    /* The handlers for whole warps may not go on: the others' registers are not theirs. */
    if (was_whole) {
        w->ip = ip;
        return false;
    }
    return true;
}

bool
sd_group_meet_each(struct sd_warp *w, const struct sd_insn *ip, const uint32_t *members)
{
    return part(w, ip, SD_AT_SYNC, members);
}

bool
sd_group_sync_each(struct sd_warp *w, const struct sd_insn *ip, const uint32_t *members)
{
    return part(w, ip + 1, SD_AT_WARP, members);
}
