/* backend/supervisor/pending.c */
#include "backend/supervisor/pending.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/preface.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct be_pending_entry {
    struct be_pending_entry *prev, *next;
    int fd;
    const char *scheme;
    bool further_only;
    uint64_t until_ns;
};

enum gp_status
be_pending_open(struct be_pending *pending, unsigned most, uint64_t patience_ns)
{
    *pending = (struct be_pending){.most = most, .patience_ns = patience_ns};
    pending->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (pending->epoll_fd >= 0)
        return GP_OK;
    log_error("supervisor: epoll: %m");
    return GP_ERR_LIMIT;
}

/* Out of the set, with its descriptor still open. */
static void
entry_unlink(struct be_pending *pending, struct be_pending_entry *entry)
{
    (void)epoll_ctl(pending->epoll_fd, EPOLL_CTL_DEL, entry->fd, NULL);
    if (entry->prev != NULL)
        entry->prev->next = entry->next;
    else
        pending->first = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
    else
        pending->last = entry->prev;
    pending->count--;
}

static void
entry_drop(struct be_pending *pending, struct be_pending_entry *entry)
{
    entry_unlink(pending, entry);
    close(entry->fd);
    free(entry);
}

void
be_pending_close(struct be_pending *pending)
{
    while (pending->first != NULL)
        entry_drop(pending, pending->first);
    if (pending->epoll_fd >= 0)
        close(pending->epoll_fd);
    pending->epoll_fd = -1;
}

/* Close it, and count it: it is over or takes too long, and did not begin as clients do. */
static void
entry_refuse(struct be_pending *pending, struct be_pending_entry *entry)
{
    char byte;

    if (recv(entry->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        pending->odd++;
    else if (entry->until_ns <= gp_now_ns())
        pending->silent++;
    entry_drop(pending, entry);
}

static void
receive_from(int fd, int bytes)
{
    /* Where it fails somebody is looked at too early, and found incomplete. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

void
be_pending_add(struct be_pending *pending, int fd, const char *scheme, bool further_only,
               uint64_t now_ns)
{
    struct be_pending_entry *entry = calloc(1, sizeof(*entry));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = entry};

    if (entry == NULL || (pending->count >= pending->most && pending->first == NULL)) {
        free(entry);
        close(fd);
        return;
    }
    if (pending->count >= pending->most) {
        entry_drop(pending, pending->first);
        pending->dropped++;
    }
    receive_from(fd, WIRE_PREFACE_BYTES); /* what each beginning has at least */
    entry->fd = fd;
    entry->scheme = scheme;
    entry->further_only = further_only;
    entry->until_ns = gp_deadline_after(now_ns, pending->patience_ns);
    if (epoll_ctl(pending->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        log_error("supervisor: epoll: %m");
        close(fd);
        free(entry);
        return;
    }
    entry->prev = pending->last;
    if (pending->last != NULL)
        pending->last->next = entry;
    else
        pending->first = entry;
    pending->last = entry;
    pending->count++;
}

/* What it is, from its first bytes; anything but GP_OK: nobody to serve. ended: it says no more,
 * and with less than any beginning it is not worth a worker. */
static enum gp_status
look(int fd, bool ended, uint64_t *session_id_p)
{
    uint8_t bytes[WIRE_PREFACE_BYTES];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

    if (n <= 0 || (ended && n < (ssize_t)sizeof(bytes)))
        return GP_ERR_CLOSED;
    *session_id_p = 0;
    if (!wire_preface_begins(bytes, (size_t)n))
        return GP_OK;
    if (n < (ssize_t)sizeof(bytes))
        return GP_ERR_CLOSED;
    (void)!recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    return wire_preface_decode(bytes, session_id_p);
}

enum gp_status
be_pending_next(struct be_pending *pending, struct be_pending_ready *ready_p)
{
    struct epoll_event event;

    while (epoll_wait(pending->epoll_fd, &event, 1, 0) == 1) {
        struct be_pending_entry *entry = event.data.ptr;
        bool ended = (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        uint64_t session_id = 0;
        enum gp_status status = look(entry->fd, ended, &session_id);

        if (status == GP_OK && (session_id != 0 || !entry->further_only)) {
            entry_unlink(pending, entry);
            receive_from(entry->fd, 1);
            *ready_p = (struct be_pending_ready){entry->fd, entry->scheme, session_id};
            free(entry);
            return GP_OK;
        }
        if (status == GP_ERR_PROTOCOL)
            log_warn("supervisor: a connection began with a malformed preface");
        entry_refuse(pending, entry);
    }
    return GP_ERR_AGAIN;
}

static void
tell(struct be_pending *pending, uint64_t now_ns)
{
    if (pending->dropped + pending->silent + pending->odd == 0 ||
        now_ns - pending->told_ns < GP_NS_PER_S)
        return;
    if (pending->silent > 0)
        log_warn("supervisor: %llu connections said nothing for %llu s, closed",
                 (unsigned long long)pending->silent,
                 (unsigned long long)(pending->patience_ns / GP_NS_PER_S));
    if (pending->odd > 0)
        log_warn("supervisor: %llu connections began as no client does, closed: clients must use "
                 "tls://",
                 (unsigned long long)pending->odd);
    if (pending->dropped > 0)
        log_warn("supervisor: %llu silent connections were closed, more than %u at once",
                 (unsigned long long)pending->dropped, pending->most);
    pending->silent = pending->dropped = pending->odd = 0;
    pending->told_ns = now_ns;
}

uint64_t
be_pending_expire(struct be_pending *pending, uint64_t now_ns)
{
    while (pending->first != NULL && pending->first->until_ns <= now_ns)
        entry_refuse(pending, pending->first);
    tell(pending, now_ns);
    if (pending->dropped + pending->silent + pending->odd > 0)
        return pending->told_ns + GP_NS_PER_S;
    return pending->first != NULL ? pending->first->until_ns : GP_FOREVER;
}
