/* tests/unit/frontend/client.c -- a program of its own that uses the engine and ends in some way
 *
 *   client late   calls from an exit handler that runs after the library's
 *   client post   posts 500 calls and ends without waiting
 *   client fork   has a child that tries to use its session and ends with exit()
 *
 * Exit code 0 if all was as it must be.
 */
#include "frontend/core/call.h"

#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool late;

static void
call_after_the_end(void)
{
    struct fe_call call;

    if (!late)
        return;
    if (fe_enter(&call, WIRE_CALL_gpBarrier) != CUDA_ERROR_DEINITIALIZED)
        _exit(9);
    if (fe_start() != CUDA_ERROR_DEINITIALIZED)
        _exit(10);
}

/* Before the library registers its handler, so that this one runs after it. */
__attribute__((constructor(101))) static void
register_early(void)
{
    (void)atexit(call_after_the_end);
}

static CUresult
barrier(void)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpBarrier);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(&call, 0) == NULL)
        return fe_leave(&call, fe_lost(&call));
    fe_post_done(&call);
    return fe_leave(&call, fe_wait(&call, &bytes, &len));
}

static int
post(void)
{
    struct wire_gpHostDone_args args = {0};
    struct fe_call call;
    void *to;

    for (args.tag = 0; args.tag < 500; args.tag++) {
        if (fe_enter(&call, WIRE_CALL_gpHostDone) != CUDA_SUCCESS)
            return 2;
        to = fe_post(&call, wire_size_gpHostDone_args(&args));
        if (to == NULL)
            return 3;
        wire_put_gpHostDone_args(to, &args);
        fe_post_done(&call);
        if (fe_leave(&call, CUDA_SUCCESS) != CUDA_SUCCESS)
            return 4;
    }
    return 0;
}

static bool in_child;

#ifdef __SANITIZE_ADDRESS__
/* The leak checker of a forked child waits for an allocator lock that a thread of the parent may
 * have held at the fork: the child is not checked. */
GP_EXPORT int __lsan_is_turned_off(void);

int
__lsan_is_turned_off(void)
{
    return in_child;
}
#endif

static int
use_in_fork(void)
{
    int status;
    pid_t pid;

    if (barrier() != CUDA_SUCCESS)
        return 2;
    pid = fork();
    if (pid == 0) {
        in_child = true;
        if (fe_start() != CUDA_ERROR_NOT_INITIALIZED || barrier() != CUDA_ERROR_NOT_INITIALIZED)
            _exit(1);
        exit(0); /* with exit handlers: they must leave the parent's line alone */
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 3;
    return barrier() == CUDA_SUCCESS ? 0 : 4; /* the parent goes on */
}

int
main(int argc, char **argv)
{
    if (argc < 2 || fe_start() != CUDA_SUCCESS)
        return 1;
    late = strcmp(argv[1], "late") == 0;
    if (strcmp(argv[1], "post") == 0)
        return post();
    if (strcmp(argv[1], "fork") == 0)
        return use_in_fork();
    return 0;
}
