/* backend/tenant/ledger.h -- bytes: one account for all workers of a server, in shared memory
 *
 * The supervisor makes it and gives it to each worker with a slot of its own. A slot holds what its
 * session was promised and has of each device; sums over slots are made when they are needed and
 * never kept. So each change is one store into one slot: a worker that is killed between any two
 * instructions leaves true numbers, and its slot is emptied when the supervisor reaps it.
 *
 *   lease   promised to the client, which allocates inside it without asking
 *   used    the part of the lease that is allocated: memory is behind it, or will be (paging)
 *   fixed   the part of that which cannot be paged
 *   away    the part of it that is not on the device now; for operators only
 *   other   what is not allocated inside a lease: contexts, modules, arrays, pools, graphs
 *
 * Invariants: for each tenant and device, the sum of lease + other of its slots is at most the
 * quota whenever something is granted; the sum over all slots at most the device's memory, or the
 * paging factor times that. With paging, what is fixed or other, what the high class was promised
 * and the largest of the other sessions fit on the device together, so each session can run.
 *
 * Threads: any, of any of the processes. One robust mutex in the segment (rank 60, taken last;
 *          held for no call out of here); fields of a slot are atomic words that only the slot's
 *          worker grows. A NULL ledger has no limits.
 */
#ifndef BE_LEDGER_H
#define BE_LEDGER_H

#include "backend/tenant/policy.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BE_LEDGER_SLOTS   1024
#define BE_LEDGER_DEVICES 64
#define BE_EXPLAIN_BYTES  256
#define BE_TENANT_NONE    UINT32_MAX

struct be_ledger;

/* -- the segment ------------------------------------------------------------------------------- */

GP_CHECK enum gp_status be_ledger_create(struct be_ledger **ledger_p);
/* In a worker: fd is the one of be_ledger_fd(), slot its own. */
GP_CHECK enum gp_status be_ledger_attach(int fd, unsigned slot, struct be_ledger **ledger_p);
void be_ledger_close(struct be_ledger *ledger);
int be_ledger_fd(const struct be_ledger *ledger);

/* More may be promised than there is; sched/room.h then says whose memory is on the device. */
struct be_paging {
    uint32_t percent;     /* of a device's memory that may be promised; 100: nothing is paged */
    uint64_t arena_bytes; /* of the host's memory, for what does not fit; 0: as much as it takes */
    uint64_t spill_bytes; /* ... of the disk, beside; 0: none */
    bool eager;           /* sched/room.h; to compare with */
};
/* Before anybody else knows the ledger. */
void be_ledger_set_paging(struct be_ledger *ledger, const struct be_paging *paging);
bool be_ledger_paged(const struct be_ledger *ledger);
/* What there is of the host's memory and of the disk for paging, and of devices' memory packed. */
struct be_aside {
    uint64_t bytes, spilled_bytes, packed_bytes;
};
/* The worker tells what its session has. */
void be_ledger_set_host(struct be_ledger *ledger, const struct be_aside *host);
/* All sessions together. */
void be_ledger_aside(const struct be_ledger *ledger, struct be_aside *host_p);
/* All sessions together have more of the host's memory than they may; false without a limit. */
bool be_ledger_host_full(const struct be_ledger *ledger);
/* The disk may take bytes more. */
bool be_ledger_spill_left(const struct be_ledger *ledger, uint64_t bytes);
/* It could not be written, or it can again: who comes is let in without it. */
void be_ledger_set_spill_bad(struct be_ledger *ledger, bool bad);

/* -- the supervisor ---------------------------------------------------------------------------- */

/* A free slot; GP_ERR_LIMIT. */
GP_CHECK enum gp_status be_ledger_slot_take(struct be_ledger *ledger, unsigned *slot_p);
/* The slot's process is gone: everything it had returns. */
void be_ledger_slot_give(struct be_ledger *ledger, unsigned slot);
/* New policies. Tenants are known by name; sessions of one that is not among them any more go on
 * with what they have, and get nothing new. */
void be_ledger_publish(struct be_ledger *ledger, const struct be_policies *policies);

/* -- a worker ---------------------------------------------------------------------------------- */

/* True if there are tenants, so that who is none gets nothing. */
bool be_ledger_governed(struct be_ledger *ledger);
/* What a device has; shared: sessions share it, as they do but on software devices. */
void be_ledger_set_device(struct be_ledger *ledger, unsigned device, uint64_t total_bytes,
                          bool shared);
/* What a context costs there, measured once by who finds none (UINT64_MAX). */
uint64_t be_ledger_context_cost(struct be_ledger *ledger, unsigned device);
void be_ledger_set_context_cost(struct be_ledger *ledger, unsigned device, uint64_t bytes);

struct be_refusal {
    bool sessions; /* too many, else: nobody's */
    char reason[256], hint[256];
};

/* Make this worker's session one of the tenant that who belongs to. GP_ERR_AUTH: of none;
 * GP_ERR_LIMIT: it may have no more; *refusal_p says why. Without tenants everybody is welcome. */
GP_CHECK enum gp_status be_ledger_admit(struct be_ledger *ledger, const struct be_applicant *who,
                                        struct be_refusal *refusal_p);
/* The policy of this worker's tenant; false without one. */
bool be_ledger_policy(struct be_ledger *ledger, struct be_policy *policy_p);

