/* tests/support/server.h -- the real gpupoold for a test, and nothing left of it afterwards
 *
 * Paths come from the environment that Meson sets: GPUPOOL_TEST_SERVER (the daemon) and
 * GPUPOOL_TEST_DRIVER (--driver; "soft" if unset).
 */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct test_server {
    pid_t pid;
    char url[2][128]; /* as the daemon told them, in the order of --listen */
    int log_fd;       /* what it wrote to standard error */
};

/* Start with the arguments up to NULL, beside --driver, --ready-fd and --exit-with-parent; one
 * --listen=tcp://127.0.0.1:0 if none is among them. Fails the test if it does not get ready. */
struct test_server test_server_start(const char *const *args);
/* SIGTERM; fails the test unless it drains and ends with 0, and leaves no process behind. */
void test_server_stop(struct test_server *server);
void test_server_kill(struct test_server *server, int number);
/* Wait for its end without telling it; the status of waitpid. */
int test_server_wait(struct test_server *server);

/* Children of the server: its workers. At most max pids; the count. */
size_t test_server_workers(const struct test_server *server, pid_t *pids, size_t max);
unsigned test_server_fds(const struct test_server *server);
long test_server_rss_kib(const struct test_server *server);
/* True if text is in the log by now. */
bool test_server_logged(const struct test_server *server, const char *text);
/* Wait until text is in the log; fails the test after 10 s. */
void test_server_await_log(const struct test_server *server, const char *text);
/* A plain TCP connection to the first URL; fails the test if there is none. */
int test_server_connect(const struct test_server *server);
/* Wait until there are count workers, or exactly none of pid; fails the test after 10 s. */
void test_server_await_gone(const struct test_server *server, pid_t worker);

#endif
