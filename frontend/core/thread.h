/* frontend/core/thread.h -- what each thread of the program has
 *
 * A few words in the library's static thread storage: read with one instruction, nothing runs at a
 * thread's end.
 */
#ifndef FE_THREAD_H
#define FE_THREAD_H

#include "protocol/abi/cuda_types.h"

struct fe_context;
struct fe_green;

struct fe_thread {
    struct fe_context *context; /* current; an object that may be destroyed meanwhile */
    struct fe_green *green;     /* what context is current as, or NULL; may be destroyed too */
    CUstream default_stream;    /* what a NULL stream means now; NULL: the legacy stream */
    void *cuda;                 /* frontend/cuda's own, such as the rest of the context stack */
};

extern __thread struct fe_thread fe_thread __attribute__((tls_model("initial-exec")));

#endif
