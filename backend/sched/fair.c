/* backend/sched/fair.c */
#include "backend/sched/fair.h"

#include "protocol/base/util.h"

#include <string.h>

/* Above this a pause is no pause between two launches. */
#define GAP_NS       2000000ull
#define FLOOR_DUE_NS 500000ull
#define FOREVER      UINT64_MAX

static struct be_fair_group *
group_of(struct be_fair *f, uint32_t member)
{
    return &f->groups[f->members[member].group - 1];
}

static uint32_t
class_of(const struct be_fair *f, uint32_t member)
{
    return f->groups[f->members[member].group - 1].rights.priority;
}

/* -- who is there ------------------------------------------------------------------------------ */

void
be_fair_set_rights(struct be_fair *f, uint32_t group, const struct be_fair_rights *rights,
                   uint64_t now)
{
    struct be_fair_group *g = &f->groups[group];

    if (rights->force && !g->rights.force) {
        g->tokens_ns = 0;
        g->refilled_ns = now;
    }
    g->rights = *rights;
    f->only = 0; /* it may be bounded now */
    if (f->arm_ns == 0) {
        f->arm_ns = BE_FAIR_ARM_NS;
        f->hold_ns = BE_FAIR_HOLD_MIN_NS;
        f->breath_ns = BE_FAIR_BREATH_NS;
    }
}

void
be_fair_attach(struct be_fair *f, uint32_t member, uint32_t group, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];

    memset(m, 0, sizeof(*m));
    m->active_ns = now;
    m->idle_ns = now;
    m->group = group + 1;
    f->end = member >= f->end ? member + 1 : f->end;
    if (f->only != 0) { /* who need not ask now asks again */
        f->members[f->only - 1].active_ns = now;
        f->only = 0;
    }
}

void
be_fair_detach(struct be_fair *f, uint32_t member)
{
    if (f->holder == member + 1)
        f->holder = 0;
    if (f->only == member + 1)
        f->only = 0;
    memset(&f->members[member], 0, sizeof(f->members[member]));
    while (f->end > 0 && f->members[f->end - 1].group == 0)
        f->end--;
}

static bool
is_active(const struct be_fair *f, uint32_t i, uint64_t now)
{
    const struct be_fair_member *m = &f->members[i];

    return m->group != 0 && (m->waiting || (f->holder == i + 1 && !f->idle) ||
                             now < m->active_ns + BE_FAIR_ACTIVE_NS);
}

/* Nobody else works here, nobody better may come, and nothing bounds it. */
static bool
is_alone(const struct be_fair *f, uint32_t member, uint64_t now)
{
    uint32_t class = class_of(f, member);

    if (f->groups[f->members[member].group - 1].rights.force ||
        f->groups[f->members[member].group - 1].rights.measured)
        return false;
    for (uint32_t i = 0; i < f->end; i++) {
        if (i == member || f->members[i].group == 0)
            continue;
        if (is_active(f, i, now) || class_of(f, i) < class)
            return false;
    }
    return true;
}

uint64_t
be_fair_window(const struct be_fair *f, uint32_t member)
{
    for (uint32_t i = 0; i < f->end; i++)
        if (f->members[i].group != 0 && class_of(f, i) < class_of(f, member))
            return f->arm_ns;
    return BE_FAIR_WINDOW_NS;
}

/* -- money ------------------------------------------------------------------------------------- */

static void
refill(struct be_fair_group *g, uint64_t now)
{
    int64_t most = (int64_t)(BE_FAIR_BURST_NS * g->rights.share / 100), more;

    if (!g->rights.force || now <= g->refilled_ns)
        return;
    more =
        (int64_t)(gp_min_u64(now - g->refilled_ns, 100 * BE_FAIR_BURST_NS) * g->rights.share / 100);
    if (more == 0) /* not yet a whole nanosecond: do not lose it */
        return;
    g->refilled_ns = now;
    g->tokens_ns = g->tokens_ns + more < most ? g->tokens_ns + more : most;
}

/* When the group's debt is paid; 0: it has none. */
static uint64_t
paid_at(const struct be_fair_group *g, uint64_t now)
{
    if (!g->rights.force || g->tokens_ns > 0)
        return 0;
    return now + ((uint64_t)-g->tokens_ns + 1) * 100 / g->rights.share + 1;
}

