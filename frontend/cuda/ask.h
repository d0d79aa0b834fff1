/* frontend/cuda/ask.h -- a call that waits for its answer, in one line
 */
#ifndef FE_ASK_H
#define FE_ASK_H

#include "frontend/core/call.h"

/* Post the arguments of call NAME, which was entered, wait, and read its reply; cr is the result.
 * The reply's variable fields are valid until fe_leave(). */
#define FE_ASK(cr, call, NAME, args, reply)                                                        \
    do {                                                                                           \
        void *ask_to_ = fe_post((call), wire_size_##NAME##_args(args));                            \
        const uint8_t *ask_bytes_;                                                                 \
        size_t ask_len_;                                                                           \
                                                                                                   \
        if (ask_to_ == NULL) {                                                                     \
            (cr) = fe_lost(call);                                                                  \
            break;                                                                                 \
        }                                                                                          \
        wire_put_##NAME##_args(ask_to_, (args));                                                   \
        fe_post_done(call);                                                                        \
        (cr) = fe_wait((call), &ask_bytes_, &ask_len_);                                            \
        if ((cr) == CUDA_SUCCESS && !wire_get_##NAME##_reply(ask_bytes_, ask_len_, (reply)))       \
            (cr) = fe_malformed(call);                                                             \
    } while (0)

/* The same without an answer. */
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
