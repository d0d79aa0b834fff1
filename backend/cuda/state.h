/* backend/cuda/state.h -- what a session owns, in CUDA's terms
 *
 * Threads: the executor owns everything that is not said otherwise.
 */
#ifndef BE_STATE_H
#define BE_STATE_H

#include "backend/cuda/call.h"
#include "backend/cuda/context.h"
#include "backend/cuda/direct.h"
#include "backend/cuda/handles.h"
#include "backend/cuda/pages.h"
#include "backend/cuda/promise.h"
#include "backend/cuda/quick.h"
#include "backend/cuda/tail.h"
#include "backend/cuda/waits.h"
#include "backend/driver/driver.h"
#include "backend/images/keeper.h"
#include "backend/memory/share.h"
#include "backend/memory/space.h"
#include "backend/metrics/board.h"
#include "protocol/base/buf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct be_agent;
struct be_trace;
struct be_pace;
struct be_stay;
struct be_puts;
struct be_line; /* backend/session: the way to the client */

#define BE_UPLOADS_MAX 64
#define BE_PENDING_MAX (256u << 10) /* a client that never reads shall not fill our memory */

struct be_upload {
    uint32_t id; /* 0: free */
    uint64_t total, have;
    size_t capacity;
    uint8_t *data; /* 8-byte aligned */
    bool offered;  /* by its hash */
    bool kept;     /* it came from there */
    uint8_t digest[BE_IMAGE_HASH_BYTES];
};

struct be_limits {
    uint64_t upload_bytes; /* of one image, and of all that wait */
    uint64_t put_ns;       /* a token for a copy from another server is good so long */
    uint32_t spin_us;      /* look for completion this long before a thread waits */
    bool straight;         /* bytes go from and to a device's memory that is the process's own */
    bool direct;           /* a line's device may read and write a device's memory (direct.h) */
};

/* Address range of a module's variable, which copies may name. */
struct be_global {
    uint64_t address, bytes;
    const void *owner;   /* module or library */
    const void *context; /* it is there while both are */
};

struct be_session {
    /* Set once. */
    const struct be_driver *driver;
    struct be_limits limits;
    struct be_line *line;
    struct be_space *space;
    struct be_ledger *ledger;         /* borrowed; NULL: no limits */
    struct be_board_row *row;         /* counters for the operator; borrowed; NULL: nobody counts */
    struct be_pace *pace;             /* NULL: takes no part in turns; made by the executor */
    struct be_stay *stay;             /* NULL: nothing is paged, nor work counted */
    struct be_puts *puts;             /* copies between servers */
    struct be_agent *agent;           /* backend/session: hears what other sessions want */
    uint64_t hidden;                  /* devices that the tenant may not use, a bit each */
    struct be_waits *waits;           /* for the device */
    struct be_waits *notices;         /* one thread, never waits for the device */
    char tenant[BE_SHARE_TENANT_MAX]; /* who may share with whom */

    /* The executor's. */
    struct be_quick quick;
    struct be_share *share; /* made when first needed */
    struct be_handles handles;
    struct be_context *current; /* on the executor thread */
    struct be_trace *trace;     /* NULL: nobody wants to know */
    uint32_t primary_refs[BE_DRIVER_DEVICES_MAX];
    struct be_upload uploads[BE_UPLOADS_MAX];
    bool upload_refused; /* and it was said */
    uint64_t link_bytes; /* that the driver may keep of what was given to links */
    uint32_t link_count;
    struct be_promises promises;
    struct be_direct direct;
    struct be_images images; /* where they are kept for later sessions */
    struct be_global *globals;
    size_t global_count, global_cap;
    struct be_pages pages;               /* managed and mapped memory */
    struct be_event_hold *holds;         /* events of the client that somebody waits for */
    uint64_t next_job;                   /* numbers copies in the sequence */
    struct gp_buf scratch, scratch_text; /* of the reply that is being made */
    uint8_t *frame;                      /* of a long frame: frame_bytes of room */
    uint32_t frame_bytes;
    struct be_wait *fresh, **fresh_tail; /* parked, not yet given to waiters */