/* What a group is owed of its floor grows while it waits, once it has waited for what it had too
 * much. */
static void
floor_grow(struct be_fair_group *g, uint64_t est_ns, uint64_t now)
{
    uint64_t most = gp_max_u64(BE_FAIR_FLOOR_NS, 2 * est_ns), grown, back;

    if (g->floor_since_ns == 0 || now <= g->floor_since_ns)
        return;
    grown = gp_min_u64(now - g->floor_since_ns, 1ull << 50) * g->rights.floor / 100;
    back = gp_min_u64(g->floor_debt_ns, grown);
    g->floor_debt_ns -= back;
    g->floor_ns = gp_min_u64(most, g->floor_ns + grown - back);
    g->floor_since_ns = now;
}

/* The time that a group which begins to work must not be behind: the least of those that do. */
static void
vtime_move(struct be_fair *f)
{
    uint64_t least = FOREVER;

    for (uint32_t i = 0; i < f->end; i++)
        if (f->members[i].group != 0 &&
            (f->members[i].waiting || f->holder == i + 1 || f->only == i + 1))
            least = gp_min_u64(least, f->groups[f->members[i].group - 1].vtime);
    if (least != FOREVER)
        f->vtime = gp_max_u64(f->vtime, least);
}

/* Estimates that are wrong by much are wrong alike: the member's last work says by how much. */
static void
scale_learn(struct be_fair_member *m, uint64_t est_ns, uint64_t busy_ns)
{
    m->est_sum_ns = m->est_sum_ns - m->est_sum_ns / 32 + gp_min_u64(est_ns, 1ull << 40);
    m->busy_sum_ns = m->busy_sum_ns - m->busy_sum_ns / 32 + gp_min_u64(busy_ns, 1ull << 40);
}

static uint64_t
scaled(const struct be_fair_member *m, uint64_t est_ns)
{
    uint64_t ratio; /* in 1/256 */

    if (m->est_sum_ns == 0)
        return est_ns;
    ratio = m->busy_sum_ns * 256 / m->est_sum_ns;
    ratio = gp_min_u64(gp_max_u64(ratio, 256 / 64), 256 * 64);
    return gp_min_u64(est_ns, 1ull << 40) * ratio / 256;
}

/* What the device did for member, while one of a higher class waited. */
static void
behind_count(struct be_fair *f, uint32_t member, uint64_t busy_ns)
{
    for (uint32_t i = 0; i < f->end; i++)
        if (f->members[i].group != 0 && f->members[i].waiting &&
            class_of(f, i) < class_of(f, member)) {
            f->behind_ns += busy_ns;
            return;
        }
}

/* The group, and member in it, had so much of the device. */
static void
pay(struct be_fair *f, uint32_t member, uint64_t ns, uint64_t now)
{
    struct be_fair_group *g = group_of(f, member);
    uint64_t step = ns * 100 / g->rights.share, owed = gp_min_u64(g->floor_ns, ns);

    refill(g, now);
    f->members[member].vtime += ns;
    g->vtime += step;
    f->leap = gp_max_u64(step, f->leap - gp_min_u64(f->leap, ns));
    g->charged_ns = now;
    g->floor_ns -= owed;
    if (f->by_floor && f->holder == member + 1)
        g->floor_debt_ns += ns - owed;
    if (g->rights.force)
        g->tokens_ns -= (int64_t)ns;
}

void
be_fair_charge(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t busy_ns, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];
    uint64_t ahead;

    if (m->group == 0)
        return;
    scale_learn(m, est_ns, busy_ns);
    behind_count(f, member, busy_ns);
    if (f->holder == member + 1) {
        f->began_ns = 0;
        f->paid_ns = now;
    }
    m->active_ns = now;
    ahead = gp_min_u64(m->ahead_ns, busy_ns);
    m->ahead_ns -= ahead;
    pay(f, member, busy_ns - ahead, now);
    group_of(f, member)->service_ns += busy_ns;
    vtime_move(f);
}

