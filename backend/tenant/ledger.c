/* backend/tenant/ledger.c -- the segment, its slots, and what may be promised */
#include "backend/tenant/ledger.h"

#include "backend/tenant/rooms.h"
#include "backend/tenant/segment.h"
#include "backend/tenant/turns.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/parse.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* -- the segment ------------------------------------------------------------------------------- */

void
be_segment_lock(struct be_segment *segment)
{
    be_robust_lock(&segment->lock);
}

void
be_segment_unlock(struct be_segment *segment)
{
    pthread_mutex_unlock(&segment->lock);
}

static enum gp_status
segment_map(int fd, struct be_ledger *ledger)
{
    void *at = mmap(NULL, sizeof(struct be_segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED) {
        log_error("ledger: map: %m");
        return GP_ERR_NO_MEMORY;
    }
    ledger->segment = at;
    ledger->fd = fd;
    return GP_OK;
}

enum gp_status
be_ledger_create(struct be_ledger **ledger_p)
{
    struct be_ledger *ledger = calloc(1, sizeof(*ledger));
    enum gp_status status = GP_ERR_NO_MEMORY;
    int fd = -1;

    if (ledger == NULL)
        return GP_ERR_NO_MEMORY;
    fd = memfd_create("gpupool-ledger", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, sizeof(struct be_segment)) == 0)
        status = segment_map(fd, ledger);
    else
        log_error("ledger: memory: %m");
    if (status != GP_OK) {
        if (fd >= 0)
            close(fd);
        free(ledger);
        return status;
    }
    ledger->slot = BE_LEDGER_SLOTS;
    be_robust_init(&ledger->segment->lock);
    be_turns_init(ledger);
    be_rooms_init(ledger);
    ledger->segment->bytes = sizeof(struct be_segment);
    ledger->segment->magic = BE_SEGMENT_MAGIC;
    *ledger_p = ledger;
    return GP_OK;
}

enum gp_status
be_ledger_attach(int fd, unsigned slot, struct be_ledger **ledger_p)
{
    struct be_ledger *ledger = calloc(1, sizeof(*ledger));
    enum gp_status status;

    if (ledger == NULL)
        return GP_ERR_NO_MEMORY;
    status = slot < BE_LEDGER_SLOTS ? segment_map(fd, ledger) : GP_ERR_INVALID;
    if (status == GP_OK && (ledger->segment->magic != BE_SEGMENT_MAGIC ||
                            ledger->segment->bytes != sizeof(struct be_segment))) {
        log_error("ledger: descriptor %d is none of this build", fd);
        munmap(ledger->segment, sizeof(struct be_segment));
        status = GP_ERR_INVALID;
    }
    if (status != GP_OK) {
        free(ledger);
        return status;
    }
    ledger->slot = slot;
    *ledger_p = ledger;
    return GP_OK;
}

void
be_ledger_close(struct be_ledger *ledger)
{
    if (ledger == NULL)
        return;
    munmap(ledger->segment, sizeof(struct be_segment));
    close(ledger->fd);
    free(ledger);
}

int
be_ledger_fd(const struct be_ledger *ledger)
{
    return ledger->fd;
}

void
be_ledger_set_paging(struct be_ledger *ledger, const struct be_paging *paging)
{
    ledger->segment->percent = paging->percent;
    ledger->segment->arena_bytes = paging->arena_bytes;
    ledger->segment->spill_bytes = paging->spill_bytes;
    ledger->segment->eager = paging->eager;
}

bool
be_ledger_paged(const struct be_ledger *ledger)
{
    return ledger != NULL && ledger->segment->percent > 100;
}

/* -- slots ------------------------------------------------------------------------------------- */

static void
slot_empty(struct be_slot *slot)
{
    atomic_store(&slot->tenant, 0);
    atomic_store(&slot->work_ns, 0);
    atomic_store(&slot->told, 0);
    atomic_store(&slot->host, 0);
    atomic_store(&slot->spilled, 0);
    atomic_store(&slot->packed, 0);
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++) {
        atomic_store(&slot->device[d].fixed, 0);
        atomic_store(&slot->device[d].away, 0);
        atomic_store(&slot->device[d].used, 0);
        atomic_store(&slot->device[d].lease, 0);
        atomic_store(&slot->device[d].other, 0);
    }
}

