/* backend/tenant/rooms.c */
#include "backend/tenant/rooms.h"

#include "backend/tenant/segment.h"
#include "protocol/base/clock.h"

/* What the driver itself has for sessions is no room for their memory. */
static uint64_t
others_bytes(const struct be_segment *g, unsigned device)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < BE_LEDGER_SLOTS && i < g->slot_end; i++)
        sum += atomic_load_explicit(&g->slots[i].device[device].other, memory_order_relaxed);
    return sum;
}

/* Who began to work since it was idle is not idle any more, though it did not say so. */
static void
idle_refresh(struct be_segment *g, struct be_room *room)
{
    for (uint32_t i = 0; i < room->end && i < BE_LEDGER_SLOTS; i++) {
        struct be_room_member *m = &room->members[i];

        if (m->idle_ns != 0 &&
            atomic_load_explicit(&g->slots[i].work, memory_order_relaxed) != m->work)
            m->idle_ns = 0;
    }
}

static struct be_segment_rooms *
rooms_lock(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_rooms *rooms = &ledger->segment->rooms[device];
    uint64_t taken = others_bytes(ledger->segment, device), total;

    be_robust_lock(&rooms->lock);
    total = ledger->segment->devices[device].total_bytes;
    taken += rooms->keep_bytes;
    rooms->room.bytes = total > taken ? total - taken : 0;
    rooms->room.eager = ledger->segment->eager;
    idle_refresh(ledger->segment, &rooms->room);
    return rooms;
}

static void
rooms_unlock(struct be_segment_rooms *rooms)
{
    pthread_mutex_unlock(&rooms->lock);
}

static void
slot_wake(struct be_ledger *ledger, unsigned slot)
{
    be_word_ring(&ledger->segment->slots[slot].room);
}

static void
wake_marked(struct be_ledger *ledger, const struct be_room_wake *wake)
{
    for (unsigned i = 0; wake->any && i < BE_LEDGER_SLOTS; i++)
        if (wake->bits[i / 64] >> (i % 64) & 1)
            slot_wake(ledger, i);
}

static void
wake_one(struct be_ledger *ledger, uint32_t member)
{
    if (member != BE_ROOM_NONE)
        slot_wake(ledger, member);
}

static bool
takes_part(const struct be_ledger *ledger, unsigned device)
{
    return be_ledger_paged(ledger) && device < BE_LEDGER_DEVICES && ledger->slot < BE_LEDGER_SLOTS;
}

/* -- who is there ------------------------------------------------------------------------------ */

void
be_rooms_init(struct be_ledger *ledger)
{
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        be_robust_init(&ledger->segment->rooms[d].lock);
}

void
be_rooms_attach(struct be_ledger *ledger, unsigned device, uint64_t keep_bytes)
{
    uint32_t class = BE_PRIORITY_NORMAL, tenant;
    struct be_segment_rooms *rooms;

    if (!takes_part(ledger, device))
        return;
    tenant = atomic_load(&ledger->segment->slots[ledger->slot].tenant);
    if (tenant != 0)
        class = ledger->segment->tenants[tenant - 1].policy.priority;
    rooms = rooms_lock(ledger, device);
    rooms->keep_bytes = keep_bytes;
    be_room_attach(&rooms->room, ledger->slot, class);
    rooms_unlock(rooms);
}

static void
detach(struct be_ledger *ledger, unsigned device, unsigned slot)
{
    struct be_segment_rooms *rooms = rooms_lock(ledger, device);
    uint32_t first;

    be_room_detach(&rooms->room, slot);
    first = be_room_first(&rooms->room);
    rooms_unlock(rooms);
    wake_one(ledger, first);
}

void
be_rooms_detach(struct be_ledger *ledger, unsigned device)
{
    if (takes_part(ledger, device))
        detach(ledger, device, ledger->slot);
}

void
be_rooms_slot_gone(struct be_ledger *ledger, unsigned slot)
{
    if (!be_ledger_paged(ledger))
        return;
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        if (ledger->segment->devices[d].total_bytes != 0)
            detach(ledger, d, slot);
}

/* -- bytes ------------------------------------------------------------------------------------- */

bool
be_rooms_grow(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_segment_rooms *rooms;
    bool grown;

    if (!takes_part(ledger, device))
        return true;
    rooms = rooms_lock(ledger, device);
    grown = be_room_grow(&rooms->room, ledger->slot, bytes, gp_now_ns());
    rooms_unlock(rooms);
    return grown;
}

void
be_rooms_give(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_segment_rooms *rooms;
    uint32_t first;

    if (!takes_part(ledger, device) || bytes == 0)
        return;
    rooms = rooms_lock(ledger, device);
    be_room_give(&rooms->room, ledger->slot, bytes);
    first = be_room_first(&rooms->room);
    rooms_unlock(rooms);
    wake_one(ledger, first);
}

void
be_rooms_fix(struct be_ledger *ledger, unsigned device, uint64_t fixed_bytes)
{
    struct be_segment_rooms *rooms;

    if (!takes_part(ledger, device))
        return;
    rooms = rooms_lock(ledger, device);
    be_room_fix(&rooms->room, ledger->slot, fixed_bytes);
    rooms_unlock(rooms);
}

/* -- coming and going -------------------------------------------------------------------------- */