void
be_fair_charge_beside(struct be_fair *f, uint32_t member, uint64_t busy_ns, bool in_turn,
                      uint64_t now)
{
    struct be_fair_member *m = &f->members[member];
    uint64_t ahead = 0;

    if (m->group == 0)
        return;
    if (in_turn) {
        behind_count(f, member, busy_ns);
        if (f->holder == member + 1)
            f->paid_ns = now; /* what it began with is at work still */
        ahead = gp_min_u64(m->ahead_ns, busy_ns);
    }
    m->active_ns = now;
    m->ahead_ns -= ahead;
    pay(f, member, busy_ns - ahead, now);
    group_of(f, member)->service_ns += busy_ns;
    vtime_move(f);
}

/* The holder's turn ends, though its work has not: nobody else had the device meanwhile. What runs
 * is measured once it is done, and then this is taken off. */
static void
turn_end(struct be_fair *f, uint64_t now)
{
    uint32_t member = f->holder - 1;
    uint64_t ns = now - gp_min_u64(f->paid_ns, now);

    if (f->began_ns != 0)
        f->members[member].ahead_ns += ns;
    pay(f, member, ns, now);
    f->holder = 0;
    vtime_move(f);
}

/* -- turns ------------------------------------------------------------------------------------- */

/* A candidate's rank: lower goes first. */
struct rank {
    uint32_t class; /* 0: its floor is due */
    uint32_t group; /* as a member has it */
    uint64_t group_vtime, member_vtime, since_ns;
};

static bool
rank_before(const struct rank *a, const struct rank *b)
{
    if (a->class != b->class)
        return a->class < b->class;
    if (a->group_vtime != b->group_vtime)
        return a->group_vtime < b->group_vtime;
    if (a->member_vtime != b->member_vtime)
        return a->member_vtime < b->member_vtime;
    return a->since_ns < b->since_ns;
}

/* Whoever held the turn last, is owed more than i and has nothing to run may only be slow to ask:
 * work that is long is not begun at once then. 0: no need to wait. */
static uint64_t
breath_ends(struct be_fair *f, uint32_t i)
{
    uint32_t last = f->holder - 1;

    if (f->holder == 0 || last == i || !f->idle || f->members[last].waiting ||
        f->members[last].group == f->members[i].group || class_of(f, last) != class_of(f, i) ||
        group_of(f, last)->vtime >= group_of(f, i)->vtime)
        return 0;
    return f->members[last].idle_ns +
           gp_min_u64(f->breath_ns, f->members[i].est_ns / BE_FAIR_BREATH_PART);
}

/* Waiting was in vain, or it was not. */
static void
breath_learn(struct be_fair *f, bool vain)
{
    if (vain)
        f->breath_ns = gp_max_u64(BE_FAIR_BREATH_MIN_NS, f->breath_ns / 2);
    else
        f->breath_ns = gp_min_u64(BE_FAIR_BREATH_NS, f->breath_ns + f->breath_ns / 8);
}

/* True if a waiting member may have the turn now; else *until_p is when it may at the earliest. */
static bool
rank_of(struct be_fair *f, uint32_t i, uint64_t now, struct rank *rank, uint64_t *until_p)
{
    const struct be_fair_member *m = &f->members[i];
    struct be_fair_group *g = group_of(f, i);
    uint64_t at;

    refill(g, now);
    floor_grow(g, m->est_ns, now);
    at = paid_at(g, now);
    if (at != 0) {
        *until_p = gp_min_u64(*until_p, at);
        return false;
    }
    rank->class = g->rights.priority + 1;
    if (g->rights.floor != 0 && g->rights.priority != 0 &&
        g->floor_ns >= gp_max_u64(FLOOR_DUE_NS, m->est_ns))
        rank->class = 0;
    rank->group = m->group;
    rank->group_vtime = g->vtime;
    rank->member_vtime = m->vtime;
    rank->since_ns = m->since_ns;
    at = breath_ends(f, i);
    if (now < at) {
        *until_p = gp_min_u64(*until_p, at);
        return false;
    }
    /* A higher class only drew breath. */
    if (f->holder != 0 && f->holder != i + 1 && f->idle && rank->class != 0 &&
        class_of(f, f->holder - 1) < g->rights.priority) {
        at = f->members[f->holder - 1].idle_ns + f->hold_ns;
        if (now < at) {
            *until_p = gp_min_u64(*until_p, at);
            return false;
        }
    }
    return true;
}

