/* tests/unit/backend/test_sandbox.c -- what a worker can no longer do, and what it still can */
#include "backend/main/sandbox.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *
early_main(void *arg)
{
    int *pipes = arg;
    char byte;

    /* It was there before the filter: it is bound too. */
    if (read(pipes[0], &byte, 1) != 1)
        return NULL;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EACCES ? arg : NULL;
}

static void *
late_main(void *arg)
{
    return arg;
}

#define NEED(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "line %d: not so: %s (%m)\n", __LINE__, #cond);                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void
calls_main(void)
{
    pthread_t early, late;
    void *result = NULL;
    int pipes[2], pair[2];
    char *const args[] = {(char *)(uintptr_t) "/bin/true", NULL};

    NEED(pipe(pipes) == 0);
    NEED(pthread_create(&early, NULL, early_main, pipes) == 0);
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    NEED(be_sandbox_calls() == GP_OK);

    NEED(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EACCES);
    NEED(socket(AF_INET6, SOCK_DGRAM, 0) < 0 && errno == EACCES);
    NEED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 && errno == EPERM);
    NEED(execve(args[0], args, args + 1) < 0 && errno == EPERM);
    NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 && errno == EPERM);
    NEED(unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
    NEED(mount("none", "/tmp", "tmpfs", 0, NULL) < 0 && errno == EPERM);
    NEED(syscall(SYS_bpf, 0, NULL, 0) < 0 && errno == EPERM);
    NEED(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0) < 0 && errno == EPERM);

    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    NEED(memfd_create("x", 0) >= 0);
    NEED(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
         MAP_FAILED);
    NEED(open("/dev/null", O_RDWR) >= 0);
    NEED(pthread_create(&late, NULL, late_main, pipes) == 0);
    NEED(pthread_join(late, &result) == 0 && result == pipes);
    NEED(write(pipes[1], "x", 1) == 1);
    NEED(pthread_join(early, &result) == 0 && result == pipes);
    _exit(0);
}

static void
files_main(void)
{
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    be_sandbox_files();
    NEED(open("/etc/passwd", O_RDONLY) >= 0);
    NEED(open("/dev/null", O_RDWR) >= 0);
    NEED(open("/tmp/gpupool-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 && errno == EACCES);
    NEED(mkdir("/tmp/gpupool-sandbox-test", 0700) < 0 && errno == EACCES);
    NEED(unlink("/etc/gpupool-sandbox-test") < 0);
    _exit(0);
}

static int
in_child(void (*fn)(void))
{
    pid_t pid = fork();
    int how = -1;

    if (pid == 0)
        fn();
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    return how;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* a sanitizer's run time needs what is taken away */
#else
#define SANITIZED false
#endif

Test(sandbox, no_programs_no_processes_no_network)
{
    if (SANITIZED)
        cr_skip_test("not under a sanitizer");
    cr_assert_eq(in_child(calls_main), 0);
}

Test(sandbox, no_files_are_written)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1)
        cr_skip_test("this kernel has no Landlock");
    cr_assert_eq(in_child(files_main), 0);
}