enum gp_status
be_ledger_slot_take(struct be_ledger *ledger, unsigned *slot_p)
{
    struct be_segment *g = ledger->segment;
    enum gp_status status = GP_ERR_LIMIT;

    be_segment_lock(g);
    for (unsigned i = 0; i < BE_LEDGER_SLOTS && status != GP_OK; i++) {
        if (atomic_load(&g->slots[i].taken))
            continue;
        slot_empty(&g->slots[i]);
        atomic_store(&g->slots[i].taken, 1);
        g->slot_end = i >= g->slot_end ? i + 1 : g->slot_end;
        *slot_p = i;
        status = GP_OK;
    }
    be_segment_unlock(g);
    return status;
}

void
be_ledger_slot_give(struct be_ledger *ledger, unsigned slot)
{
    struct be_segment *g = ledger->segment;

    be_turns_slot_gone(ledger, slot);
    be_rooms_slot_gone(ledger, slot);
    be_segment_lock(g);
    slot_empty(&g->slots[slot]);
    atomic_store(&g->slots[slot].taken, 0);
    while (g->slot_end > 0 && !atomic_load(&g->slots[g->slot_end - 1].taken))
        g->slot_end--;
    be_segment_unlock(g);
    be_ledger_ring(ledger);
}

/* -- policies ---------------------------------------------------------------------------------- */

static uint32_t
tenant_entry(struct be_segment *g, const char *name)
{
    uint32_t unused = BE_TENANT_NONE;

    for (uint32_t i = 0; i < BE_TENANTS_MAX; i++) {
        if (g->tenants[i].known && strcmp(g->tenants[i].policy.name, name) == 0)
            return i;
        if (!g->tenants[i].known && unused == BE_TENANT_NONE)
            unused = i;
    }
    /* One that is gone and has no session makes room. */
    for (uint32_t i = 0; i < BE_TENANTS_MAX && unused == BE_TENANT_NONE; i++) {
        bool busy = !g->tenants[i].gone;

        for (unsigned s = 0; s < g->slot_end && !busy; s++)
            busy = atomic_load(&g->slots[s].tenant) == i + 1;
        if (!busy)
            unused = i;
    }
    return unused;
}

void
be_ledger_publish(struct be_ledger *ledger, const struct be_policies *policies)
{
    struct be_segment *g = ledger->segment;

    be_segment_lock(g);
    for (uint32_t i = 0; i < BE_TENANTS_MAX; i++)
        g->tenants[i].gone = true;
    g->order_count = 0;
    for (uint32_t i = 0; i < policies->count; i++) {
        uint32_t at = tenant_entry(g, policies->list[i].name);

        if (at == BE_TENANT_NONE) {
            log_error("tenant %s: no room while sessions of removed tenants go on",
                      policies->list[i].name);
            continue;
        }
        g->tenants[at].policy = policies->list[i];
        g->tenants[at].known = true;
        g->tenants[at].gone = false;
        g->order[g->order_count++] = at;
    }
    atomic_store(&g->governed, policies->count != 0 || atomic_load(&g->governed));
    be_turns_set_rights(ledger);
    be_segment_unlock(g);
    be_ledger_ring(ledger);
}

bool
be_ledger_governed(struct be_ledger *ledger)
{
    return ledger != NULL && atomic_load(&ledger->segment->governed) != 0;
}

void
be_ledger_set_device(struct be_ledger *ledger, unsigned device, uint64_t total_bytes, bool shared)
{
    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return;
    be_segment_lock(ledger->segment);
    ledger->segment->devices[device].total_bytes = total_bytes;
    ledger->segment->devices[device].shared = shared;
    be_segment_unlock(ledger->segment);
}

uint64_t
be_ledger_context_cost(struct be_ledger *ledger, unsigned device)
{
    const struct be_segment_device *d = &ledger->segment->devices[device];
    uint64_t cost;

    be_segment_lock(ledger->segment);
    cost = d->cost_known ? d->context_cost : UINT64_MAX;
    be_segment_unlock(ledger->segment);
    return cost;
}