/* The best of those that wait; without one, *until_p is when to look again. */
static uint32_t
best_waiting(struct be_fair *f, uint32_t but, uint64_t now, struct rank *best, uint64_t *until_p)
{
    uint32_t found = BE_FAIR_NONE;
    struct rank rank;

    for (uint32_t i = 0; i < f->end; i++) {
        if (i == but || f->members[i].group == 0 || !f->members[i].waiting)
            continue;
        if (!rank_of(f, i, now, &rank, until_p))
            continue;
        if (found == BE_FAIR_NONE || rank_before(&rank, best)) {
            found = i;
            *best = rank;
        }
    }
    return found;
}

/* How much of lower classes a higher one had to let the device finish sets their window. */
static void
arm_adapt(struct be_fair *f)
{
    uint64_t behind = f->behind_ns;

    f->behind_ns = 0;
    if (behind == 0)
        return;
    if (behind > 2 * (f->arm_ns + f->piece_ns)) /* one launch cannot be cut */
        f->arm_ns = gp_max_u64(BE_FAIR_ARM_MIN_NS, f->arm_ns / 2);
    else
        f->arm_ns = gp_min_u64(BE_FAIR_ARM_NS, f->arm_ns + f->arm_ns / 16);
}

static void
wait_end(struct be_fair *f, uint32_t member, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];
    struct be_fair_group *g = group_of(f, member);

    m->waiting = false;
    floor_grow(g, m->est_ns, now);
    g->floor_since_ns = 0;
    for (uint32_t i = 0; i < f->end; i++) /* others of it wait on */
        if (f->members[i].group == m->group && f->members[i].waiting)
            g->floor_since_ns = now;
}

static void
grant(struct be_fair *f, uint32_t member, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];
    struct be_fair_group *g = group_of(f, member);

    arm_adapt(f);
    if (breath_ends(f, member) != 0)
        breath_learn(f, true);
    wait_end(f, member, now);
    m->idle_ns = 0;
    g->member_vtime = gp_max_u64(g->member_vtime, m->vtime);
    f->holder = member + 1;
    f->idle = false;
    f->slice_used_ns = 0;
    f->began_ns = 0;
    f->paid_ns = now;
    f->stuck_ns = now + BE_FAIR_STUCK_NS;
}

/* The turn is nobody's, or its holder's without need: give it to the best. */
static uint32_t
pick(struct be_fair *f, uint64_t now, uint64_t *until_p)
{
    struct rank best;
    uint32_t next;

    if (f->holder != 0 && !f->idle) {
        if (now < f->stuck_ns) {
            *until_p = gp_min_u64(*until_p, f->stuck_ns);
            return BE_FAIR_NONE;
        }
        turn_end(f, now); /* it waits for something else than the device: others may work */
    }
    next = best_waiting(f, BE_FAIR_NONE, now, &best, until_p);
    if (next != BE_FAIR_NONE) {
        grant(f, next, now);
        f->by_floor = best.class == 0;
    }
    return next;
}

/* No credit for the time that it did not want to work. A pause between two launches is not such a
 * time: who was slow to ask again is still owed what it was, and what others took meanwhile with
 * one piece of work that is longer than their share. */
static void
vtime_wake(struct be_fair *f, struct be_fair_group *g, uint64_t now)
{
    uint64_t lag = 0;

    if (g->charged_ns != 0 && now < g->charged_ns + BE_FAIR_LAG_NS)
        lag = gp_min_u64(f->vtime, BE_FAIR_LAG_NS * 100 / g->rights.share + f->leap);
    g->vtime = gp_max_u64(g->vtime, f->vtime - lag);
}

