/* frontend/cuda/ask.h -- a call that waits for its answer, in one line
 */
#ifndef FE_ASK_H
#define FE_ASK_H

#include "frontend/core/call.h"

/* Post the arguments of call NAME, which was entered, and wait; cr is the result, and the reply is
 * *bytes_p of *len_p until fe_leave(). */
#define FE_ASK_BYTES(cr, call, NAME, args, bytes_p, len_p)                                         \
    do {                                                                                           \
        void *ask_to_ = fe_post((call), wire_size_##NAME##_args(args));                            \
                                                                                                   \
        if (ask_to_ == NULL) {                                                                     \
            (cr) = fe_lost(call);                                                                  \
            break;                                                                                 \
        }                                                                                          \
        wire_put_##NAME##_args(ask_to_, (args));                                                   \
        fe_post_done(call);                                                                        \
        (cr) = fe_wait((call), (bytes_p), (len_p));                                                \
    } while (0)

/* The same with a reply that has fields; the variable ones are valid until fe_leave(). */
#define FE_ASK(cr, call, NAME, args, reply)                                                        \
    do {                                                                                           \
        const uint8_t *ask_bytes_ = NULL;                                                          \
        size_t ask_len_ = 0;                                                                       \
                                                                                                   \
        FE_ASK_BYTES(cr, call, NAME, args, &ask_bytes_, &ask_len_);                                \
        if ((cr) == CUDA_SUCCESS && !wire_get_##NAME##_reply(ask_bytes_, ask_len_, (reply)))       \
            (cr) = fe_malformed(call);                                                             \
    } while (0)

/* Without an answer. */
#define FE_TELL(cr, call, NAME, args)                                                              \
    do {                                                                                           \
        void *ask_to_ = fe_post((call), wire_size_##NAME##_args(args));                            \
                                                                                                   \
        (cr) = CUDA_SUCCESS;                                                                       \
        if (ask_to_ == NULL) {                                                                     \
            (cr) = fe_lost(call);                                                                  \
            break;                                                                                 \
        }                                                                                          \
        wire_put_##NAME##_args(ask_to_, (args));                                                   \
        fe_post_done(call);                                                                        \
    } while (0)

#endif
