/* backend/driver/soft/dev/ipc_event.h -- events of several processes
 *
 * How often such an event was recorded and how far the records are done lies in memory that the
 * processes share. Numbers only grow, also when a place serves another event later.
 *
 * Threads: any.
 */
#ifndef SD_IPC_EVENT_H
#define SD_IPC_EVENT_H

#include "backend/driver/soft/dev/sched.h"

struct sd_shared_event {
    _Atomic uint64_t recorded;
    _Atomic uint64_t completed;
    uint64_t room[6]; /* 64 bytes: a line of its own */
};

/* NULL if there are too many, or without memory. */
struct sd_shared_event *sd_shared_event_new(void);
/* Only what _new gave; of another process's nothing is to be done. */
void sd_shared_event_free(struct sd_shared_event *shared);

/* One more record: its number. */
uint64_t sd_shared_event_record(struct sd_shared_event *shared);
/* Record number n is done. */
void sd_shared_event_complete(struct sd_shared_event *shared, uint64_t n);
bool sd_shared_event_done(struct sd_shared_event *shared);
/* Until all records up to now are done. */
void sd_shared_event_wait(struct sd_shared_event *shared);
/* Work that is done when all records up to now are; NULL without memory. */
struct sd_op *sd_shared_event_op(struct sd_shared_event *shared, struct CUctx_st *ctx);

#endif