static void
want(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];
    struct be_fair_group *g = group_of(f, member);
    bool racing = f->holder != 0 && f->members[f->holder - 1].group == m->group && !f->idle;

    m->est_ns = est_ns;
    if (m->waiting)
        return;
    for (uint32_t i = 0; i < f->end && !racing; i++)
        racing = f->members[i].group == m->group && f->members[i].waiting;
    vtime_move(f);
    if (!racing)
        vtime_wake(f, g, now);
    m->vtime = gp_max_u64(m->vtime, g->member_vtime);
    m->waiting = true;
    m->since_ns = now;
    if (g->floor_since_ns == 0)
        g->floor_since_ns = now;
}

/* The holder comes back after a pause of its own: how long do such pauses last? */
static void
gap_learn(struct be_fair *f, const struct be_fair_member *m, uint64_t now)
{
    uint64_t gap = m->idle_ns != 0 && now > m->idle_ns ? now - m->idle_ns : 0;

    if (gap == 0 || gap > GAP_NS)
        return;
    f->gap_ns = f->gap_ns == 0 ? gap : (7 * f->gap_ns + gap) / 8;
    f->hold_ns = gp_min_u64(BE_FAIR_HOLD_MAX_NS, gp_max_u64(BE_FAIR_HOLD_MIN_NS, 2 * f->gap_ns));
}

/* All that the holder has under way and this done, is it still before who waits? */
static bool
stays_before(struct be_fair *f, uint32_t member, uint64_t more_ns, const struct rank *other)
{
    struct be_fair_group *g = group_of(f, member);

    if (other->group == f->members[member].group)
        return f->members[member].vtime + more_ns < other->member_vtime;
    return g->vtime + more_ns * 100 / g->rights.share < other->group_vtime;
}

/* Of one long launch that runs by itself, what is left; else all. */
static uint64_t
left_of(const struct be_fair *f, uint64_t under_way_ns, uint64_t now)
{
    if (f->began_ns == 0 || under_way_ns > f->piece_ns + f->piece_ns / 8)
        return under_way_ns;
    return under_way_ns - gp_min_u64(under_way_ns, now - gp_min_u64(f->began_ns, now));
}

/* The window and one launch beside it, so that the device does not run dry while its end is seen.
 * Among equals a launch that is longer than the window runs by itself; beside a higher class it
 * need not, for the device would wait before and behind each: at most the window and one launch
 * are still to be done either way. *until_p: when enough of one is done. */
static bool
fits_window(const struct be_fair *f, uint64_t under_way_ns, uint64_t est_ns, uint64_t window_ns,
            uint64_t now, uint64_t *until_p)
{
    uint64_t left;

    if (under_way_ns == 0)
        return true;
    if (window_ns == BE_FAIR_WINDOW_NS)
        return under_way_ns < window_ns && est_ns <= window_ns;
    left = left_of(f, under_way_ns, now);
    if (left < window_ns)
        return true;
    if (left != under_way_ns)
        *until_p = now + (left - window_ns) + 1;
    return false;
}

/* May the holder go on? */
static enum be_fair_verdict
go_on(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t under_way_ns, uint64_t now,
      uint64_t *until_p)
{
    struct be_fair_group *g = group_of(f, member);
    struct rank best = {0};
    uint64_t until = FOREVER;
    uint32_t other;

    refill(g, now);
    if (g->rights.force && g->tokens_ns <= (int64_t)gp_min_u64(under_way_ns, INT64_MAX))
        return BE_FAIR_WAIT;
    other = best_waiting(f, member, now, &best, &until);
    if (other != BE_FAIR_NONE && best.class <= g->rights.priority)
        return BE_FAIR_WAIT;
    if (other != BE_FAIR_NONE && best.class == g->rights.priority + 1 && f->slice_used_ns > 0 &&
        f->slice_used_ns + est_ns > BE_FAIR_SLICE_NS &&
        !stays_before(f, member, under_way_ns + est_ns, &best))
        return BE_FAIR_WAIT;
    return fits_window(f, under_way_ns, est_ns, be_fair_window(f, member), now, until_p)
               ? BE_FAIR_GO
               : BE_FAIR_DRAIN;
}

