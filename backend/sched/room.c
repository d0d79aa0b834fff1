/* backend/sched/room.c */
#include "backend/sched/room.h"

#include "protocol/base/util.h"

#include <string.h>

#define FOREVER    UINT64_MAX
#define RATE_BYTES (8ull << 20)

static uint64_t
sub_sat(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void
wake(struct be_room *r, struct be_room_wake *w, uint32_t member)
{
    r->members[member].asked = true;
    w->bits[member / 64] |= 1ull << (member % 64);
    w->any = true;
}

/* -- who is there ------------------------------------------------------------------------------ */

void
be_room_attach(struct be_room *r, uint32_t member, uint32_t class)
{
    struct be_room_member *m = &r->members[member];

    memset(m, 0, sizeof(*m));
    m->there = true;
    m->class = class;
    r->end = member >= r->end ? member + 1 : r->end;
}

void
be_room_detach(struct be_room *r, uint32_t member)
{
    memset(&r->members[member], 0, sizeof(r->members[member]));
    while (r->end > 0 && !r->members[r->end - 1].there)
        r->end--;
}

uint64_t
be_room_free(const struct be_room *r)
{
    uint64_t held = 0;

    for (uint32_t i = 0; i < r->end; i++)
        held += r->members[i].held_bytes;
    return sub_sat(r->bytes, held);
}

/* True if a is served before b. */
static bool
served_before(const struct be_room_member *a, const struct be_room_member *b)
{
    if ((a->stuck_ns != 0) != (b->stuck_ns != 0))
        return a->stuck_ns != 0;
    if (a->stuck_ns != 0) /* who tried last: the others have to try again */
        return a->not_before_ns > b->not_before_ns;
    if (a->class != b->class)
        return a->class < b->class;
    return a->since_ns < b->since_ns;
}

uint32_t
be_room_first(const struct be_room *r)
{
    uint32_t first = BE_ROOM_NONE;

    for (uint32_t i = 0; i < r->end; i++) {
        const struct be_room_member *m = &r->members[i];

        if (m->there && m->waiting &&
            (first == BE_ROOM_NONE || served_before(m, &r->members[first])))
            first = i;
    }
    return first;
}

/* -- bytes ------------------------------------------------------------------------------------- */

bool
be_room_grow(struct be_room *r, uint32_t member, uint64_t bytes, uint64_t now)
{
    struct be_room_member *m = &r->members[member];

    if (!m->there || be_room_first(r) != BE_ROOM_NONE || bytes > be_room_free(r))
        return false;
    m->held_bytes += bytes;
    if (m->came_ns == 0)
        m->came_ns = now;
    return true;
}

void
be_room_give(struct be_room *r, uint32_t member, uint64_t bytes)
{
    struct be_room_member *m = &r->members[member];

    if (m->leave_bytes != 0)
        m->stuck_ns = 0;
    m->held_bytes = sub_sat(m->held_bytes, bytes);
    m->leave_bytes = sub_sat(m->leave_bytes, bytes);
}

void
be_room_fix(struct be_room *r, uint32_t member, uint64_t fixed_bytes)
{
    r->members[member].fixed_bytes = fixed_bytes;
}

void
be_room_moved(struct be_room *r, uint32_t member, bool in, uint64_t bytes, uint64_t ns)
{
    uint64_t *rate = in ? &r->in_ps : &r->out_ps;
    uint64_t now = bytes >> 10 != 0 ? gp_min_u64(ns, 1ull << 40) * 1000 / 1024 / (bytes >> 10) : 0;

    *(in ? &r->in_bytes : &r->out_bytes) += bytes;
    if (in)
        r->members[member].moved_in_bytes += bytes;
    /* Of small ones most is overhead. */
    if (now != 0 && (*rate == 0 || bytes >= RATE_BYTES))
        *rate = *rate == 0 ? now : (3 * *rate + now) / 4;
}

/* What it takes to exchange so many bytes, both ways at once. */
static uint64_t
exchange_ns(const struct be_room *r, uint64_t bytes)
{
    uint64_t ps = gp_max_u64(r->in_ps != 0 ? r->in_ps : BE_ROOM_GUESS_PS,
                             r->out_ps != 0 ? r->out_ps : BE_ROOM_GUESS_PS);

    return gp_min_u64((bytes >> 10) * ps, 1ull << 50) / 1000 * 1024;
}

/* -- who has to go ----------------------------------------------------------------------------- */

static uint64_t
can_leave(const struct be_room_member *m)
{
    return sub_sat(m->held_bytes, m->fixed_bytes + m->leave_bytes);
}

static uint64_t
quantum_ns(const struct be_room *r, const struct be_room_member *v, const struct be_room_member *w)
{
    uint64_t lacking = sub_sat(w->need_bytes, w->held_bytes) + w->moved_in_bytes;
    uint64_t one = exchange_ns(r, gp_max_u64(v->brought_bytes, lacking));
    uint64_t ns = (w->turn_ns > BE_ROOM_SHORT * one / 2 ? BE_ROOM_FACTOR : BE_ROOM_SHORT) * one;

    return gp_min_u64(BE_ROOM_MOST_NS, gp_max_u64(BE_ROOM_LEAST_NS, ns));
}

/* It is asked to go: so long it worked since it came. */
static void
turn_learn(struct be_room_member *m, uint64_t now)
{
    uint64_t ns;

    if (m->came_ns == 0)
        return;
    ns = sub_sat(m->idle_ns != 0 ? m->idle_ns : now, m->came_ns);
    m->turn_ns = m->turn_ns == 0 ? ns : (m->turn_ns + ns) / 2;
}

/* When v may be asked for the sake of w; FOREVER: not as things are. */
static uint64_t
may_ask_at(const struct be_room *r, const struct be_room_member *v, const struct be_room_member *w)
{
    uint64_t idle = FOREVER, quantum = FOREVER;

    if (v->class == 0 && w->class != 0)
        return FOREVER;
    if (v->class > w->class || v->waiting || v->came_ns == 0 || r->eager)
        return v->not_before_ns;
    if (v->idle_ns != 0)
        idle = v->idle_ns + gp_max_u64(BE_ROOM_IDLE_NS, exchange_ns(r, v->held_bytes) / 2);
    if (v->class == w->class)
        quantum = v->came_ns + quantum_ns(r, v, w);
    return gp_max_u64(v->not_before_ns, gp_min_u64(idle, quantum));
}

/* True if a goes before b. */
static bool
goes_before(const struct be_room_member *a, const struct be_room_member *b)
{
    if (a->waiting != b->waiting)
        return a->waiting;
    if (a->class != b->class)
        return a->class > b->class;
    if ((a->idle_ns != 0) != (b->idle_ns != 0))
        return a->idle_ns != 0;
    if (a->idle_ns != 0)
        return a->idle_ns < b->idle_ns;
    return a->came_ns > b->came_ns;
}

/* What the first one waits for and nobody was asked for yet. */
static uint64_t
wanting(const struct be_room *r, uint32_t first)
{
    uint64_t coming = be_room_free(r);

    for (uint32_t i = 0; i < r->end; i++)
        if (i != first)
            coming += r->members[i].leave_bytes;
    return sub_sat(r->members[first].need_bytes, r->members[first].held_bytes + coming);
}

/* Ask others to leave for the first one; *until_p: when more may be asked. */
static void
ask(struct be_room *r, uint32_t first, uint64_t now, struct be_room_wake *w, uint64_t *until_p)
{
    const struct be_room_member *for_whom = &r->members[first];
    uint64_t lacking;

    while ((lacking = wanting(r, first)) != 0) {
        uint32_t found = BE_ROOM_NONE;

        for (uint32_t i = 0; i < r->end; i++) {
            struct be_room_member *v = &r->members[i];
            uint64_t at;

            if (i == first || !v->there || can_leave(v) == 0)
                continue;
            at = may_ask_at(r, v, for_whom);
            if (at > now) {
                /* It may have fallen idle, and only itself can see that. */
                if (!v->asked && (v->class != 0 || for_whom->class == 0))
                    wake(r, w, i);
                *until_p = gp_min_u64(*until_p, at);
                continue;
            }
            if (found == BE_ROOM_NONE || goes_before(v, &r->members[found]))
                found = i;
        }
        if (found == BE_ROOM_NONE)
            return;
        if (r->members[found].leave_bytes == 0)
            turn_learn(&r->members[found], now);
        r->members[found].leave_bytes += gp_min_u64(lacking, can_leave(&r->members[found]));
        wake(r, w, found);
    }
}

/* -- coming and going -------------------------------------------------------------------------- */

static void
complete(struct be_room *r, struct be_room_member *m, uint64_t now)
{
    if (m->waiting || m->came_ns == 0) {
        m->came_ns = now;
        m->brought_bytes = m->moved_in_bytes;
        r->exchanges += m->moved_in_bytes != 0;
    }
    m->moved_in_bytes = 0;
    m->waiting = false;
    m->stuck_ns = 0;
    m->leave_bytes = 0;
    m->idle_ns = 0;
}

bool
be_room_enter(struct be_room *r, uint32_t member, uint64_t need_bytes, bool there, uint64_t now,
              struct be_room_wake *w, uint64_t *until_p)
{
    struct be_room_member *m = &r->members[member];
    uint32_t first;

    *until_p = FOREVER;
    if (!m->there)
        return true;
    m->asked = false;
    if (!m->waiting && (m->held_bytes < need_bytes || !there)) {
        m->waiting = true;
        m->stuck_ns = 0;
        m->since_ns = now;
        m->came_ns = 0;
    }
    m->need_bytes = need_bytes;
    first = be_room_first(r);
    if (first == member) {
        m->leave_bytes = 0; /* it was for somebody who does not want it any more */
        m->held_bytes += gp_min_u64(be_room_free(r), sub_sat(m->need_bytes, m->held_bytes));
    }
    if (there && m->held_bytes >= need_bytes && m->leave_bytes == 0) {
        complete(r, m, now);
        first = be_room_first(r);
        if (first != BE_ROOM_NONE) /* the next one's turn to be given something */
            wake(r, w, first);
        return true;
    }
    if (first != BE_ROOM_NONE)
        ask(r, first, now, w, until_p);
    if (first != BE_ROOM_NONE && first != member && be_room_free(r) != 0)
        wake(r, w, first);
    return false;
}

void
be_room_leave(struct be_room *r, uint32_t member)
{
    r->members[member].waiting = false;
    r->members[member].stuck_ns = 0;
}

uint64_t
be_room_look(struct be_room *r, uint32_t member, uint64_t idle_ns, uint64_t now,
             struct be_room_wake *w, uint64_t *until_p)
{
    struct be_room_member *m = &r->members[member];
    uint32_t first = be_room_first(r);
    uint64_t at;

    *until_p = FOREVER;
    m->idle_ns = idle_ns;
    if (first == BE_ROOM_NONE) { /* who wanted it is gone */
        m->asked = false;
        m->leave_bytes = 0;
        return 0;
    }
    m->asked = true; /* it looks again by itself */
    if (first != member)
        ask(r, first, now, w, until_p);
    *until_p = FOREVER;
    if (m->leave_bytes != 0) {
        m->came_ns = 0;
        return m->leave_bytes;
    }
    at = may_ask_at(r, m, &r->members[first]);
    /* What could be asked of it already is not needed now. */
    if (can_leave(m) != 0 && first != member && at > now &&
        (m->class != 0 || r->members[first].class == 0))
        *until_p = idle_ns != 0 ? at : gp_min_u64(at, now + BE_ROOM_IDLE_NS / 2);
    m->asked = *until_p != FOREVER;
    return 0;
}

void
be_room_cannot(struct be_room *r, uint32_t member, uint64_t now)
{
    struct be_room_member *m = &r->members[member];

    m->leave_bytes = 0;
    m->not_before_ns = now + BE_ROOM_RETRY_NS;
    if (m->waiting && m->stuck_ns == 0)
        m->stuck_ns = now;
}

bool
be_room_jammed(const struct be_room *r, uint32_t member, uint64_t now)
{
    const struct be_room_member *m = &r->members[member];

    if (!m->waiting || m->stuck_ns == 0 || now < m->stuck_ns + BE_ROOM_JAM_NS)
        return false;
    for (uint32_t i = 0; i < r->end; i++) {
        const struct be_room_member *o = &r->members[i];

        if (!o->there || o->held_bytes <= o->fixed_bytes)
            continue;
        if (!o->waiting || o->stuck_ns == 0 || now < o->stuck_ns + BE_ROOM_JAM_NS ||
            o->stuck_ns > m->stuck_ns || (o->stuck_ns == m->stuck_ns && i > member))
            return false;
    }
    return true;
}

/* -- who keeps others waiting ------------------------------------------------------------------ */

/* For how long member has kept the first one waiting because its work does not end. */
static uint64_t
keeps_ns(const struct be_room *r, uint32_t first, uint32_t member, uint64_t now)
{
    const struct be_room_member *m = &r->members[member], *f = &r->members[first];

    if (member == first || !m->there || m->busy_ns == 0 || m->held_bytes <= m->fixed_bytes ||
        (m->class == 0 && f->class != 0))
        return 0;
    return sub_sat(now, gp_max_u64(m->busy_ns, f->since_ns));
}

static bool
over_limit(const struct be_room *r, uint32_t first, uint32_t member, uint64_t now)
{
    uint64_t limit = r->members[member].limit_ns;

    return limit != 0 && keeps_ns(r, first, member, now) >= limit;
}

/* True if the first one waits for more than is free or will be, as who was asked leaves; of who has
 * not done so for limit_ns nothing is hoped. */
static bool
lacks(const struct be_room *r, uint32_t first, uint64_t limit_ns, uint64_t now)
{
    uint64_t coming = be_room_free(r);

    for (uint32_t i = 0; i < r->end; i++)
        if (i != first && keeps_ns(r, first, i, now) < limit_ns)
            coming += r->members[i].leave_bytes;
    return r->members[first].need_bytes > r->members[first].held_bytes + coming;
}

uint64_t
be_room_busy(struct be_room *r, uint32_t member, uint64_t busy_ns, uint64_t limit_ns, uint64_t now)
{
    struct be_room_member *m = &r->members[member];
    uint32_t first = be_room_first(r);

    m->busy_ns = busy_ns;
    m->limit_ns = limit_ns;
    return first != BE_ROOM_NONE ? keeps_ns(r, first, member, now) : 0;
}

bool
be_room_overdue(const struct be_room *r, uint32_t member, uint64_t now)
{
    uint32_t first = be_room_first(r);
    uint64_t ns;

    if (first == BE_ROOM_NONE || !over_limit(r, first, member, now) ||
        !lacks(r, first, r->members[member].limit_ns, now))
        return false;
    ns = keeps_ns(r, first, member, now);
    for (uint32_t i = 0; i < r->end; i++) {
        uint64_t other = keeps_ns(r, first, i, now);

        if (i != member && over_limit(r, first, i, now) &&
            (other > ns || (other == ns && i < member)))
            return false;
    }
    return true;
}
