/* backend/cuda/promise.h -- libraries that a program loads each time, without a round trip
 *
 * What loading a library gives, its table of kernels, follows from its bytes, the driver and the
 * devices. A session notes what its program loaded; the next one of the same tenant and program
 * tells its client at the beginning what these loads would give, and holds on to the bytes. The
 * client then takes such a library by its hash (gpLibraryAdopt) and goes on at once. What was
 * promised and does not come true ends the session.
 *
 * Threads: the executor.
 */
#ifndef BE_PROMISE_H
#define BE_PROMISE_H

#include "backend/images/keeper.h"
#include "protocol/base/buf.h"

#include <stdbool.h>

#define BE_PROMISES_MAX      32u
#define BE_PROMISE_TABLE_MAX 65536u

struct be_session;

struct be_promise {
    uint8_t digest[BE_IMAGE_HASH_BYTES];
    uint8_t table[BE_IMAGE_HASH_BYTES]; /* its hash */
    uint64_t bytes;
    int fd;
};

struct be_promises {
    bool wanted;                             /* the client understands them */
    uint8_t note[BE_IMAGE_HASH_BYTES];       /* its name */
    struct be_promise list[BE_PROMISES_MAX]; /* told and not taken */
    unsigned count;
    struct gp_buf learned; /* the note for the next session */
    unsigned learned_count;
};

/* At the opening: whose promises these are. Errors mean that there are none. */
void be_promises_open(struct be_session *session, const char *program);
/* After the opening: tell the client. */
void be_promises_tell(struct be_session *session);
/* Take what was promised, its descriptor with it; false if it was not. */
bool be_promises_take(struct be_session *session, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                      uint64_t bytes, struct be_promise *promise_p);
/* True if the table is the one that was promised. */
bool be_promise_kept(const struct be_promise *promise, const void *table, size_t table_len);
/* A library was loaded; its image is kept. */
void be_promises_learn(struct be_session *session, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                       uint64_t bytes, const void *table, size_t table_len);
/* At the end: leave the note. */
void be_promises_close(struct be_session *session);

#endif
