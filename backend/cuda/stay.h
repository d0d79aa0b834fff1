/* backend/cuda/stay.h -- a session's work waits until its memory is on the device
 *
 * With paging, a session's memory may be in the host's (memory/swap.h). Before a call that may
 * touch device memory the executor passes a gate: one flag of its own and one look at a word. The
 * gate is closed while memory is missing, or is wanted by others; then the executor reads nothing
 * more, and a thread, the pager, does what is to be done:
 *
 *   in    asks for room (tenant/rooms.h), brings in what there is room for, opens the gate
 *   look  tells whether the session works, as long as others wait for room
 *   out   closes the gate, waits until the executor is in no call and all contexts have nothing to
 *         do, and lets go what is asked for
 *
 * A stream may wait for something that only a later call brings (a host function's answer, a value
 * in memory). So who is stopped and finds that nothing comes of it is let through for a while, and
 * the pager tries again. Who waits for memory itself and cannot give what it holds to others, for
 * the same reason, is served before them (sched/room.h). Where that is so of all sessions, whoever
 * it happened to last has its calls refused.
 *
 * Threads: _attach, _forget, _enter, _leave, _room: the executor. Lock: stay.lock (rank 8), not
 *          held over calls that wait.
 */
#ifndef BE_STAY_H
#define BE_STAY_H

#include "backend/cuda/state.h"

/* Does nothing without tenants and without paging, and without paging only counts work.
 * evict_every: everything leaves after so many rows of calls, to see that nothing is lost; 0:
 * never. Errors are logged. */
GP_CHECK enum gp_status be_stay_start(struct be_session *session, unsigned evict_every);
/* Before the session's contexts end; nobody waits for the client any more. */
void be_stay_stop(struct be_session *session);

/* A context is there; it is about to go, and nothing of it runs. False: without memory. */
bool be_stay_attach(struct be_session *session, const struct be_context *context);
void be_stay_forget(struct be_session *session, const struct be_context *context);

enum be_stay_verdict {
    BE_STAY_GO,
    BE_STAY_GONE,    /* the client is: do not run it */
    BE_STAY_REFUSED, /* there will be no room for it (logged): CUDA_ERROR_OUT_OF_MEMORY */
};

/* Wait until this call's memory is there. */
enum be_stay_verdict be_stay_enter(struct be_session *session, uint16_t call, const uint8_t *body,
                                   size_t len);
/* While such a call waits for its turn: others want the memory, and it has to be entered again. */
bool be_stay_asked(struct be_session *session);
/* No more calls are here for now. */
void be_stay_leave(struct be_session *session);
/* The agent: when the session's last work was done, 0 while some is under way. *work_p counts work
 * (be_rooms_work()). */
uint64_t be_stay_idle(struct be_session *session, uint64_t *work_p);
/* Any thread: since when the session's memory cannot go because what it has under way does not end,
 * 0: that is not so; *call_p: because a call does not end. */
uint64_t be_stay_busy(const struct be_session *session, bool *call_p);
/* Any thread: since when the session waits for memory of its own, 0: it does not. */
uint64_t be_stay_lacks(const struct be_session *session);
/* Memory was allocated: perhaps there was no room for it. */
void be_stay_grown(struct be_session *session);
/* Wait for room for bytes that cannot be paged, beside all that the session has; false: the client
 * is gone, or there will be none. */
bool be_stay_room(struct be_session *session, int32_t device, uint64_t bytes);

#endif