void
be_ledger_set_context_cost(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    be_segment_lock(ledger->segment);
    ledger->segment->devices[device].context_cost = bytes;
    ledger->segment->devices[device].cost_known = true;
    be_segment_unlock(ledger->segment);
}

/* -- who gets in ------------------------------------------------------------------------------- */

static struct be_slot *
own_slot(const struct be_ledger *ledger)
{
    return &ledger->segment->slots[ledger->slot];
}

/* With the lock held: this process's tenant; NULL. */
static struct be_segment_tenant *
own_tenant(const struct be_ledger *ledger)
{
    uint32_t tenant = atomic_load(&own_slot(ledger)->tenant);

    return tenant != 0 ? &ledger->segment->tenants[tenant - 1] : NULL;
}

static unsigned
sessions_count(const struct be_segment *g, uint32_t tenant)
{
    unsigned count = 0;

    for (unsigned i = 0; i < g->slot_end; i++)
        count += atomic_load(&g->slots[i].tenant) == tenant + 1 && !atomic_load(&g->slots[i].looks);
    return count;
}

static enum gp_status
tenant_enter(struct be_ledger *ledger, uint32_t at, bool monitor, struct be_refusal *refusal)
{
    struct be_segment *g = ledger->segment;
    const struct be_policy *policy = &g->tenants[at].policy;
    unsigned sessions = sessions_count(g, at);

    if (!monitor && policy->sessions != 0 && sessions >= policy->sessions) {
        refusal->sessions = true;
        snprintf(refusal->reason, sizeof(refusal->reason),
                 "tenant %s has %u sessions, all that it may have at once", policy->name, sessions);
        snprintf(refusal->hint, sizeof(refusal->hint),
                 "come back when one of them has ended, or ask the pool's operator for more");
        return GP_ERR_LIMIT;
    }
    atomic_store(&own_slot(ledger)->looks, monitor);
    atomic_store(&own_slot(ledger)->tenant, at + 1);
    return GP_OK;
}

enum gp_status
be_ledger_admit(struct be_ledger *ledger, const struct be_applicant *who,
                struct be_refusal *refusal_p)
{
    enum gp_status status = GP_ERR_AUTH;
    struct be_segment *g;

    memset(refusal_p, 0, sizeof(*refusal_p));
    if (!be_ledger_governed(ledger))
        return GP_OK;
    g = ledger->segment;
    be_segment_lock(g);
    for (uint32_t i = 0; i < g->order_count && status == GP_ERR_AUTH; i++)
        if (be_policy_matches(&g->tenants[g->order[i]].policy, who))
            status = tenant_enter(ledger, g->order[i], who->monitor, refusal_p);
    be_segment_unlock(g);
    if (status == GP_ERR_AUTH) {
        snprintf(refusal_p->reason, sizeof(refusal_p->reason),
                 "%s%.180s belongs to no tenant of this server",
                 who->common_name[0] != '\0' ? "the certificate of " : "a client ",
                 who->common_name[0] != '\0' ? who->common_name : "without certificate");
        snprintf(refusal_p->hint, sizeof(refusal_p->hint),
                 "ask the pool's operator for a [tenant] whose match names it");
    }
    return status;
}

bool
be_ledger_policy(struct be_ledger *ledger, struct be_policy *policy_p)
{
    struct be_segment_tenant *tenant;

    if (ledger == NULL)
        return false;
    be_segment_lock(ledger->segment);
    tenant = own_tenant(ledger);
    if (tenant != NULL)
        *policy_p = tenant->policy;
    be_segment_unlock(ledger->segment);
    return tenant != NULL;
}

uint64_t
be_ledger_max_kernel_ns(struct be_ledger *ledger)
{
    struct be_segment_tenant *tenant;
    uint64_t ns;

    be_segment_lock(ledger->segment);
    tenant = own_tenant(ledger);
    ns = tenant != NULL ? tenant->policy.max_kernel_ns : 0;
    be_segment_unlock(ledger->segment);
    return ns;
}

uint64_t
be_ledger_max_hold_ns(struct be_ledger *ledger)
{
    struct be_policy policy = {.max_hold_ns = BE_HOLD_UNSET};

    (void)be_ledger_policy(ledger, &policy);
    if (policy.max_hold_ns != BE_HOLD_UNSET)
        return policy.max_hold_ns;
    return policy.max_kernel_ns != 0 ? 2 * policy.max_kernel_ns : BE_HOLD_DEFAULT;
}

