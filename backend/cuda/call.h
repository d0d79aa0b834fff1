/* backend/cuda/call.h -- one call of the client on its way to the driver
 *
 * The generated dispatch and the hooks of backend/cuda use this. The functions that talk to the
 * client (replies, notices, data) are implemented above, in backend/session.
 *
 * Threads: hooks run on the session's executor thread only, one after the other, in the client's
 *          order. Functions marked "any thread" may also be called by waiters.
 */
#ifndef BE_CALL_H
#define BE_CALL_H

#include "be_driver_table.h"
#include "wire_calls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct be_session;
struct be_context;
struct wire_data;

/* A hook's result: the answer comes later, from a waiter. */
#define BE_PARKED ((CUresult)-1)

struct be_call {
    struct be_session *session;
    const struct be_driver_table *driver;
    struct be_context *context; /* current; NULL for calls without one */
    uint32_t tag;               /* 0: no reply is owed */
    uint16_t id;                /* enum wire_call */
};

/* The object behind a wire id; NULL is id 0 where nullable. INVALID_HANDLE for what is unknown,
 * stale, or not there because its creation failed. */
CUresult be_handle_get(struct be_session *session, enum wire_handle kind, uint64_t id,
                       bool nullable, void *object_p);
/* Give an object the id that the client minted; the object is destroyed if that fails. */
CUresult be_handle_bind(struct be_session *session, enum wire_handle kind, uint64_t id,
                        void *object);
/* Forget the id and return its object. */
CUresult be_handle_take(struct be_session *session, enum wire_handle kind, uint64_t id,
                        void *object_p);
/* green.c: a green context of the record's context, as the driver's graph nodes name it. */
CUresult be_green_as_context(struct be_call *call, uint64_t id, CUcontext *handle_p);

/* Any thread. Room for a reply's fields, NULL if the line is gone; end follows begin at once and
 * on the same thread. The deferred error rides along. */
uint8_t *be_reply_begin(const struct be_call *call, CUresult cr, size_t bytes);
void be_reply_end(const struct be_call *call);
/* A reply without fields. */
void be_reply_plain(const struct be_call *call, CUresult cr);

/* Any thread. Keep the first failure of a call that has no reply. */
void be_defer(const struct be_call *call, CUresult cr);
/* The result of a call without reply that ended an object: what befell its context before is for
 * the context's own calls to say, and must not show in a reply to another one's. */
CUresult be_ended(CUresult cr);
/* A context is gone, and with it its sticky error: it must not show in a later reply. */
void be_defer_forget_sticky(struct be_session *session);
/* The client broke the protocol: the session ends. */
void be_malformed(const struct be_call *call);

/* Any thread. A notice's arguments, as be_reply_begin(). */
uint8_t *be_notice_begin(struct be_session *session, uint16_t id, uint32_t tag, size_t bytes);
void be_notice_end(struct be_session *session);
/* A notice NAME with these arguments; of a session that is over, nothing. */
#define BE_NOTICE(session, NAME, tag, args)                                                        \
    do {                                                                                           \
        uint8_t *notice_to_ =                                                                      \
            be_notice_begin((session), WIRE_CALL_##NAME, (tag), wire_size_##NAME##_args(args));    \
                                                                                                   \
        if (notice_to_ != NULL) {                                                                  \
            wire_put_##NAME##_args(notice_to_, (args));                                            \
            be_notice_end(session);                                                                \
        }                                                                                          \
    } while (0)

/* Any thread. One DATA frame; payload is read until the call returns. False if the line is gone. */
bool be_data_send(struct be_session *session, uint32_t data, const struct wire_data *head,
                  const void *payload, size_t bytes);
/* The same, but payload must stay as it is until be_data_settle(): so long what the client has not
 * acknowledged is not copied. Settled in any case. */
bool be_data_send_lent(struct be_session *session, uint32_t data, const struct wire_data *head,
                       const void *payload, size_t bytes);
/* Whether lent bytes are needed until they are acknowledged, as far as is known now. */
bool be_data_kept(struct be_session *session);
/* The same, but its bytes are written by fill to where the client reads them. Only where
 * be_data_fills(), and no more at a time than be_data_most(). */
struct tp_fill;
bool be_data_fill(struct be_session *session, uint32_t data, const struct wire_data *head,
                  const struct tp_fill *fill);
bool be_data_fills(const struct be_session *session);
/* Whether the line's device takes memory of a device (tp_takes_device()). */
bool be_data_takes(struct be_session *session, const void *at, size_t bytes, char *why);
/* The same from a device's memory (tp_send_direct()). */
struct tp_direct;
bool be_data_send_direct(struct be_session *session, uint32_t data, const struct wire_data *head,
                         const struct tp_direct *direct);
/* False where the line takes from, and brings to, memory that it has been told of. */
bool be_data_plain(const struct be_session *session);
size_t be_data_most(const struct be_session *session);
void be_data_settle(struct be_session *session, const void *payload, size_t bytes);

/* Any thread. End the session, with a reason for its user: what runs for it may run for ever. */
void be_client_end(struct be_session *session, CUresult cr, const char *why);
/* Any thread. Tell its program's user, on standard error and by the hook command. */
void be_client_tell(struct be_session *session, const char *text);
/* Executor, now and then while it waits: false, the client hung up. Tells it every 5 s that we are
 * alive; *beat_ns_p is when that was last, at first when the wait began. */
bool be_client_look(struct be_session *session, uint64_t *beat_ns_p);

/* Any thread. Something is there for the executor beside the client's frames (put.h). */
void be_executor_wake(struct be_session *session);

/* Any thread. Send what is gathered; the executor does it after each frame by itself. */
void be_flush(struct be_session *session);

#endif
