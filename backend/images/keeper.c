/* backend/images/keeper.c -- the keeper's own process, and its start */
#include "backend/images/keeper.h"

#include "backend/images/message.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define BE_EVENTS_MAX 64

/* -- the process ------------------------------------------------------------------------------- */

struct stores {
    struct be_store *of[BE_STORES]; /* NULL: nothing of the kind is kept */
};

static void
answer(struct be_store *store, int socket, struct be_image_message *message)
{
    GP_AUTO_CLOSE int fd = -1;
    enum gp_status status = GP_ERR_NOT_FOUND;

    if (store != NULL)
        status = message->word == BE_IMAGE_GET ? be_store_get(store, &message->name, &fd)
                                               : be_store_note_get(store, &message->name, &fd);
    message->word = status == GP_OK ? BE_IMAGE_HERE : BE_IMAGE_MISSING;
    if (be_image_send(socket, message, fd) != GP_OK)
        log_debug("images: a worker does not hear its answer");
}

static enum gp_status
take_in(struct be_store *store, const struct be_image_message *message, int fd)
{
    if (fd < 0)
        return GP_ERR_PROTOCOL;
    if (store == NULL)
        return GP_OK;
    return message->word == BE_IMAGE_PUT
               ? be_store_put(store, &message->name, fd, message->bytes)
               : be_store_note_put(store, &message->name, fd, message->bytes);
}

/* False when the worker is gone, or says what none of ours says. */
static bool
worker_hear(const struct stores *stores, int socket)
{
    struct be_image_message message;
    GP_AUTO_CLOSE int fd = -1;
    enum gp_status status = be_image_receive(socket, &message, &fd, MSG_DONTWAIT);
    struct be_store *store;

    if (status == GP_ERR_AGAIN)
        return true;
    if (status != GP_OK || message.kind >= BE_STORES)
        return false;
    store = stores->of[message.kind];
    switch (message.word) {
    case BE_IMAGE_GET:
    case BE_IMAGE_NOTE_GET:
        answer(store, socket, &message);
        return true;
    case BE_IMAGE_PUT:
    case BE_IMAGE_NOTE_PUT:
        return take_in(store, &message, fd) != GP_ERR_PROTOCOL;
    case BE_IMAGE_DROP:
        if (store != NULL)
            be_store_drop(store, &message.name);
        return true;
    default:
        return false;
    }
}

/* A worker's line from the supervisor; false when that is gone. */
static bool
supervisor_hear(int epoll, int control)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct be_image_message message;
    enum gp_status status;
    int fd = -1;

    status = be_image_receive(control, &message, &fd, MSG_DONTWAIT);
    if (status == GP_ERR_AGAIN)
        return true;
    if (status != GP_OK)
        return false;
    event.data.fd = fd;
    if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        close(fd);
    return true;
}

static int
keep(const struct stores *stores, int control)
{
    struct epoll_event events[BE_EVENTS_MAX] = {{.events = EPOLLIN, .data.fd = control}};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, control, &events[0]) != 0) {
        log_error("images: epoll: %m");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll, events, BE_EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd != control && !worker_hear(stores, fd))
                close(fd);
            if (fd == control && !supervisor_hear(epoll, control))
                return 0;
        }
    }
}

/* Of the supervisor's descriptors it has none but the log. */
static void
close_others(int control)
{
    if (control > 3)
        (void)close_range(3, (unsigned)control - 1, 0);
    (void)close_range((unsigned)control + 1, ~0u, 0);
}

/* What is kept in memory has a descriptor each. */
static void
descriptors_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int
keeper_main(const struct be_keeper_opts opts[BE_STORES], int control, pid_t parent)
{
    struct rlimit none = {0, 0};
    struct stores stores = {{NULL}};
    char name[48];
    int code = 0;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        return 125;
    close_others(control);
    descriptors_raise();
    (void)prctl(PR_SET_NAME, "gpupoold-images");
    snprintf(name, sizeof(name), "gpupoold-images[%d]", (int)getpid());
    gp_log_set_name(name);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C on a terminal: the supervisor decides */
    signal(SIGHUP, SIG_IGN);
    for (int i = 0; i < BE_STORES && code == 0; i++)
        if (opts[i].limit_bytes > 0 &&
            be_store_open(opts[i].dir, opts[i].limit_bytes, &stores.of[i]) != GP_OK)
            code = 1;
    if (code == 0)
        code = keep(&stores, control);
    for (int i = 0; i < BE_STORES; i++)
        be_store_close(stores.of[i]);
    return code;
}

/* -- the supervisor ---------------------------------------------------------------------------- */

void
be_keeper_start(const struct be_keeper_opts opts[BE_STORES], struct be_keeper *keeper)
{
    pid_t parent = getpid(), pid;
    bool any = false;
    int pair[2];

    *keeper = (struct be_keeper){.control = -1};
    for (int i = 0; i < BE_STORES; i++)
        any = any || opts[i].limit_bytes > 0;
    if (!any)
        return;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("images: socketpair: %m");
        return;
    }
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        _exit(keeper_main(opts, pair[1], parent));
    }
    close(pair[1]);
    if (pid < 0) {
        log_error("images: fork: %m");
        close(pair[0]);
        return;
    }
    keeper->pid = pid;
    keeper->control = pair[0];
}

int
be_keeper_line(struct be_keeper *keeper)
{
    const struct be_image_message message = {.word = BE_IMAGE_LINE};
    int pair[2];

    if (keeper->control < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    if (be_image_send(keeper->control, &message, pair[1]) != GP_OK) {
        log_warn("images: the keeper is gone: images are sent anew from now on");
        be_keeper_stop(keeper);
        close(pair[0]);
        pair[0] = -1;
    }
    close(pair[1]);
    return pair[0];
}

void
be_keeper_stop(struct be_keeper *keeper)
{
    if (keeper->control >= 0)
        close(keeper->control);
    keeper->control = -1;
    if (keeper->pid > 0) {
        (void)kill(keeper->pid, SIGKILL); /* files are whole or not there, at any moment */
        (void)waitpid(keeper->pid, NULL, 0);
    }
    keeper->pid = 0;
}
