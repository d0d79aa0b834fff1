/* backend/supervisor/notify.c */
#include "backend/supervisor/notify.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/parse.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void
be_notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    GP_AUTO_CLOSE int fd = -1;
    char text[512];
    size_t length;
    va_list args;

    if (path == NULL || (path[0] != '/' && path[0] != '@'))
        return;
    length = strlen(path);
    if (length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') /* a name without a file */
        address.sun_path[0] = '\0';
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                         (const struct sockaddr *)(const void *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        log_debug("supervisor: the service manager does not hear: %m");
}

uint64_t
be_notify_watchdog(uint64_t now_ns)
{
    static uint64_t every_ns = GP_FOREVER, next_ns;
    static bool asked;

    if (!asked) {
        const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
        uint64_t number, mine;

        asked = true;
        if (us != NULL && gp_parse_u64(us, &number) == GP_OK && number > 0 &&
            (pid == NULL || (gp_parse_u64(pid, &mine) == GP_OK && mine == (uint64_t)getpid())))
            every_ns = number * GP_NS_PER_US / 3;
    }
    if (every_ns == GP_FOREVER)
        return GP_FOREVER;
    if (now_ns >= next_ns) {
        be_notify("WATCHDOG=1");
        next_ns = now_ns + every_ns;
    }
    return next_ns;
}