/* Of this worker's tenant; 0: none. */
uint64_t be_ledger_max_kernel_ns(struct be_ledger *ledger);

/* For how long its session may keep others from memory because its work does not end; 0: for ever.
 */
uint64_t be_ledger_max_hold_ns(struct be_ledger *ledger);

/* Of this worker's tenant: after how long without work a session is told, and then ended; 0: never.
 */
void be_ledger_idle(struct be_ledger *ledger, uint64_t *idle_ns_p, uint64_t *grace_ns_p);
/* It was told, or works again. */
void be_ledger_set_told(struct be_ledger *ledger, bool told);

/* What may still be promised to this session, by quota and device; UINT64_MAX: anything. */
uint64_t be_ledger_left(struct be_ledger *ledger, unsigned device);
/*
 * Grow the lease by up to bytes, in whole multiples of granule: what is granted is charged. free is
 * what the driver has free now, reserve what shall stay so.
 */
uint64_t be_ledger_lease(struct be_ledger *ledger, unsigned device, uint64_t bytes,
                         uint64_t granule, uint64_t free_bytes, uint64_t reserve);
/* Give back what is not used. */
void be_ledger_lease_return(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_ledger_set_used(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_ledger_set_away(struct be_ledger *ledger, unsigned device, uint64_t bytes);
/* bytes more of what is used cannot be paged; false: others could not run any more. */
bool be_ledger_fix(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_ledger_unfix(struct be_ledger *ledger, unsigned device, uint64_t bytes);
/* All or nothing; false: over a limit. */
bool be_ledger_charge(struct be_ledger *ledger, unsigned device, uint64_t bytes);
/* It is there already: charge it, over a limit too. */
void be_ledger_charge_anyway(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_ledger_uncharge(struct be_ledger *ledger, unsigned device, uint64_t bytes);

struct be_ledger_view {
    uint64_t quota_bytes;  /* of the tenant, of this device; UINT64_MAX: none */
    uint64_t held_bytes;   /* by its sessions: used and other */
    uint64_t leased_bytes; /* promised to its sessions and not used */
    uint64_t own_bytes;    /* of held, this session's */
    uint64_t others_used;  /* by sessions of other tenants */
    uint64_t idle_leases;  /* promised to other sessions and not used, where it stands in our way */
    unsigned sessions;     /* of the tenant, this one too */
};
void be_ledger_view(struct be_ledger *ledger, unsigned device, struct be_ledger_view *view_p);
/* What a device has and has free, as the tenant may see it: no more than its quota. */
void be_ledger_clip(struct be_ledger *ledger, unsigned device, uint64_t *total_bytes_p,
                    uint64_t *free_bytes_p);
/* Used and other of all slots but this one. */
uint64_t be_ledger_others(struct be_ledger *ledger, unsigned device);
/* One line: who limits, how much is free, what to do. "" without a tenant. */
void be_ledger_explain(struct be_ledger *ledger, unsigned device, char *text, size_t text_bytes);

/* -- news -------------------------------------------------------------------------------------- */

/* Ask sessions for what they were promised and do not use: of the tenant if that is in the way,
 * else of all. */
void be_ledger_want(struct be_ledger *ledger, unsigned device);
/* Counts what concerns this session: wishes for its unused lease. Changes mean: give it back. */
uint64_t be_ledger_wishes(struct be_ledger *ledger, unsigned device);
/* Bytes that this session's unused lease stands over the quota, after a reload. */
uint64_t be_ledger_excess(struct be_ledger *ledger, unsigned device);
/* Bytes that this session has in use of what its tenant has over the quota by now. */
uint64_t be_ledger_over(struct be_ledger *ledger, unsigned device);

/* Something changed. */
void be_ledger_ring(struct be_ledger *ledger);
uint32_t be_ledger_bell(const struct be_ledger *ledger);
/* Until the bell is no longer seen, or for timeout_ns. */
void be_ledger_await(struct be_ledger *ledger, uint32_t seen, uint64_t timeout_ns);

/* -- the operator's view ----------------------------------------------------------------------- */

struct be_tenant_state {
    struct be_policy policy;
    bool gone; /* no longer configured */
};
/* False beyond the last one. */
bool be_ledger_tenant(struct be_ledger *ledger, unsigned index, struct be_tenant_state *state_p);
/* By work, not by questions. */
enum be_activity {
    BE_ACTIVITY_NONE,        /* no session there */
    BE_ACTIVITY_ACTIVE,      /* it worked within a second */
    BE_ACTIVITY_IDLE,        /* its room goes first when others want it */
    BE_ACTIVITY_COLD,        /* for two minutes */
    BE_ACTIVITY_RECLAIMABLE, /* it was told that it will be ended */
};
struct be_session_state {
    char tenant[BE_TENANT_NAME_BYTES];
    enum be_activity activity;
    uint64_t idle_ns; /* since its last work began or ended; 0: it never worked */
    uint64_t held_bytes[BE_LEDGER_DEVICES];
};
/* Of a slot; the activity is as of now_ns. */
void be_ledger_session(struct be_ledger *ledger, unsigned slot, uint64_t now_ns,
                       struct be_session_state *state_p);
const char *be_activity_name(enum be_activity activity);
/* Lease and other of all slots. */
uint64_t be_ledger_promised(struct be_ledger *ledger, unsigned device);

#endif
