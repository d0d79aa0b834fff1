/* backend/memory/share.c -- offers, and the socket that other workers ask at */
#include "backend/memory/share.h"

#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SHARE_MAGIC   0x31687367u
#define SECRET_BYTES  (BE_TOKEN_BYTES - BE_TOKEN_PLACE_BYTES)
#define FDS_A_MESSAGE 64u
#define WAIT_S        2 /* for the other worker, each message */

struct offered {
    const void *key;
    uint8_t secret[SECRET_BYTES];
    struct be_offer what;
    struct offered *next;
};

struct be_share {
    /* Set once. */
    char tenant[BE_SHARE_TENANT_MAX];
    uint8_t place[BE_TOKEN_PLACE_BYTES];

    /* The executor's: made with the first offer; -1 before. */
    int listener, end;
    pthread_t thread;

    pthread_mutex_t lock; /* rank 12 */
    /* Guarded by lock. */
    struct offered *offers;
    uint32_t count;
};

/* One worker to the other, and back: an answer, then its descriptors, some a message. */
struct request {
    uint32_t magic, kind;
    uint8_t secret[SECRET_BYTES];
    char tenant[BE_SHARE_TENANT_MAX];
};

struct reply {
    uint32_t magic, found;
    uint32_t parts;
    int32_t device;
    uint32_t handle_types, zero;
    uint64_t bytes, offset;
    uint8_t data[BE_SHARE_DATA_MAX];
};

struct part_message {
    uint64_t bytes[FDS_A_MESSAGE];
};

union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
};

void
be_offer_fini(struct be_offer *offer)
{
    for (uint32_t i = 0; offer->fds != NULL && i < offer->parts; i++)
        if (offer->fds[i] >= 0)
            close(offer->fds[i]);
    free(offer->fds);
    free(offer->part_bytes);
    memset(offer, 0, sizeof(*offer));
}

static bool
parts_alloc(struct be_offer *offer)
{
    offer->fds = calloc(offer->parts + 1, sizeof(*offer->fds));
    offer->part_bytes = calloc(offer->parts + 1, sizeof(*offer->part_bytes));
    for (uint32_t i = 0; offer->fds != NULL && i < offer->parts; i++)
        offer->fds[i] = -1;
    return offer->fds != NULL && offer->part_bytes != NULL;
}

/* A copy with descriptors of its own. */
static enum gp_status
offer_copy(const struct be_offer *from, struct be_offer *to)
{
    *to = *from;
    if (!parts_alloc(to)) {
        be_offer_fini(to);
        return GP_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < to->parts; i++) {
        to->part_bytes[i] = from->part_bytes[i];
        to->fds[i] = dup(from->fds[i]);
        if (to->fds[i] < 0) {
            be_offer_fini(to);
            return GP_ERR_LIMIT;
        }
    }
    return GP_OK;
}

/* -- addresses and messages ------------------------------------------------------------------- */

static socklen_t
place_address(const uint8_t place[BE_TOKEN_PLACE_BYTES], struct sockaddr_un *to)
{
    uint64_t number;

    memset(to, 0, sizeof(*to));
    to->sun_family = AF_UNIX;
    memcpy(&number, place, sizeof(number));
    /* Abstract: no file, gone with its worker. */
    snprintf(to->sun_path + 1, sizeof(to->sun_path) - 1, "gpupool-share-%016llx",
             (unsigned long long)number);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(to->sun_path + 1));
}

/* Both ends are processes of the user that the server runs as. */
static bool
peer_is_ours(int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}

static void
times_set(int fd)
{
    struct timeval wait = {.tv_sec = WAIT_S};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

static bool
send_all(int fd, const void *message, size_t bytes, const int *fds, uint32_t count)
{
    struct iovec iov = {(void *)(uintptr_t)message, bytes};
    union fd_control control;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* The descriptors of a message; *count_p of them, at most FDS_A_MESSAGE, are the caller's. */
static ssize_t
receive(int fd, void *message, size_t bytes, int *fds, uint32_t *count_p)
{
    struct iovec iov = {message, bytes};
    union fd_control control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    *count_p = 0;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        *count_p = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *count_p * sizeof(int));
    }
    return n;
}

