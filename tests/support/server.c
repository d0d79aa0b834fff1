/* tests/support/server.c */
#include "tests/support/server.h"

#include "protocol/base/clock.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 48

static void
exec_server(const char *const *args, int ready, int log)
{
    const char *driver = getenv("GPUPOOL_TEST_DRIVER"), *program = getenv("GPUPOOL_TEST_SERVER");
    const char *argv[ARGS_MAX];
    char driver_arg[512], ready_arg[32];
    bool listens = false;
    int n = 0;

    snprintf(driver_arg, sizeof(driver_arg), "--driver=%s", driver != NULL ? driver : "soft");
    snprintf(ready_arg, sizeof(ready_arg), "--ready-fd=%d", ready);
    argv[n++] = program;
    argv[n++] = driver_arg;
    argv[n++] = ready_arg;
    argv[n++] = "--exit-with-parent";
    for (; args != NULL && *args != NULL && n < ARGS_MAX - 2; args++) {
        listens = listens || strncmp(*args, "--listen", 8) == 0;
        argv[n++] = *args;
    }
    if (!listens)
        argv[n++] = "--listen=tcp://127.0.0.1:0";
    argv[n] = NULL;
    if (dup2(log, STDERR_FILENO) < 0 || fcntl(ready, F_SETFD, 0) != 0)
        _exit(127);
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

struct test_server
test_server_start(const char *const *args)
{
    struct test_server server = {.pid = -1};
    char text[512] = "";
    size_t len = 0;
    int ready[2];
    ssize_t n;

    cr_assert_not_null(getenv("GPUPOOL_TEST_SERVER"), "run by meson test");
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    server.log_fd = memfd_create("gpupoold-log", MFD_CLOEXEC);
    cr_assert_geq(server.log_fd, 0);
    cr_assert_eq(fcntl(server.log_fd, F_SETFL, O_APPEND), 0);
    server.pid = fork();
    if (server.pid == 0)
        exec_server(args, ready[1], server.log_fd);
    close(ready[1]);
    while (len < sizeof(text) - 1 && (n = read(ready[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    close(ready[0]);
    if (sscanf(text, "%127s %127s", server.url[0], server.url[1]) < 1) {
        char log[4096] = "";

        (void)!pread(server.log_fd, log, sizeof(log) - 1, 0);
        cr_assert_fail("the server did not get ready:\n%s", log);
    }
    return server;
}

/* The process that keeps images is a child too. */
static bool
is_worker(pid_t pid)
{
    char path[64], name[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return true; /* it was one */
    (void)!fgets(name, sizeof(name), file);
    fclose(file);
    return strncmp(name, "gpupoold-images", 15) != 0;
}

size_t
test_server_workers(const struct test_server *server, pid_t *pids, size_t max)
{
    char path[64], text[8192] = "", *at = text;
    size_t count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)server->pid, (int)server->pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    (void)!fgets(text, sizeof(text), file);
    fclose(file);
    while (count < max) {
        char *end;
        long pid = strtol(at, &end, 10);

        if (end == at)
            break;
        if (is_worker((pid_t)pid))
            pids[count++] = (pid_t)pid;
        at = end;
    }
    return count;
}

int
test_server_wait(struct test_server *server)
{
    int how = 0;

    while (waitpid(server->pid, &how, 0) < 0 && errno == EINTR)
        ;
    server->pid = -1;
    return how;
}

void
test_server_stop(struct test_server *server)
{
    pid_t workers[512];
    size_t count;
    int how;

    if (server->pid < 0)
        return;
    count = test_server_workers(server, workers, 512);
    kill(server->pid, SIGTERM);
    how = test_server_wait(server);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
        char log[8192] = "";

        (void)!pread(server->log_fd, log, sizeof(log) - 1, 0);
        cr_assert_fail("the server ended with status 0x%x:\n%s", how, log);
    }
    for (size_t i = 0; i < count; i++)
        cr_assert(kill(workers[i], 0) != 0, "worker %d is left", (int)workers[i]);
    if (test_server_logged(server, "Sanitizer") || test_server_logged(server, "runtime error")) {
        char log[16384] = "";

        (void)!pread(server->log_fd, log, sizeof(log) - 1, 0);
        cr_assert_fail("a sanitizer has found something:\n%s", log);
    }
    close(server->log_fd);
}

void
test_server_kill(struct test_server *server, int number)
{
    cr_assert_eq(kill(server->pid, number), 0);
}

unsigned
test_server_fds(const struct test_server *server)
{
    char path[64];
    unsigned count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)server->pid);
    dir = opendir(path);
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

long
test_server_rss_kib(const struct test_server *server)
{
    char path[64], line[256];
    long kib = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)server->pid);
    file = fopen(path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "VmRSS: %ld kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

bool
test_server_logged(const struct test_server *server, const char *text)
{
    struct stat st;
    bool found = false;
    char *log;

    if (fstat(server->log_fd, &st) != 0 || st.st_size == 0)
        return false;
    log = calloc(1, (size_t)st.st_size + 1);
    if (log != NULL && pread(server->log_fd, log, (size_t)st.st_size, 0) > 0)
        found = strstr(log, text) != NULL;
    free(log);
    return found;
}

void
test_server_await_gone(const struct test_server *server, pid_t worker)
{
    int fd = (int)syscall(SYS_pidfd_open, worker, 0);
    struct pollfd gone = {.fd = fd, .events = POLLIN};

    (void)server;
    if (fd < 0)
        return; /* gone and reaped */
    cr_assert_eq(poll(&gone, 1, 10000), 1, "worker %d is still there after 10 s", (int)worker);
    close(fd);
}

void
test_server_await_log(const struct test_server *server, const char *text)
{
    uint64_t until = gp_now_ns() + 10 * GP_NS_PER_S;

    while (!test_server_logged(server, text) && gp_now_ns() < until)
        usleep(1000); /* nothing announces a line in a log */
    cr_assert(test_server_logged(server, text), "not in the log: %s", text);
}

int
test_server_connect(const struct test_server *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_port = htons((uint16_t)atoi(strrchr(server->url[0], ':') + 1));
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}
