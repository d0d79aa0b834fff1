/* backend/sched/fair.h -- whose turn it is on one device: decisions only
 *
 * Workers are processes of their own, and a GPU does not run two processes at once: so one session
 * at a time holds the device's turn, and what its work takes is what it is charged. Members are
 * sessions, groups are tenants.
 *
 *   class    the highest class with something to run goes first; a lower one gets its floor
 *   shares   start-time-fair queueing in nanoseconds of the device, over groups, then over the
 *            members of one; who was idle brings no credit along, who only paused a little does,
 *            and what another's long work took beyond its share meanwhile is paid back
 *   force    a bucket of tokens that refills with the share and may go into debt
 *   slice    while others of its class wait, a turn ends after so much work
 *   scale    estimates of a member that are wrong by a factor are corrected by it
 *   window   work under way is bounded, and very short while a higher class may come
 *   stalled  work that has not begun, for its stream waits for something else than the device,
 * keeps nobody waiting for long; a turn that ends by it, or without an end in sight, is paid for by
 * the clock, so that who takes turns in vain has no more of them than its share hold     when a
 * higher class pauses, lower ones wait a moment before they begin; and long work of who had its
 * share does, when who had the turn and is owed more pauses
 *
 * Pure: time comes in as an argument (nanoseconds, never going back), estimates too; no locks, no
 * pointers inside, so it may lie in memory that processes share. A process may die between any two
 * stores: be_fair_detach() of what it was is all the repair that is needed.
 */
#ifndef BE_FAIR_H
#define BE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#define BE_FAIR_GROUPS  65 /* tenants, and one for who is none's */
#define BE_FAIR_MEMBERS 1024
#define BE_FAIR_NONE    UINT32_MAX
#define BE_FAIR_ALL     (UINT32_MAX - 1) /* wake all that wait: they have to look again */

#define BE_FAIR_SLICE_NS   4000000ull   /* a turn while others of the class wait */
#define BE_FAIR_WINDOW_NS  10000000ull  /* under way, at most */
#define BE_FAIR_ARM_NS     500000ull    /* the same while a higher class may come; adapts below */
#define BE_FAIR_ARM_MIN_NS 100000ull    /* ... down to this */
#define BE_FAIR_BURST_NS   100000000ull /* force: tokens of so much time may gather */
#define BE_FAIR_LAG_NS                                                                             \
    100000000ull /* who pauses for no longer keeps so much of what it is owed                      \
                  */
#define BE_FAIR_BREATH_NS     5000000ull /* who is owed more may draw breath for so long, or for */
#define BE_FAIR_BREATH_PART   4          /* such a part of what would run instead; adapts below */
#define BE_FAIR_BREATH_MIN_NS 100000ull  /* ... down to this, where it is in vain */
#define BE_FAIR_HOLD_MIN_NS   50000ull
#define BE_FAIR_HOLD_MAX_NS   300000ull
#define BE_FAIR_FLOOR_NS      20000000ull   /* so much of a floor may gather */
#define BE_FAIR_ACTIVE_NS     1000000000ull /* who did nothing for so long is not counted */
#define BE_FAIR_STUCK_NS      100000000ull  /* a turn without an end in sight, at least */
#define BE_FAIR_LONG_NS       2000000000ull /* ... whose work has begun, and is what takes long */
#define BE_FAIR_STALL_NS      20000000ull   /* ... of whose work nothing has begun */
#define BE_FAIR_STALL_HIGH_NS 1000000ull    /* ... while a higher class waits */

struct be_fair_rights {
    uint32_t share;    /* percent, 1 .. 100 */
    uint32_t floor;    /* percent, 0 .. 100 */
    uint32_t priority; /* 0 goes first */
    bool force;
    bool measured; /* also when nobody else is there */
};

struct be_fair_group {
    struct be_fair_rights rights;
    uint64_t vtime;        /* service / share */
    uint64_t member_vtime; /* where its members' race is */
    int64_t tokens_ns;     /* force */
    uint64_t refilled_ns;
    uint64_t floor_ns;       /* what it is owed of its floor */
    uint64_t floor_debt_ns;  /* had beyond it, in turns that it got by it */
    uint64_t floor_since_ns; /* waiting since; 0: it does not */
    uint64_t charged_ns;     /* when it was charged last */
    uint64_t service_ns;     /* charged so far */
};