void
be_ledger_idle(struct be_ledger *ledger, uint64_t *idle_ns_p, uint64_t *grace_ns_p)
{
    struct be_segment_tenant *tenant;

    *idle_ns_p = *grace_ns_p = 0;
    if (ledger == NULL)
        return;
    be_segment_lock(ledger->segment);
    tenant = own_tenant(ledger);
    if (tenant != NULL) {
        *idle_ns_p = tenant->policy.idle_ns;
        *grace_ns_p = tenant->policy.grace_ns;
    }
    be_segment_unlock(ledger->segment);
}

void
be_ledger_set_told(struct be_ledger *ledger, bool told)
{
    atomic_store(&own_slot(ledger)->told, told);
}

/* -- sums -------------------------------------------------------------------------------------- */

struct be_sums {
    uint64_t promised; /* lease + other */
    uint64_t held;     /* used + other */
    uint64_t idle;     /* lease - used */
};

static uint64_t
add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
sub_sat(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Of tenant (index + 1; 0: of all) on device, without one slot (BE_LEDGER_SLOTS: of all slots). */
static struct be_sums
sums_of(const struct be_segment *g, uint32_t tenant, unsigned device, unsigned without)
{
    struct be_sums sums = {0};

    for (unsigned i = 0; i < g->slot_end; i++) {
        const struct be_slot *slot = &g->slots[i];
        uint64_t lease, other, used;

        if (i == without || !atomic_load_explicit(&slot->taken, memory_order_relaxed) ||
            (tenant != 0 && atomic_load_explicit(&slot->tenant, memory_order_relaxed) != tenant))
            continue;
        lease = atomic_load_explicit(&slot->device[device].lease, memory_order_relaxed);
        other = atomic_load_explicit(&slot->device[device].other, memory_order_relaxed);
        used = atomic_load_explicit(&slot->device[device].used, memory_order_relaxed);
        sums.promised = add_sat(sums.promised, add_sat(lease, other));
        sums.held = add_sat(sums.held, add_sat(gp_min_u64(used, lease), other));
        sums.idle = add_sat(sums.idle, sub_sat(lease, used));
    }
    return sums;
}

static uint64_t
total_promised(const struct be_segment *g, uint32_t tenant)
{
    uint64_t sum = 0;

    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        if (g->devices[d].total_bytes != 0)
            sum = add_sat(sum, sums_of(g, tenant, d, BE_LEDGER_SLOTS).promised);
    return sum;
}

/* With the lock held: how much the tenant's quota leaves; the session's own for none. */
static uint64_t
quota_left(const struct be_ledger *ledger, unsigned device)
{
    const struct be_segment_tenant *tenant = own_tenant(ledger);
    uint32_t index = atomic_load(&own_slot(ledger)->tenant);
    uint64_t left = UINT64_MAX, promised;

    if (tenant == NULL)
        return atomic_load(&ledger->segment->governed) ? 0 : UINT64_MAX;
    if (tenant->gone)
        return 0;
    if (tenant->policy.memory_bytes != 0) {
        promised = sums_of(ledger->segment, index, device, BE_LEDGER_SLOTS).promised;
        left = sub_sat(tenant->policy.memory_bytes, promised);
    }
    if (tenant->policy.memory_total_bytes != 0)
        left = gp_min_u64(left, sub_sat(tenant->policy.memory_total_bytes,
                                        total_promised(ledger->segment, index)));
    return left;
}

/* With the lock held: how much of the device nobody was promised. */
static uint64_t
device_left(const struct be_segment *g, unsigned device, uint64_t reserve)
{
    uint64_t bytes = sub_sat(g->devices[device].total_bytes, reserve);

    if (!g->devices[device].shared || g->devices[device].total_bytes == 0)
        return UINT64_MAX;
    if (g->percent > 100)
        bytes = gp_min_u64(bytes, UINT64_MAX / 10000) * g->percent / 100;
    return sub_sat(bytes, sums_of(g, 0, device, BE_LEDGER_SLOTS).promised);
}

/* What has to be on a device so that each session can run there, each for itself. */
struct be_load {
    uint64_t there;   /* cannot leave: fixed and other */
    uint64_t high;    /* promised to the high class beside that */
    uint64_t largest; /* of the other sessions' promises beside that */
    uint64_t all;     /* of those */
};

static bool
is_high(const struct be_segment *g, unsigned slot)
{
    uint32_t tenant = atomic_load(&g->slots[slot].tenant);

    return tenant != 0 && g->tenants[tenant - 1].policy.priority == BE_PRIORITY_HIGH;
}

/* With the lock held, and as if slot own had so much fixed and promised beside. */
static struct be_load
load_of(const struct be_segment *g, unsigned device, unsigned own, uint64_t fixed, uint64_t lease)
{
    struct be_load load = {0};

    for (unsigned i = 0; i < g->slot_end; i++) {
        const struct be_slot_device *d = &g->slots[i].device[device];
        uint64_t stays = atomic_load(&d->fixed) + (i == own ? fixed : 0);
        uint64_t moves = sub_sat(add_sat(atomic_load(&d->lease), i == own ? lease : 0), stays);

        if (!atomic_load(&g->slots[i].taken))
            continue;
        load.there = add_sat(load.there, add_sat(stays, atomic_load(&d->other)));
        load.all = add_sat(load.all, moves);
        if (is_high(g, i))
            load.high = add_sat(load.high, moves);
        else
            load.largest = gp_max_u64(load.largest, moves);
    }
    return load;
}

static bool
load_fits(const struct be_segment *g, unsigned device, uint64_t reserve, const struct be_load *load)
{
    uint64_t bytes = sub_sat(g->devices[device].total_bytes, reserve);
    uint64_t here = add_sat(load->there, add_sat(load->high, load->largest));

    if (here > bytes)
        return false;
    if (g->arena_bytes == 0)
        return true;
    bytes =
        add_sat(bytes, add_sat(g->arena_bytes, atomic_load(&g->spill_bad) ? 0 : g->spill_bytes));
    return add_sat(load->all, load->there) <= bytes;
}

/* With the lock held: how much more this session may be promised so that all can still run. */
static uint64_t
paged_left(const struct be_ledger *ledger, unsigned device, uint64_t reserve, uint64_t bytes)
{
    const struct be_segment *g = ledger->segment;
    uint64_t least = 0, most = bytes;

    if (g->percent <= 100 || !g->devices[device].shared || g->devices[device].total_bytes == 0)
        return bytes;
    while (least < most) { /* the most that fits: more of it never makes it fit */
        uint64_t middle = most - (most - least) / 2;
        struct be_load load = load_of(g, device, ledger->slot, 0, middle);

        if (load_fits(g, device, reserve, &load))
            least = middle;
        else
            most = middle - 1;
    }
    return least;
}

static bool
other_fits(const struct be_segment *g, unsigned device, uint64_t bytes)
{
    struct be_load load = load_of(g, device, BE_LEDGER_SLOTS, 0, 0);

    load.there = add_sat(load.there, bytes);
    return g->percent <= 100 || !g->devices[device].shared || load_fits(g, device, 0, &load);
}

/* -- granting ---------------------------------------------------------------------------------- */

uint64_t
be_ledger_left(struct be_ledger *ledger, unsigned device)
{
    uint64_t left;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return UINT64_MAX;
    be_segment_lock(ledger->segment);
    left = gp_min_u64(quota_left(ledger, device), device_left(ledger->segment, device, 0));
    left = paged_left(ledger, device, 0, left);
    be_segment_unlock(ledger->segment);
    return left;
}

uint64_t
be_ledger_lease(struct be_ledger *ledger, unsigned device, uint64_t bytes, uint64_t granule,
                uint64_t free_bytes, uint64_t reserve)
{
    struct be_slot_device *own;
    struct be_segment *g;
    uint64_t idle, left;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return 0;
    g = ledger->segment;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(g);
    /* What the driver has free is promised in part already: to all, or on a device of our own to
     * us. */
    if (g->devices[device].shared)
        idle = sums_of(g, 0, device, BE_LEDGER_SLOTS).idle;
    else
        idle = sub_sat(atomic_load(&own->lease), atomic_load(&own->used));
    left = g->percent > 100 ? UINT64_MAX : sub_sat(sub_sat(free_bytes, reserve), idle);
    left = gp_min_u64(left, device_left(g, device, reserve));
    left = gp_min_u64(left, quota_left(ledger, device));
    left = gp_min_u64(left, bytes);
    left = gp_min_u64(left, UINT64_MAX - atomic_load(&own->lease));
    left = paged_left(ledger, device, reserve, left);
    left -= left % granule;
    atomic_store(&own->lease, atomic_load(&own->lease) + left);
    be_segment_unlock(g);
    return left;
}

void
be_ledger_lease_return(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_slot_device *own;
    uint64_t lease;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES || bytes == 0)
        return;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(ledger->segment);
    lease = atomic_load(&own->lease);
    atomic_store(&own->lease, sub_sat(lease, gp_min_u64(bytes, lease)));
    be_segment_unlock(ledger->segment);
    be_ledger_ring(ledger);
}