/* -- answering -------------------------------------------------------------------------------- */

static bool
request_fits(const struct be_share *share, const struct request *r, const struct offered *o)
{
    bool secret = gp_secret_equal(r->secret, o->secret, SECRET_BYTES);

    return secret && r->kind == o->what.kind &&
           strncmp(r->tenant, share->tenant, sizeof(r->tenant)) == 0;
}

/* A copy of what is asked for; false if there is nothing like it. */
static bool
offer_find(struct be_share *share, const struct request *r, struct be_offer *offer_p)
{
    bool found = false;

    pthread_mutex_lock(&share->lock);
    for (struct offered *o = share->offers; o != NULL && !found; o = o->next)
        found = request_fits(share, r, o) && offer_copy(&o->what, offer_p) == GP_OK;
    pthread_mutex_unlock(&share->lock);
    return found;
}

static void
answer(int fd, const struct be_offer *offer)
{
    struct reply reply = {
        .magic = SHARE_MAGIC,
        .found = 1,
        .parts = offer->parts,
        .device = offer->device,
        .handle_types = offer->handle_types,
        .bytes = offer->bytes,
        .offset = offer->offset,
    };

    memcpy(reply.data, offer->data, sizeof(reply.data));
    if (!send_all(fd, &reply, sizeof(reply), NULL, 0))
        return;
    for (uint32_t i = 0; i < offer->parts; i += FDS_A_MESSAGE) {
        uint32_t count = (uint32_t)gp_min_u64(offer->parts - i, FDS_A_MESSAGE);
        struct part_message m = {{0}};

        memcpy(m.bytes, offer->part_bytes + i, count * sizeof(uint64_t));
        if (!send_all(fd, &m, sizeof(m), offer->fds + i, count))
            return;
    }
}

static void
serve_one(struct be_share *share, int fd)
{
    struct reply none = {.magic = SHARE_MAGIC};
    int fds[FDS_A_MESSAGE + 1];
    struct be_offer offer;
    struct request r;
    uint32_t count;
    ssize_t n;

    if (!peer_is_ours(fd))
        return;
    times_set(fd);
    n = receive(fd, &r, sizeof(r), fds, &count);
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    if (n != (ssize_t)sizeof(r) || r.magic != SHARE_MAGIC)
        return;
    if (!offer_find(share, &r, &offer)) {
        (void)send_all(fd, &none, sizeof(none), NULL, 0);
        return;
    }
    answer(fd, &offer);
    be_offer_fini(&offer);
}