struct be_fair_member {
    uint32_t group; /* index + 1; 0: not there */
    bool waiting;
    uint64_t vtime;
    uint64_t est_ns;                  /* of what it wants to run next */
    uint64_t since_ns;                /* waiting since */
    uint64_t active_ns;               /* did something last */
    uint64_t idle_ns;                 /* its work was done last; 0: it runs */
    uint64_t est_sum_ns, busy_sum_ns; /* lately: how right its estimates are */
    uint64_t ahead_ns;                /* paid for work that runs still */
};

struct be_fair {
    uint32_t holder; /* member + 1; 0: nobody */
    uint32_t only;   /* member + 1 of the only active one, who need not ask; 0: none */
    bool idle;       /* the holder has nothing under way */
    bool by_floor;   /* its class would not have the turn, its floor was due */
    uint32_t end;    /* no member from here on */
    uint64_t slice_used_ns, stuck_ns;
    uint64_t paid_ns;   /* the holder's time was charged up to here */
    uint64_t piece_ns;  /* the holder's last launch */
    uint64_t began_ns;  /* the device works since then on the oldest of it; 0: not known */
    uint64_t behind_ns; /* lower classes' work that was done while a higher one waited */
    uint64_t vtime;     /* where the race is: no group that wants to work is behind it */
    uint64_t leap;      /* so far beyond the others one piece of work took its group, lately */
    uint64_t hold_ns, gap_ns, arm_ns, breath_ns;
    struct be_fair_group groups[BE_FAIR_GROUPS];
    struct be_fair_member members[BE_FAIR_MEMBERS];
};

void be_fair_set_rights(struct be_fair *f, uint32_t group, const struct be_fair_rights *rights,
                        uint64_t now);
void be_fair_attach(struct be_fair *f, uint32_t member, uint32_t group, uint64_t now);
/* Also for who died: its turn is over. */
void be_fair_detach(struct be_fair *f, uint32_t member);

enum be_fair_verdict {
    BE_FAIR_FREE,  /* nobody else is here: run, nothing is counted */
    BE_FAIR_GO,    /* run it: it counts as under way */
    BE_FAIR_DRAIN, /* enough is under way: ask again when some of it is done, or at *until_p */
    BE_FAIR_WAIT,  /* it is not your turn: ask again when you are woken, or at *until_p */
};

/*
 * member wants to run something of about est_ns, has under_way_ns running or queued already.
 * *picked_p is another member that got the turn instead and must be woken, or BE_FAIR_NONE;
 * *until_p is when to ask again at the latest.
 */
enum be_fair_verdict be_fair_enter(struct be_fair *f, uint32_t member, uint64_t est_ns,
                                   uint64_t under_way_ns, uint64_t now, uint32_t *picked_p,
                                   uint64_t *until_p);
/* It does not want any more what it waited for. */
void be_fair_leave(struct be_fair *f, uint32_t member);
/* Nothing of member is under way any more; who is to be woken, BE_FAIR_NONE or _ALL. */
uint32_t be_fair_drained(struct be_fair *f, uint32_t member, uint64_t now);
/* The device works on what the holder gave it. */
void be_fair_begun(struct be_fair *f, uint32_t member, uint64_t now);
/* Nothing of what member has under way has begun since so long: true while it has the turn still.
 * *picked_p: as of be_fair_drained(). */
bool be_fair_stalled(struct be_fair *f, uint32_t member, uint64_t since_ns, uint64_t now,
                     uint32_t *picked_p);
/* The device worked so long for member, on what was thought to take est_ns. */
void be_fair_charge(struct be_fair *f, uint32_t member, uint64_t est_ns, uint64_t busy_ns,
                    uint64_t now);
/* The same beside work that is not done yet. in_turn: all that the device did since member was
 * charged last is in it; else it was done apart from turns, as copies to the host are. */
void be_fair_charge_beside(struct be_fair *f, uint32_t member, uint64_t busy_ns, bool in_turn,
                           uint64_t now);
/* How much member may have under way. */
uint64_t be_fair_window(const struct be_fair *f, uint32_t member);

#endif
