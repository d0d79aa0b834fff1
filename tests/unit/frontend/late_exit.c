/* tests/unit/frontend/late_exit.c -- a program that still makes calls when the library has ended
 *
 * Its exit handler is registered before the library's, so it runs after it. Exit code 0 if each
 * late call was answered with DEINITIALIZED.
 */
#include "frontend/core/call.h"

#include <stdlib.h>
#include <unistd.h>

static void
call_after_the_end(void)
{
    struct fe_call call;

    if (fe_enter(&call, WIRE_CALL_gpBarrier) != CUDA_ERROR_DEINITIALIZED)
        _exit(9);
    if (fe_start() != CUDA_ERROR_DEINITIALIZED)
        _exit(10);
}

__attribute__((constructor(101))) static void
register_early(void)
{
    (void)atexit(call_after_the_end);
}

int
main(void)
{
    return fe_start() == CUDA_SUCCESS ? 0 : 1;
}