static void *
share_main(void *arg)
{
    struct be_share *share = arg;
    struct pollfd polls[] = {{.fd = share->listener, .events = POLLIN},
                             {.fd = share->end, .events = POLLIN}};

    for (;;) {
        int fd;

        if (poll(polls, GP_ARRAY_LEN(polls), -1) < 0 && errno != EINTR)
            break;
        if (polls[1].revents != 0)
            break;
        if ((polls[0].revents & POLLIN) == 0)
            continue;
        fd = accept4(share->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        serve_one(share, fd);
        close(fd);
    }
    return NULL;
}

static enum gp_status
listener_open(struct be_share *share)
{
    struct sockaddr_un address;
    socklen_t len = place_address(share->place, &address);
    sigset_t all, before;
    int rc;

    if (share->listener >= 0)
        return GP_OK;
    share->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    share->end = eventfd(0, EFD_CLOEXEC);
    if (share->listener < 0 || share->end < 0 ||
        bind(share->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(share->listener, 64) != 0)
        goto err;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&share->thread, NULL, share_main, share);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return GP_OK;
    errno = rc;

err:
    log_error("share: cannot listen to other workers: %m");
    if (share->listener >= 0)
        close(share->listener);
    if (share->end >= 0)
        close(share->end);
    share->listener = share->end = -1;
    return GP_ERR_IO;
}

/* -- offering --------------------------------------------------------------------------------- */

static struct offered **
find_key(struct be_share *share, const void *key)
{
    struct offered **at = &share->offers;

    while (*at != NULL && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

static void
token_make(const struct be_share *share, const struct offered *o, uint8_t token[BE_TOKEN_BYTES])
{
    memcpy(token, share->place, BE_TOKEN_PLACE_BYTES);
    memcpy(token + BE_TOKEN_PLACE_BYTES, o->secret, SECRET_BYTES);
}

bool
be_share_token(struct be_share *share, const void *key, uint8_t token[BE_TOKEN_BYTES])
{
    struct offered *o;

    pthread_mutex_lock(&share->lock);
    o = *find_key(share, key);
    if (o != NULL)
        token_make(share, o, token);
    pthread_mutex_unlock(&share->lock);
    return o != NULL;
}

enum gp_status
be_share_offer(struct be_share *share, const void *key, struct be_offer *offer,
               uint8_t token[BE_TOKEN_BYTES])
{
    struct offered *o = calloc(1, sizeof(*o));
    enum gp_status status = GP_ERR_NO_MEMORY;

    if (o != NULL)
        status = listener_open(share);
    if (status == GP_OK)
        status = gp_random_bytes(o->secret, sizeof(o->secret));
    if (status == GP_OK && share->count >= BE_OFFERS_MAX)
        status = GP_ERR_LIMIT;
    if (status != GP_OK) {
        be_offer_fini(offer);
        free(o);
        return status;
    }
    o->key = key;
    o->what = *offer;
    memset(offer, 0, sizeof(*offer));
    pthread_mutex_lock(&share->lock);
    o->next = share->offers;
    share->offers = o;
    share->count++;
    token_make(share, o, token);
    pthread_mutex_unlock(&share->lock);
    return GP_OK;
}

void
be_share_withdraw(struct be_share *share, const void *key)
{
    struct offered **at, *o;

    if (share == NULL)
        return;
    pthread_mutex_lock(&share->lock);
    at = find_key(share, key);
    o = *at;
    if (o != NULL) {
        *at = o->next;
        share->count--;
    }
    pthread_mutex_unlock(&share->lock);
    if (o != NULL)
        be_offer_fini(&o->what);
    free(o);
}

void
be_share_prune(struct be_share *share, be_share_gone_fn gone, void *user)
{
    if (share == NULL)
        return;
    pthread_mutex_lock(&share->lock);
    for (struct offered **at = &share->offers; *at != NULL;) {
        struct offered *o = *at;

        if (!gone(user, o->key, o->what.kind)) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        share->count--;
        be_offer_fini(&o->what);
        free(o);
    }
    pthread_mutex_unlock(&share->lock);
}

/* -- asking ----------------------------------------------------------------------------------- */

static enum gp_status
receive_parts(int fd, struct be_offer *offer)
{
    for (uint32_t i = 0; i < offer->parts;) {
        uint32_t want = (uint32_t)gp_min_u64(offer->parts - i, FDS_A_MESSAGE), count;
        int fds[FDS_A_MESSAGE + 1];
        struct part_message m;
        ssize_t n = receive(fd, &m, sizeof(m), fds, &count);

        for (uint32_t k = 0; k < count && k < want; k++)
            offer->fds[i + k] = fds[k];
        for (uint32_t k = want; k < count; k++)
            close(fds[k]);
        if (n != (ssize_t)sizeof(m) || count != want)
            return GP_ERR_TIMEOUT;
        memcpy(offer->part_bytes + i, m.bytes, want * sizeof(uint64_t));
        i += want;
    }
    return GP_OK;
}

static enum gp_status
receive_offer(int fd, enum be_share_kind kind, struct be_offer *offer)
{
    int fds[FDS_A_MESSAGE + 1];
    struct reply reply;
    uint32_t count;
    ssize_t n = receive(fd, &reply, sizeof(reply), fds, &count);

    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    if (n != (ssize_t)sizeof(reply) || reply.magic != SHARE_MAGIC)
        return GP_ERR_TIMEOUT;
    if (reply.found == 0 || reply.parts > BE_SHARE_PARTS_MAX)
        return GP_ERR_NOT_FOUND;
    *offer = (struct be_offer){
        .kind = kind,
        .parts = reply.parts,
        .device = reply.device,
        .handle_types = reply.handle_types,
        .bytes = reply.bytes,
        .offset = reply.offset,
    };
    memcpy(offer->data, reply.data, sizeof(offer->data));
    return parts_alloc(offer) ? receive_parts(fd, offer) : GP_ERR_NO_MEMORY;
}

static void
request_make(const struct be_share *share, const uint8_t *token, enum be_share_kind kind,
             struct request *r)
{
    memset(r, 0, sizeof(*r));
    r->magic = SHARE_MAGIC;
    r->kind = kind;
    memcpy(r->secret, token + BE_TOKEN_PLACE_BYTES, SECRET_BYTES);
    memcpy(r->tenant, share->tenant, sizeof(r->tenant));
}

static enum gp_status
ask_other(const struct be_share *share, const uint8_t *token, enum be_share_kind kind,
          struct be_offer *offer_p)
{
    struct be_offer offer = {0};
    struct sockaddr_un address;
    socklen_t len = place_address(token, &address);
    GP_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    enum gp_status status;
    struct request r;

    if (fd < 0)
        return GP_ERR_LIMIT;
    times_set(fd);
    if (connect(fd, (struct sockaddr *)&address, len) != 0)
        return errno == EAGAIN ? GP_ERR_TIMEOUT : GP_ERR_NOT_FOUND;
    if (!peer_is_ours(fd))
        return GP_ERR_NOT_FOUND;
    request_make(share, token, kind, &r);
    if (!send_all(fd, &r, sizeof(r), NULL, 0))
        return GP_ERR_TIMEOUT;
    status = receive_offer(fd, kind, &offer);
    if (status == GP_OK)
        *offer_p = offer;
    else
        be_offer_fini(&offer);
    return status;
}

bool
be_share_is_own(const struct be_share *share, const uint8_t token[BE_TOKEN_BYTES])
{
    return memcmp(token, share->place, BE_TOKEN_PLACE_BYTES) == 0;
}

enum gp_status
be_share_fetch(struct be_share *share, const uint8_t token[BE_TOKEN_BYTES], enum be_share_kind kind,
               struct be_offer *offer_p)
{
    struct request r;

    if (!be_share_is_own(share, token))
        return ask_other(share, token, kind, offer_p);
    request_make(share, token, kind, &r);
    return offer_find(share, &r, offer_p) ? GP_OK : GP_ERR_NOT_FOUND;
}

/* -- life ------------------------------------------------------------------------------------- */

enum gp_status
be_share_create(const char *tenant, struct be_share **share_p)
{
    struct be_share *share = calloc(1, sizeof(*share));
    enum gp_status status;

    if (share == NULL)
        return GP_ERR_NO_MEMORY;
    status = gp_random_bytes(share->place, sizeof(share->place));
    if (status != GP_OK) {
        free(share);
        return status;
    }
    snprintf(share->tenant, sizeof(share->tenant), "%s", tenant);
    share->listener = share->end = -1;
    pthread_mutex_init(&share->lock, NULL);
    *share_p = share;
    return GP_OK;
}

void
be_share_destroy(struct be_share *share)
{
    uint64_t one = 1;

    if (share == NULL)
        return;
    if (share->listener >= 0) {
        (void)!write(share->end, &one, sizeof(one));
        pthread_join(share->thread, NULL);
        close(share->listener);
        close(share->end);
    }
    while (share->offers != NULL)
        be_share_withdraw(share, share->offers->key);
    pthread_mutex_destroy(&share->lock);
    free(share);
}