bool
be_rooms_enter(struct be_ledger *ledger, unsigned device, uint64_t need_bytes, bool there,
               struct be_rooms_answer *answer_p)
{
    struct be_room_wake wake = {0};
    struct be_segment_rooms *rooms;
    bool good;

    *answer_p = (struct be_rooms_answer){.held_bytes = need_bytes};
    if (!takes_part(ledger, device))
        return true;
    rooms = rooms_lock(ledger, device);
    good = be_room_enter(&rooms->room, ledger->slot, need_bytes, there, gp_now_ns(), &wake,
                         &answer_p->until_ns);
    answer_p->held_bytes = rooms->room.members[ledger->slot].held_bytes;
    answer_p->leave_bytes = rooms->room.members[ledger->slot].leave_bytes;
    rooms_unlock(rooms);
    wake_marked(ledger, &wake);
    return good;
}

void
be_rooms_leave(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_rooms *rooms;
    uint32_t first;

    if (!takes_part(ledger, device))
        return;
    rooms = rooms_lock(ledger, device);
    be_room_leave(&rooms->room, ledger->slot);
    first = be_room_first(&rooms->room);
    rooms_unlock(rooms);
    wake_one(ledger, first);
}

uint64_t
be_rooms_look(struct be_ledger *ledger, unsigned device, uint64_t idle_ns, uint64_t work,
              uint64_t *until_p)
{
    struct be_room_wake wake = {0};
    struct be_segment_rooms *rooms;
    uint64_t bytes;

    *until_p = UINT64_MAX;
    if (!takes_part(ledger, device))
        return 0;
    rooms = rooms_lock(ledger, device);
    rooms->room.members[ledger->slot].work = work;
    bytes = be_room_look(&rooms->room, ledger->slot, idle_ns, gp_now_ns(), &wake, until_p);
    rooms_unlock(rooms);
    wake_marked(ledger, &wake);
    return bytes;
}

void
be_rooms_cannot(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_rooms *rooms;
    uint32_t first;

    if (!takes_part(ledger, device))
        return;
    rooms = rooms_lock(ledger, device);
    be_room_cannot(&rooms->room, ledger->slot, gp_now_ns());
    first = be_room_first(&rooms->room);
    rooms_unlock(rooms);
    wake_one(ledger, first);
}

bool
be_rooms_jammed(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_rooms *rooms;
    bool jammed;

    if (!takes_part(ledger, device))
        return false;
    rooms = rooms_lock(ledger, device);
    jammed = be_room_jammed(&rooms->room, ledger->slot, gp_now_ns());
    rooms_unlock(rooms);
    return jammed;
}

uint64_t
be_rooms_busy(struct be_ledger *ledger, unsigned device, uint64_t busy_ns, uint64_t limit_ns,
              bool *overdue_p)
{
    struct be_segment_rooms *rooms;
    uint64_t now, ns;

    *overdue_p = false;
    if (!takes_part(ledger, device))
        return 0;
    rooms = rooms_lock(ledger, device);
    now = gp_now_ns();
    ns = be_room_busy(&rooms->room, ledger->slot, busy_ns, limit_ns, now);
    *overdue_p = be_room_overdue(&rooms->room, ledger->slot, now);
    rooms_unlock(rooms);
    return ns;
}

void
be_rooms_moved(struct be_ledger *ledger, unsigned device, bool in, uint64_t bytes, uint64_t ns)
{
    struct be_segment_rooms *rooms;

    if (!takes_part(ledger, device))
        return;
    rooms = rooms_lock(ledger, device);
    be_room_moved(&rooms->room, ledger->slot, in, bytes, ns);
    rooms_unlock(rooms);
}

bool
be_rooms_wanted(struct be_ledger *ledger, unsigned device)
{
    struct be_segment_rooms *rooms;
    uint32_t first;

    if (!takes_part(ledger, device))
        return false;
    rooms = rooms_lock(ledger, device);
    first = be_room_first(&rooms->room);
    rooms_unlock(rooms);
    return first != BE_ROOM_NONE && first != ledger->slot;
}

/* -- work -------------------------------------------------------------------------------------- */

void
be_rooms_work_begin(struct be_ledger *ledger)
{
    atomic_fetch_add(&ledger->segment->slots[ledger->slot].work, 1);
}

uint64_t
be_rooms_work(const struct be_ledger *ledger)
{
    return atomic_load(&ledger->segment->slots[ledger->slot].work);
}

void
be_rooms_work_end(struct be_ledger *ledger)
{
    atomic_store_explicit(&ledger->segment->slots[ledger->slot].work_ns, gp_now_ns(),
                          memory_order_release);
}

uint64_t
be_rooms_worked_ns(const struct be_ledger *ledger)
{
    return atomic_load_explicit(&ledger->segment->slots[ledger->slot].work_ns,
                                memory_order_acquire);
}

/* -- sleeping ---------------------------------------------------------------------------------- */

uint32_t
be_rooms_word(const struct be_ledger *ledger)
{
    return atomic_load(&ledger->segment->slots[ledger->slot].room);
}

void
be_rooms_wake(struct be_ledger *ledger)
{
    slot_wake(ledger, ledger->slot);
}

void
be_rooms_await(struct be_ledger *ledger, uint32_t seen, uint64_t until_ns)
{
    be_word_await(&ledger->segment->slots[ledger->slot].room, seen, until_ns);
}
