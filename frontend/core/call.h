/* frontend/core/call.h -- one driver call on its way to the server
 *
 * Used by the generated code and by frontend/cuda:
 *
 *   cr = fe_enter(&call, WIRE_CALL_x);          nothing to undo on error
 *   ... fe_handle_wire(), fe_handle_new() ...
 *   to = fe_post(&call, wire_size_x_args(&args));
 *   if (to == NULL) cr = fe_lost(&call);
 *   else { wire_put_x_args(to, &args); fe_post_done(&call); }
 *   if sync: cr = fe_wait(&call, &bytes, &len);  wire_get_x_reply(bytes, len, &reply)
 *   return fe_leave(&call, cr);
 *
 * Several posts between one fe_enter and fe_leave are allowed (change call.id with fe_call_next()).
 *
 * Every exported function that goes on the wire does the same: enter, translate, post,
 * perhaps wait, leave (see the generated fe_exports.c). Policy sits in fe_enter and
 * fe_leave: state of the library, fork, current context, deferred errors, counters, trace.
 *
 * Threads: any; a struct fe_call lives on its caller's stack. Between fe_post and
 *          fe_post_done the caller holds the submission lock: only fill in the bytes.
 */
#ifndef FE_CALL_H
#define FE_CALL_H

#include "frontend/core/object.h"
#include "frontend/core/session.h"
#include "frontend/core/thread.h"
#include "protocol/abi/cuda_types.h"
#include "protocol/wire/codec.h"
#include "wire_calls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct fe_slot;

struct fe_call {
    struct fe_session *session;
    struct fe_context *context; /* NULL for calls without one */
    struct fe_slot *slot;       /* where the reply arrives; set by fe_post for sync calls */
    uint32_t tag;
    uint16_t id;
    struct iovec lent; /* what the line was given of the program's memory, until that is settled */
    /* Of its trace, if there is one. */
    uint64_t begin_ns, bytes;
};

/*
 * Begin: NOT_INITIALIZED before cuInit and in a forked child, DEINITIALIZED while the
 * process ends, the session's error once the server is lost, NOT_SUPPORTED (named once in
 * the log) if the server lacks the call, INVALID_CONTEXT if it needs a current context and
 * there is none. Nothing is held on error.
 */
CUresult fe_enter(struct fe_call *call, enum wire_call id);
/* The same in a given context instead of the current one. */
CUresult fe_enter_in(struct fe_call *call, enum wire_call id, struct fe_context *context);
/* The same without a context, to one server; NULL: fe_session_get(). */
CUresult fe_enter_on(struct fe_call *call, enum wire_call id, struct fe_session *session);
/* An entered call, of which nothing was posted, is to be made in another context, which may be on
 * another server. Errors: as when it is entered. */
CUresult fe_call_move(struct fe_call *call, struct fe_context *context);

/* Go on with another call id under the same entry: CUDA_ERROR_NOT_SUPPORTED if the server lacks it.
 * The previous one must have been waited for if it was sync. */
CUresult fe_call_next(struct fe_call *call, enum wire_call id);

/* Wire id of a handle. NULL is id 0 if nullable; streams: NULL means the thread's default
 * stream (fe_default_stream), CU_STREAM_LEGACY and CU_STREAM_PER_THREAD are understood. */
CUresult fe_handle_wire(struct fe_call *call, enum wire_handle kind, const void *handle,
                        bool nullable, uint64_t *id_p);
/* Mint a handle and its id; fe_handle_drop undoes it if the call then fails. */
CUresult fe_handle_new(struct fe_call *call, enum wire_handle kind, void **handle_p,
                       uint64_t *id_p);
void fe_handle_drop(struct fe_call *call, void *handle);

/* Room for arg_bytes of arguments in the submission buffer, record header written, the
 * submission lock held; NULL (nothing held) if the session is lost. May wait for room. */
void *fe_post(struct fe_call *call, size_t arg_bytes);
void fe_post_done(struct fe_call *call);
/* fe_post_done() for a caller that waits right after it (fe_data_wait): wakes nobody. */
void fe_post_done_wait(struct fe_call *call);

/*
 * fe_post() for a call whose arguments end with bytes of the program's memory: the caller fills
 * only the head_bytes before them (WIRE_HEAD_NAME_args, wire_head_NAME_args()); tail and its
 * padding are the engine's. A small tail is copied at once; from a large one the line is fed
 * directly, before fe_post_done() returns. Either way the memory is the program's again then.
 */
void *fe_post_tail(struct fe_call *call, size_t head_bytes, const void *tail, size_t tail_bytes);
/* The same but that the memory must stay as it is until fe_settle(): so long what the server has
 * not acknowledged is not copied. */
void fe_post_done_lent(struct fe_call *call);
void fe_settle(struct fe_call *call, const void *tail, size_t tail_bytes);

/* Send what is queued and wait for the reply of a sync call: its own result. The reply's
 * bytes stay valid until fe_leave. */
CUresult fe_wait(struct fe_call *call, const uint8_t **reply_p, size_t *len_p);

CUresult fe_lost(struct fe_call *call);      /* the session's error */
CUresult fe_malformed(struct fe_call *call); /* ends the session; its error */
/* End: frees the reply, reports a deferred error where CUDA may report one. */
CUresult fe_leave(struct fe_call *call, CUresult cr);

/* A failure of something asynchronous that involved another server: a later call to this one that
 * may carry it reports it. What broke a context there breaks none here. */
void fe_call_defer(struct fe_session *session, CUresult cr);

/* CUDA_ERROR_NOT_SUPPORTED, naming the function once in the log. */
CUresult fe_refuse(const char *name);

/* What the engine asks of frontend/cuda; before fe_start(), borrowed for ever. */
struct fe_call_hooks {
    /* Wire id of the calling thread's CU_STREAM_PER_THREAD in call's context, made on first use
     * (may post, must not use call to do so). */
    CUresult (*per_thread_stream)(struct fe_call *call, uint64_t *id_p);
};
void fe_call_set_hooks(const struct fe_call_hooks *hooks);

/* What a NULL stream means in this thread now; the _ptsz and _ptds entry points swap it. */
static inline CUstream
fe_default_stream(void)
{
    return fe_thread.default_stream;
}

static inline CUstream
fe_default_stream_swap(CUstream stream)
{
    CUstream before = fe_thread.default_stream;

    fe_thread.default_stream = stream;
    return before;
}

#endif
