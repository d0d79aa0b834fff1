/* backend/cuda/put_priv.h -- what put_in.c and put_out.c share */
#ifndef BE_PUT_PRIV_H
#define BE_PUT_PRIV_H

#include "backend/cuda/put.h"

#include <pthread.h>

struct be_put_token {
    uint64_t id; /* 0: a free place */
    uint8_t secret[WIRE_PUT_SECRET_BYTES];
    struct be_context *context;
    uint64_t stream, dst, bytes;
    uint64_t until_ns;
};

struct be_put_piece {
    struct be_put *put;
    const uint8_t *from;
    uint32_t bytes;
    struct be_put_piece *next;
};

/* One that comes. */
struct be_put {
    struct be_puts *puts;
    uint64_t id, stream;
    struct be_context *context;
    /* The executor's. */
    uint64_t dst, left;
    /* The line's thread's. */
    uint8_t *room; /* BE_PUT_DEPTH blocks */
    uint64_t filled;
    struct be_put_piece pieces[BE_PUT_DEPTH];

    /* Guarded by puts.lock. */
    struct be_put *next;
    unsigned queued; /* blocks that the executor has not copied */
    bool busy;       /* it, or the wait for the last copy, has this one in hand */
    bool over;
    CUresult result;
};

struct be_puts {
    /* Set once. */
    struct be_session *session;
    uint64_t session_id;
    struct be_put_lines *lines; /* NULL: no other server gets here, nor we there */

    pthread_mutex_t lock;   /* rank 36 */
    pthread_cond_t changed; /* a block was copied, a put is over, one that goes has gone */
    /* Guarded by lock. */
    struct be_put_token tokens[BE_PUT_TOKENS_MAX];
    struct be_put *puts; /* that come */
    struct be_put_piece *first, **tail;
    struct be_put_out *outs; /* that go, or wait for their turn */
    unsigned sending;
    bool closing;
};

/* Whether puts of this context go. */
bool be_puts_sending(struct be_puts *puts, const struct be_context *context);

#endif