static enum be_fair_verdict
entered(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t under_way_ns, uint64_t now)
{
    struct be_fair_member *m = &f->members[member];

    gap_learn(f, m, now);
    if (f->idle) {
        breath_learn(f, false);
        f->paid_ns = now;
    }
    if (m->waiting)
        wait_end(f, member, now);
    m->idle_ns = 0;
    m->active_ns = now;
    f->idle = false;
    f->slice_used_ns += est_ns;
    f->piece_ns = est_ns;
    f->stuck_ns = now + gp_max_u64(BE_FAIR_STUCK_NS, 4 * (under_way_ns + est_ns));
    return BE_FAIR_GO;
}

enum be_fair_verdict
be_fair_enter(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t under_way_ns,
              uint64_t now, uint32_t *picked_p, uint64_t *until_p)
{
    struct be_fair_member *m = &f->members[member];
    enum be_fair_verdict verdict;

    *picked_p = BE_FAIR_NONE;
    *until_p = FOREVER;
    est_ns = scaled(m, est_ns);
    under_way_ns = scaled(m, under_way_ns);
    if (m->group == 0 || f->only == member + 1)
        return BE_FAIR_FREE;
    if (f->only != 0) {
        f->members[f->only - 1].active_ns = now;
        f->only = 0;
    }
    if (is_alone(f, member, now)) {
        wait_end(f, member, now);
        m->active_ns = now;
        f->holder = 0;
        f->only = member + 1;
        return BE_FAIR_FREE;
    }
    if (f->holder == member + 1) {
        verdict = go_on(f, member, est_ns, under_way_ns, now, until_p);
        if (verdict == BE_FAIR_GO)
            return entered(f, member, est_ns, under_way_ns, now);
        /* Once it has nothing under way it takes part in the race for the next turn. */
        want(f, member, est_ns, now);
        if (verdict == BE_FAIR_DRAIN)
            return verdict;
        if (under_way_ns != 0) { /* be_fair_drained() passes it on */
            *until_p = f->stuck_ns;
            return BE_FAIR_WAIT;
        }
        f->holder = 0;
    } else {
        want(f, member, est_ns, now);
    }
    *picked_p = pick(f, now, until_p);
    if (*picked_p != member)
        return BE_FAIR_WAIT;
    *picked_p = BE_FAIR_NONE;
    return entered(f, member, est_ns, under_way_ns, now);
}

void
be_fair_begun(struct be_fair *f, uint32_t member, uint64_t now)
{
    if (f->holder != member + 1)
        return;
    f->began_ns = now;
    f->stuck_ns = gp_max_u64(f->stuck_ns, now + BE_FAIR_LONG_NS);
}

void
be_fair_leave(struct be_fair *f, uint32_t member)
{
    struct be_fair_member *m = &f->members[member];

    m->waiting = false;
}

uint32_t
be_fair_drained(struct be_fair *f, uint32_t member, uint64_t now)
{
    uint64_t until = FOREVER;
    uint32_t next;

    if (f->members[member].group == 0)
        return BE_FAIR_NONE;
    f->members[member].idle_ns = now;
    if (f->holder != member + 1)
        return BE_FAIR_NONE;
    f->idle = true;
    if (f->members[member].waiting) /* it had to stop, so it is not for it to hold */
        f->holder = 0;
    next = pick(f, now, &until);
    return next == BE_FAIR_NONE && until != FOREVER ? BE_FAIR_ALL : next;
}

bool
be_fair_stalled(struct be_fair *f, uint32_t member, uint64_t since_ns, uint64_t now,
                uint32_t *picked_p)
{
    uint64_t most = BE_FAIR_STALL_NS, until = FOREVER;

    *picked_p = BE_FAIR_NONE;
    if (f->holder != member + 1 || f->idle)
        return false;
    for (uint32_t i = 0; i < f->end; i++)
        if (f->members[i].group != 0 && f->members[i].waiting &&
            class_of(f, i) < class_of(f, member))
            most = BE_FAIR_STALL_HIGH_NS;
    if (now < gp_max_u64(since_ns, f->paid_ns) + most)
        return true;
    f->began_ns = 0;
    turn_end(f, now);
    f->members[member].idle_ns = now;
    *picked_p = pick(f, now, &until);
    if (*picked_p == BE_FAIR_NONE && until != FOREVER)
        *picked_p = BE_FAIR_ALL;
    return false;
}