void
be_ledger_set_used(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    if (ledger != NULL && device < BE_LEDGER_DEVICES)
        atomic_store_explicit(&own_slot(ledger)->device[device].used, bytes, memory_order_relaxed);
}

void
be_ledger_set_away(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    if (ledger != NULL && device < BE_LEDGER_DEVICES)
        atomic_store_explicit(&own_slot(ledger)->device[device].away, bytes, memory_order_relaxed);
}

bool
be_ledger_fix(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    atomic_uint_least64_t *fixed;
    struct be_load load;
    bool fits;

    if (!be_ledger_paged(ledger) || device >= BE_LEDGER_DEVICES)
        return true;
    fixed = &own_slot(ledger)->device[device].fixed;
    be_segment_lock(ledger->segment);
    load = load_of(ledger->segment, device, ledger->slot, bytes, 0);
    fits = load_fits(ledger->segment, device, 0, &load);
    if (fits)
        atomic_store(fixed, add_sat(atomic_load(fixed), bytes));
    be_segment_unlock(ledger->segment);
    return fits;
}

void
be_ledger_unfix(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    atomic_uint_least64_t *fixed;

    if (!be_ledger_paged(ledger) || device >= BE_LEDGER_DEVICES)
        return;
    fixed = &own_slot(ledger)->device[device].fixed;
    be_segment_lock(ledger->segment);
    atomic_store(fixed, sub_sat(atomic_load(fixed), bytes));
    be_segment_unlock(ledger->segment);
}

