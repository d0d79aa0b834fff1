/* backend/cuda/direct.h -- bulk between the line and a device's memory, by the line's device alone
 *
 * GPUDirect: a lane over RDMA has a device that reads and writes memory of a GPU by itself, where
 * the driver, the kernel and that device agree on it: by a dma-buf, or by the address where a
 * module of the kernel's takes it for memory. Which of them do is tried with the memory that is to
 * be copied, at its first copy, and said in the log; where none does bytes go by way of pinned
 * memory.
 *
 * No stream knows of such a copy: it is made while nothing is left that would come before it, or
 * while a gate holds the stream. Memory that is unmapped or paged out is taken back from the line's
 * device first.
 *
 * Threads: the executor, but for what it hands to transport/.
 */
#ifndef BE_DIRECT_H
#define BE_DIRECT_H

#include "backend/driver/driver.h"
#include "transport/kept.h"
#include "transport/transport.h"

struct be_session;

/* Less is not worth the looks at it. */
#define BE_DIRECT_MIN (128u << 10)

/* Part of the session. */
struct be_direct {
    struct tp_device_memory memory; /* set once */
    _Atomic(CUcontext) context;     /* of the last copy; relaxed: any that is there will do */
    char said[BE_DRIVER_DEVICES_MAX][TP_WHY_BYTES]; /* of each device, last */
    uint64_t refused_until_ns;                      /* not tried before that */
    /* What has writes of other devices seen by a device's work. */
    enum be_direct_writes {
        BE_DIRECT_UNKNOWN,
        BE_DIRECT_SEEN,
        BE_DIRECT_FLUSHED, /* by a call of the driver's, behind them */
        BE_DIRECT_UNSEEN,  /* nothing has: none are made */
    } writes[BE_DRIVER_DEVICES_MAX];
};

void be_direct_init(struct be_session *session);
/* A copy of so many bytes may be one, if its memory is found ready. */
bool be_direct_wanted(const struct be_session *session, uint64_t bytes);
/* Memory that was checked, and is on its device, is told to the line's device: to be read by it, or
 * (in) written. The context is current. */
bool be_direct_ready(struct be_session *session, uint64_t address, uint64_t bytes, bool in);
/* What was written there is seen by all work that is queued from now on. */
CUresult be_direct_seal(struct be_session *session, uint64_t address);

#endif
