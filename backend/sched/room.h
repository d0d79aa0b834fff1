/* backend/sched/room.h -- whose memory is on one device, where not all of it fits: decisions only
 *
 * Members are sessions. A session's memory on a device is there as a whole when its work runs, for
 * a kernel may follow any pointer. Who lacks some waits in one queue; the first in it is given what
 * is free, as it becomes free, and others are asked to leave for the rest.
 *
 *   lazy      nobody leaves before somebody wants the room; so where all fits nobody ever does
 *   order     who waits himself goes first, then lower classes, then who has been idle for longest,
 *             then who came last: under turns, his next one is the furthest away
 *   quantum   who came in stays for a multiple of what the exchange took, unless he falls idle; a
 *             longer one where who waits works for long too, once he is there
 *   classes   the high class is never asked for the sake of a lower one; lower classes leave for
 *             higher ones at once
 *   stuck     who waits and cannot leave either, because what it has under way waits for what it
 *             would do next, is served before all others, so that it can go on
 *   keeping   who is waited for, because its work does not end, may keep others waiting for so long
 *             only as its tenant's policy says
 *
 * Pure: time comes in (nanoseconds, never going back); no locks, no pointers inside, so it may lie
 * in memory that processes share. A process may die between any two stores: be_room_detach() of
 * what it was is all the repair that is needed.
 */
#ifndef BE_ROOM_H
#define BE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#define BE_ROOM_MEMBERS 1024
#define BE_ROOM_NONE    UINT32_MAX

#define BE_ROOM_FACTOR   19             /* quantum: so many times the exchange: 5 % at most */
#define BE_ROOM_SHORT    9              /* ... for who does not work for half so long: 10 % */
#define BE_ROOM_LEAST_NS 20000000ull    /* ... at least */
#define BE_ROOM_MOST_NS  10000000000ull /* ... at most */
#define BE_ROOM_IDLE_NS  50000000ull    /* who does nothing for so long has no use of its room */
#define BE_ROOM_RETRY_NS 100000000ull   /* who could not leave is left alone for so long */
#define BE_ROOM_JAM_NS                                                                             \
    10000000000ull              /* all who have room are stuck for so long: it is for good         \
                                 */
#define BE_ROOM_GUESS_PS 100ull /* for a byte, before anything was measured */

struct be_room_member {
    bool there, waiting;
    bool asked;             /* it was woken, or looks by itself: it need not be woken */
    uint32_t class;         /* 0 goes first, and is never asked for others */
    uint64_t held_bytes;    /* on the device, or promised to it */
    uint64_t fixed_bytes;   /* of those: cannot leave */
    uint64_t need_bytes;    /* waiting: it wants to hold so many */
    uint64_t leave_bytes;   /* it is asked to give so many */
    uint64_t since_ns;      /* waiting since */
    uint64_t stuck_ns;      /* ... and cannot leave since; 0: it can, as far as is known */
    uint64_t came_ns;       /* complete since; 0: it is not */
    uint64_t brought_bytes; /* ... for which so many came in */
    uint64_t idle_ns;       /* its work was done then; 0: it works */
    uint64_t work;          /* the caller's: what it knew of its work when that was so */
    uint64_t not_before_ns; /* it could not leave */
    uint64_t busy_ns;       /* the end of its work is waited for since then; 0: it is not */
    uint64_t limit_ns; /* ... and it may keep others waiting by that for so long; 0: for ever */
    uint64_t moved_in_bytes; /* since it began to wait */
    uint64_t turn_ns;        /* it works for about so long when it is there; 0: not known */
};

struct be_room {
    uint64_t bytes; /* for all members; the caller's, may change */
    bool eager;     /* no quantum: everybody leaves at once for who asks; to compare with */
    uint32_t end;   /* no member from here on */
    /* Measured: picoseconds for a byte. */
    uint64_t in_ps, out_ps;
    uint64_t exchanges, in_bytes, out_bytes; /* since the beginning, to look at */
    struct be_room_member members[BE_ROOM_MEMBERS];
};

void be_room_attach(struct be_room *r, uint32_t member, uint32_t class);
/* Also for who died: what it held is free. */
void be_room_detach(struct be_room *r, uint32_t member);

/* A member that is complete takes more at once; false: there is no room, or others wait. */
bool be_room_grow(struct be_room *r, uint32_t member, uint64_t bytes, uint64_t now);
/* It holds less. */
void be_room_give(struct be_room *r, uint32_t member, uint64_t bytes);
/* So much of what it holds cannot leave. */
void be_room_fix(struct be_room *r, uint32_t member, uint64_t fixed_bytes);

/* Who has to be woken is marked here, a bit for each member. */
struct be_room_wake {
    uint64_t bits[BE_ROOM_MEMBERS / 64];
    bool any;
};

/*
 * member wants to hold need_bytes; there: all that it has is on the device already. True: it is,
 * holds that much, and stays for a while. Else it waits: be_room_member.held_bytes says what it may
 * bring in, *until_p when to ask again at the latest.
 */
bool be_room_enter(struct be_room *r, uint32_t member, uint64_t need_bytes, bool there,
                   uint64_t now, struct be_room_wake *wake, uint64_t *until_p);
/* It does not want any more what it waited for. */
void be_room_leave(struct be_room *r, uint32_t member);

/*
 * member looks whether it has to go: idle_ns is when its work was done, 0 while it works. The bytes
 * that it shall give now; *until_p is when to look again, UINT64_MAX: when it is woken.
 */
uint64_t be_room_look(struct be_room *r, uint32_t member, uint64_t idle_ns, uint64_t now,
                      struct be_room_wake *wake, uint64_t *until_p);
/* It tried, and its memory cannot leave now. */
void be_room_cannot(struct be_room *r, uint32_t member, uint64_t now);
/* True if nobody who waits will ever be served, because all who have room are stuck, and member got
 * stuck last: it has to do without what it waits for. */
bool be_room_jammed(const struct be_room *r, uint32_t member, uint64_t now);

/* So that it can leave the end of its work is waited for since then, 0: it is not; and it may keep
 * others waiting by that for limit_ns, 0: for ever. How long it has done so by now: 0 if nobody
 * waits whom its room would help. */
uint64_t be_room_busy(struct be_room *r, uint32_t member, uint64_t busy_ns, uint64_t limit_ns,
                      uint64_t now);
/* True if it is over its limit, what others will leave soon is not enough, and of those for whom
 * that is so member is the one that has kept others waiting for longest. */
bool be_room_overdue(const struct be_room *r, uint32_t member, uint64_t now);

/* So many bytes came in or went out in so long. */
void be_room_moved(struct be_room *r, uint32_t member, bool in, uint64_t bytes, uint64_t ns);
/* The first of those that wait; BE_ROOM_NONE. */
uint32_t be_room_first(const struct be_room *r);
/* Held by nobody. */
uint64_t be_room_free(const struct be_room *r);

#endif