bool
be_ledger_charge(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_slot_device *own;
    struct be_segment *g;
    bool granted;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return true;
    g = ledger->segment;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(g);
    granted = bytes <= quota_left(ledger, device) && bytes <= device_left(g, device, 0) &&
              other_fits(g, device, bytes) && bytes <= UINT64_MAX - atomic_load(&own->other);
    if (granted)
        atomic_store(&own->other, atomic_load(&own->other) + bytes);
    be_segment_unlock(g);
    return granted;
}

void
be_ledger_charge_anyway(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_slot_device *own;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(ledger->segment);
    atomic_store(&own->other, add_sat(atomic_load(&own->other), bytes));
    be_segment_unlock(ledger->segment);
}

void
be_ledger_uncharge(struct be_ledger *ledger, unsigned device, uint64_t bytes)
{
    struct be_slot_device *own;
    uint64_t other;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES || bytes == 0)
        return;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(ledger->segment);
    other = atomic_load(&own->other);
    atomic_store(&own->other, sub_sat(other, bytes));
    be_segment_unlock(ledger->segment);
    be_ledger_ring(ledger);
}

/* -- looking ----------------------------------------------------------------------------------- */

void
be_ledger_view(struct be_ledger *ledger, unsigned device, struct be_ledger_view *view_p)
{
    const struct be_segment_tenant *tenant;
    struct be_sums mine, all;
    struct be_segment *g;
    uint32_t index;

    memset(view_p, 0, sizeof(*view_p));
    view_p->quota_bytes = UINT64_MAX;
    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return;
    g = ledger->segment;
    be_segment_lock(g);
    index = atomic_load(&own_slot(ledger)->tenant);
    tenant = own_tenant(ledger);
    mine = all = sums_of(g, 0, device, BE_LEDGER_SLOTS);
    if (tenant != NULL) {
        mine = sums_of(g, index, device, BE_LEDGER_SLOTS);
        view_p->sessions = sessions_count(g, index - 1);
        if (tenant->policy.memory_bytes != 0)
            view_p->quota_bytes = tenant->policy.memory_bytes;
        if (tenant->policy.memory_total_bytes != 0)
            /* What other devices hold of the total is not there for this one. */
            view_p->quota_bytes =
                gp_min_u64(view_p->quota_bytes,
                           add_sat(mine.promised, sub_sat(tenant->policy.memory_total_bytes,
                                                          total_promised(g, index))));
    }
    view_p->held_bytes = mine.held;
    view_p->leased_bytes = mine.idle;
    view_p->own_bytes = atomic_load(&own_slot(ledger)->device[device].used) +
                        atomic_load(&own_slot(ledger)->device[device].other);
    view_p->others_used = sub_sat(all.held, mine.held);
    /* Where the quota is in the way the tenant's own sessions can help, else all. */
    if (quota_left(ledger, device) < device_left(g, device, 0))
        view_p->idle_leases = sums_of(g, index, device, ledger->slot).idle;
    else if (g->devices[device].shared)
        view_p->idle_leases = sums_of(g, 0, device, ledger->slot).idle;
    be_segment_unlock(g);
}