    pthread_mutex_t jobs_lock; /* rank 30 */
    pthread_cond_t jobs_sent;
    /* Guarded by jobs_lock. */
    struct be_job_lane *job_lanes;
    unsigned bigs_copying;

    pthread_mutex_t callbacks_lock; /* rank 35 */
    pthread_cond_t callbacks_done;
    /* Guarded by callbacks_lock. */
    struct be_callback *callbacks;
    uint32_t next_callback;
    unsigned callbacks_waiting; /* streams that wait for the client */
    struct be_relay *relays;    /* so do these, at gates */
    bool closing;               /* nobody waits for the client any more */

    pthread_mutex_t graphs_lock; /* rank 37 */
    struct be_exec *execs;       /* guarded by graphs_lock */
    atomic_uint graph_execs;
    atomic_size_t graph_bytes; /* pinned memory of graphs' copies */

    pthread_mutex_t print_lock; /* rank 38 */
    struct be_tail printed;     /* guarded by print_lock, but for its fd: standard output */

    atomic_size_t staging_bytes;
    atomic_uint pending; /* waits and copies to the client that are not answered yet */

    atomic_bool broken; /* the client broke the protocol, or the line did */
};

/* Leave a wait to be tried by the executor soon, then to the waiters. */
void be_park(struct be_session *session, struct be_wait *wait);
/* Run what is done; true if some are left. */
bool be_parked_poll(struct be_session *session);
/* Give the rest to the waiters. */
void be_parked_hand_over(struct be_session *session);
/* What waits in this lane stays, but nothing comes behind it. */
void be_parked_forget_lane(struct be_session *session, const void *lane);

/* Executor: count one more that is answered later; false if they are too many. Any thread: it is.
 */
static inline bool
be_pending_take(struct be_session *session)
{
    if (atomic_load_explicit(&session->pending, memory_order_relaxed) >= BE_PENDING_MAX)
        return false;
    atomic_fetch_add_explicit(&session->pending, 1, memory_order_relaxed);
    return true;
}

static inline void
be_pending_put(struct be_session *session)
{
    atomic_fetch_sub_explicit(&session->pending, 1, memory_order_relaxed);
}

/* What is answered later, zeroed and counted; NULL: without memory, or they are too many. */
static inline void *
be_pending_new(struct be_session *session, size_t bytes)
{
    void *made;

    if (!be_pending_take(session))
        return NULL;
    made = calloc(1, bytes);
    if (made == NULL)
        be_pending_put(session);
    return made;
}

/* It is freed, and not counted any more. */
static inline void
be_pending_drop(struct be_session *session, void *made)
{
    free(made);
    be_pending_put(session);
}

/* Room for a reply's variable fields, empty, valid until the call is answered. */
static inline struct gp_buf *
be_scratch(struct be_session *session)
{
    gp_buf_reset(&session->scratch);
    return &session->scratch;
}

/* Make a context current on the executor; NULL: none. */
CUresult be_use_context(struct be_session *session, struct be_context *context);

/* INVALID_DEVICE unless the session may use this one. */
static inline CUresult
be_check_ordinal(const struct be_session *session, int32_t device)
{
    bool good = device >= 0 && device < session->driver->device_count &&
                (session->hidden >> device & 1) == 0;

    return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

/* INVALID_VALUE unless [address, address + bytes) is device memory of this session. */
CUresult be_check_device(struct be_session *session, uint64_t address, uint64_t bytes);
/* True where memory that was checked is the process's own and the software device's, and its copies
 * are neither counted nor paged: bytes may be read and written there. Executor. */
bool be_memory_near(struct be_session *session, uint64_t address, uint64_t bytes);
CUresult be_global_add(struct be_call *call, uint64_t address, uint64_t bytes, const void *owner);
/* With what goes: a module, a library or a context. */
void be_globals_drop(struct be_session *session, const void *gone);

#endif
