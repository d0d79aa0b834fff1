/* backend/tenant/rooms.h -- whose memory is on each device, for all workers of a server
 *
 * The state of backend/sched/room.h in the ledger's memory, a robust mutex for each device around
 * it, and a word for each slot that its worker sleeps on. Without paging all of this does nothing,
 * and whatever is asked for is there.
 *
 * Threads: any, of any process. Locks: the device's (rank 62), held for no call out of here.
 */
#ifndef BE_ROOMS_H
#define BE_ROOMS_H

#include "backend/sched/room.h"
#include "backend/tenant/ledger.h"

/* This worker's session has memory on device from now on; keep_bytes of it are for nobody. */
void be_rooms_attach(struct be_ledger *ledger, unsigned device, uint64_t keep_bytes);
void be_rooms_detach(struct be_ledger *ledger, unsigned device);

/* As their namesakes of sched/room.h; who has to know is woken. */
bool be_rooms_grow(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_rooms_give(struct be_ledger *ledger, unsigned device, uint64_t bytes);
void be_rooms_fix(struct be_ledger *ledger, unsigned device, uint64_t fixed_bytes);

struct be_rooms_answer {
    uint64_t held_bytes;  /* what it may have on the device */
    uint64_t leave_bytes; /* ... and shall give, nevertheless */
    uint64_t until_ns;    /* ask again then at the latest */
};
bool be_rooms_enter(struct be_ledger *ledger, unsigned device, uint64_t need_bytes, bool there,
                    struct be_rooms_answer *answer_p);
void be_rooms_leave(struct be_ledger *ledger, unsigned device);
/* work is be_rooms_work() from before it was found idle. */
uint64_t be_rooms_look(struct be_ledger *ledger, unsigned device, uint64_t idle_ns, uint64_t work,
                       uint64_t *until_p);
void be_rooms_cannot(struct be_ledger *ledger, unsigned device);
bool be_rooms_jammed(struct be_ledger *ledger, unsigned device);
/* busy_ns: the end of this session's work is waited for since then, so that its memory can go; 0:
 * it is not. How long it has kept others waiting by that; *overdue_p: it has to be ended for it. */
uint64_t be_rooms_busy(struct be_ledger *ledger, unsigned device, uint64_t busy_ns,
                       uint64_t limit_ns, bool *overdue_p);
void be_rooms_moved(struct be_ledger *ledger, unsigned device, bool in, uint64_t bytes,
                    uint64_t ns);
/* True if somebody waits for room on the device. */
bool be_rooms_wanted(struct be_ledger *ledger, unsigned device);

/* The session begins to give devices work, and has done so; how often it began, when it ended. */
void be_rooms_work_begin(struct be_ledger *ledger);
void be_rooms_work_end(struct be_ledger *ledger);
uint64_t be_rooms_work(const struct be_ledger *ledger);
uint64_t be_rooms_worked_ns(const struct be_ledger *ledger);

/* Sleep until the word is no longer seen, or until a time; wake who sleeps in this worker. */
uint32_t be_rooms_word(const struct be_ledger *ledger);
void be_rooms_await(struct be_ledger *ledger, uint32_t seen, uint64_t until_ns);
void be_rooms_wake(struct be_ledger *ledger);

/* For the ledger. */
void be_rooms_slot_gone(struct be_ledger *ledger, unsigned slot);
void be_rooms_init(struct be_ledger *ledger);

#endif