void
be_ledger_clip(struct be_ledger *ledger, unsigned device, uint64_t *total_bytes_p,
               uint64_t *free_bytes_p)
{
    struct be_ledger_view view;

    be_ledger_view(ledger, device, &view);
    if (be_ledger_paged(ledger) && device < BE_LEDGER_DEVICES) {
        /* What is free on the device now says nothing. */
        const struct be_slot_device *own = &own_slot(ledger)->device[device];
        uint64_t idle = sub_sat(atomic_load(&own->lease), atomic_load(&own->used));

        *free_bytes_p = gp_min_u64(add_sat(be_ledger_left(ledger, device), idle),
                                   sub_sat(*total_bytes_p, view.own_bytes));
    }
    if (view.quota_bytes == UINT64_MAX)
        return;
    *total_bytes_p = gp_min_u64(*total_bytes_p, view.quota_bytes);
    *free_bytes_p = gp_min_u64(*free_bytes_p, sub_sat(view.quota_bytes, view.held_bytes));
}

void
be_ledger_explain(struct be_ledger *ledger, unsigned device, char *text, size_t text_bytes)
{
    struct be_ledger_view view;
    struct be_policy policy;
    char quota[32], free_text[32], own[32], held[32];

    be_ledger_view(ledger, device, &view);
    text[0] = '\0';
    if (!be_ledger_policy(ledger, &policy))
        return;
    gp_format_bytes(view.own_bytes, own, sizeof(own));
    gp_format_bytes(view.held_bytes, held, sizeof(held));
    if (view.quota_bytes != UINT64_MAX && view.held_bytes + view.leased_bytes >= view.others_used) {
        gp_format_bytes(view.quota_bytes, quota, sizeof(quota));
        gp_format_bytes(sub_sat(view.quota_bytes, view.held_bytes), free_text, sizeof(free_text));
        snprintf(text, text_bytes,
                 "tenant %.39s may have %s on device %u and has %s (this session %s, %u sessions), "
                 "%s free; come back when one has ended, or free some",
                 policy.name, quota, device, held, own, view.sessions, free_text);
        return;
    }
    gp_format_bytes(view.others_used, free_text, sizeof(free_text));
    snprintf(text, text_bytes,
             "device %u is full: sessions of other tenants have %s, those of tenant %.39s %s; come "
             "back when one has ended",
             device, free_text, policy.name, held);
}

bool
be_ledger_tenant(struct be_ledger *ledger, unsigned index, struct be_tenant_state *state_p)
{
    struct be_segment *g = ledger->segment;
    bool known;

    if (index >= BE_TENANTS_MAX)
        return false;
    be_segment_lock(g);
    known = g->tenants[index].known;
    if (known) {
        state_p->policy = g->tenants[index].policy;
        state_p->gone = g->tenants[index].gone;
    }
    be_segment_unlock(g);
    return known;
}

