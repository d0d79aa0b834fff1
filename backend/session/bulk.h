/* backend/session/bulk.h -- frames that are too long to be taken whole
 *
 * A frame of one copy to the device is read block by block into pinned memory, from where the
 * device takes it while the next block is read. Every other long frame is read into memory of the
 * session's and fed whole.
 *
 * Threads: the executor.
 */
#ifndef BE_BULK_H
#define BE_BULK_H

#include "backend/session/session.h"
#include "protocol/wire/codec.h"
#include "wire_calls.h"

/* Longer frames are left to be_bulk_take(). */
#define BE_BULK_MIN (64u << 10)
/* What tells a copy: its record's header and the fixed part of its arguments. */
#define BE_BULK_HEAD_BYTES (sizeof(struct wire_record) + WIRE_HEAD_cuMemcpyHtoDAsync_v2_args)

/*
 * The payload of a CALLS frame, bytes long (more than BE_BULK_MIN), that is still to be received.
 * *why_p says in words what was wrong.
 *
 * Errors: GP_ERR_PROTOCOL: a malformed row. How the line ended the next receive says.
 */
GP_CHECK enum gp_status be_bulk_take(struct be_session *session, uint32_t bytes,
                                     const char **why_p);

/* True if a frame of so many bytes that begins with head is one copy and nothing else. */
bool be_bulk_is_copy(const uint8_t head[BE_BULK_HEAD_BYTES], uint32_t bytes,
                     struct wire_record *record_p, struct wire_cuMemcpyHtoDAsync_v2_args *args_p);

/* Count a record and have its context current; in session.c. */
CUresult be_record_enter(struct be_session *session, const struct wire_record *record,
                         struct be_call *call);

#endif