uint64_t
be_ledger_others(struct be_ledger *ledger, unsigned device)
{
    uint64_t held;

    be_segment_lock(ledger->segment);
    held = sums_of(ledger->segment, 0, device, ledger->slot).held;
    be_segment_unlock(ledger->segment);
    return held;
}

uint64_t
be_ledger_promised(struct be_ledger *ledger, unsigned device)
{
    uint64_t promised;

    be_segment_lock(ledger->segment);
    promised = sums_of(ledger->segment, 0, device, BE_LEDGER_SLOTS).promised;
    be_segment_unlock(ledger->segment);
    return promised;
}

/* -- news -------------------------------------------------------------------------------------- */

void
be_ledger_want(struct be_ledger *ledger, unsigned device)
{
    struct be_segment *g;
    uint32_t whose = 0;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return;
    g = ledger->segment;
    be_segment_lock(g);
    if (quota_left(ledger, device) < device_left(g, device, 0))
        whose = atomic_load(&own_slot(ledger)->tenant);
    be_segment_unlock(g);
    atomic_fetch_add(&g->devices[device].wishes[whose], 1);
    be_ledger_ring(ledger);
}

uint64_t
be_ledger_wishes(struct be_ledger *ledger, unsigned device)
{
    struct be_segment *g = ledger->segment;
    uint32_t tenant = atomic_load(&own_slot(ledger)->tenant);
    uint64_t wishes = atomic_load(&g->devices[device].wishes[0]);

    return tenant != 0 ? wishes + atomic_load(&g->devices[device].wishes[tenant]) : wishes;
}

uint64_t
be_ledger_excess(struct be_ledger *ledger, unsigned device)
{
    const struct be_segment_tenant *tenant;
    const struct be_slot_device *own;
    uint64_t over = 0;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return 0;
    own = &own_slot(ledger)->device[device];
    be_segment_lock(ledger->segment);
    tenant = own_tenant(ledger);
    if (tenant != NULL) {
        uint32_t index = atomic_load(&own_slot(ledger)->tenant);

        if (tenant->gone)
            over = UINT64_MAX;
        else if (tenant->policy.memory_bytes != 0)
            over = sub_sat(sums_of(ledger->segment, index, device, BE_LEDGER_SLOTS).promised,
                           tenant->policy.memory_bytes);
        if (!tenant->gone && tenant->policy.memory_total_bytes != 0)
            over = gp_max_u64(over, sub_sat(total_promised(ledger->segment, index),
                                            tenant->policy.memory_total_bytes));
        over = gp_min_u64(over, sub_sat(atomic_load(&own->lease), atomic_load(&own->used)));
    }
    be_segment_unlock(ledger->segment);
    return over;
}

uint64_t
be_ledger_over(struct be_ledger *ledger, unsigned device)
{
    const struct be_segment_tenant *tenant;
    uint64_t over = 0;

    if (ledger == NULL || device >= BE_LEDGER_DEVICES)
        return 0;
    be_segment_lock(ledger->segment);
    tenant = own_tenant(ledger);
    if (tenant != NULL && tenant->policy.memory_bytes != 0 && !tenant->gone)
        over = sub_sat(sums_of(ledger->segment, atomic_load(&own_slot(ledger)->tenant), device,
                               BE_LEDGER_SLOTS)
                           .held,
                       tenant->policy.memory_bytes);
    over = gp_min_u64(over, atomic_load(&own_slot(ledger)->device[device].used));
    be_segment_unlock(ledger->segment);
    return over;
}

void
be_ledger_ring(struct be_ledger *ledger)
{
    if (ledger == NULL)
        return;
    be_word_ring(&ledger->segment->bell);
}

uint32_t
be_ledger_bell(const struct be_ledger *ledger)
{
    return atomic_load(&ledger->segment->bell);
}

void
be_ledger_await(struct be_ledger *ledger, uint32_t seen, uint64_t timeout_ns)
{
    be_word_await(&ledger->segment->bell, seen, gp_deadline_after(gp_now_ns(), timeout_ns));
}
